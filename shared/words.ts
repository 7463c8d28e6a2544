// Events in words, the same wherever a person reads them: command line, demo, logs.

import type { Damage, Facts, LoggedEvent } from './events.ts'
import { describeStep, shortImage, type ToldStep } from './plan.ts'
import type { ProblemReport } from './problems.ts'

/** A deploy as a viewer follows it: feed it every event in order, ask for a line about each. */
export interface Picture {
  /** By index; undefined for those that whoever looks has not been told of. */
  readonly steps: readonly (ToldStep | undefined)[]
}
export const EMPTY_PICTURE: Picture = { steps: [] }

/** The picture after an event: the plan's steps, then those of an undo. */
export function nextPicture(picture: Picture, { event }: LoggedEvent): Picture {
  if (event.type === 'planned') return { steps: event.plan.steps }
  if (event.type === 'undoing' || event.type === 'resuming') {
    const { from = picture.steps.length } = event
    return { steps: [...Array.from({ length: from }, (_, index) => picture.steps[index]), ...event.steps] }
  }
  return picture
}

/** One line about an event, or undefined for one that only draws progress. */
export function describeEvent(picture: Picture, { event }: LoggedEvent): string | undefined {
  const step = (index: number) => {
    const at = picture.steps[index]
    return at ? describeStep(at) : `step ${index}`
  }
  switch (event.type) {
    case 'accepted':
      return `accepted from ${event.actor} (${event.trust})${describeAsked(event)}${event.reason ? `: ${event.reason}` : ''}`
    case 'gap':
      return `events ${event.from} to ${event.to} are no longer kept`
    case 'received':
      return 'received by the agent'
    case 'started':
      return 'preflight'
    case 'warning':
      return `warning: ${describeProblem(event.problem)}`
    case 'planned':
      return event.plan.steps.length === 0
        ? 'nothing to do: this is what runs'
        : `plan: ${event.plan.steps.length} steps, ${event.plan.instances.join(' then ')}`
    case 'step-started':
    case 'step-progress':
      return undefined
    case 'step-finished':
      return `${step(event.step)}: done in ${seconds(event.ms)}${describeFacts(event.facts)}`
    case 'step-failed':
      return `${step(event.step)}: failed after ${seconds(event.ms)}: ${describeProblem(event.problem)}`
    case 'recovering':
      return `the agent is back: ${RECOVERIES[event.way] ?? event.way}`
    case 'resuming':
      return `going on: ${event.steps.length} steps are left`
    case 'undoing':
      return event.steps.length === 0 ? 'nothing to undo' : `undoing in ${event.steps.length} steps`
    case 'succeeded':
      return describeSuccess(event)
    case 'failed':
      // Of one that took no time it is not known that it touched nothing: the agent may have lost it.
      return event.ms === 0
        ? `failed: ${describeProblem(event.problem)}`
        : `failed after ${seconds(event.ms)}, the stack is as before: ${describeProblem(event.problem)}`
    case 'stuck':
      return [
        `stuck: ${describeProblem(event.problem)} Undoing failed too: ${describeProblem(event.undo)}`,
        ...(event.damage ? describeDamage(event.damage) : []),
      ].join('\n')
    case 'superseded':
      return `superseded by ${event.by}`
    case 'cancelled':
      return `cancelled${event.by === undefined ? '' : ` by ${event.by}`} ${
        event.ms === undefined ? 'before it began' : `after ${seconds(event.ms)}, the stack is as before`
      }`
    case 'expired':
      return 'expired before the agent came'
    default:
      return event.text ?? event.type
  }
}

function describeSuccess({
  changed,
  ms,
  release,
  images = {},
}: Extract<LoggedEvent['event'], { type: 'succeeded' }>): string {
  const said = changed
    ? `succeeded in ${seconds(ms)}${release === undefined ? '' : ` (release ${release})`}`
    : 'succeeded: nothing had to change'
  return [said, ...describeImages(images)].join('\n')
}

function describeAsked({
  release,
  force,
}: {
  release?: number | 'previous' | undefined
  force?: boolean | undefined
}): string {
  if (release !== undefined)
    return `, back to ${release === 'previous' ? 'the previous release' : `release ${release}`}`
  return force ? ', even where it runs already' : ''
}

/** What runs, by the digest to its last digit: a line for each image. */
function describeImages(images: Readonly<Record<string, string>>): string[] {
  const services = Map.groupBy(Object.keys(images), (service) => images[service])
  return [...services].map(([image, names]) => `  ${names.join(', ')}: ${image}`)
}

const FILE_STATES: Readonly<Record<string, string>> = {
  'as-before': 'is as before the roll',
  'as-wanted': 'is as the roll wanted it',
  'half-way': 'is half way',
  changed: 'was changed by somebody else',
  unreadable: 'cannot be read',
}

/** What a person must know of a stuck stack, a line each. */
function describeDamage({ serving, notServing, files, repair }: Damage): string[] {
  return [
    `  serving: ${serving.join(', ') || 'nobody'}`,
    ...notServing.map(({ service, why }) => `  not serving: ${service}: ${why}`),
    ...files.map(({ path, state }) => `  ${path} ${FILE_STATES[state] ?? state}`),
    ...(repair.length === 0 ? [] : ['  to repair it:', ...repair.map((line) => `    ${line}`)]),
  ]
}

const RECOVERIES: Readonly<Record<string, string>> = {
  again: 'nothing was touched yet, the roll begins again',
  forward: 'every instance runs the new version, the roll is finished',
  back: 'the roll is undone',
}

export function describeProblem(problem: Omit<ProblemReport, 'code'> & { code: string }): string {
  const cure = problem.cure ? ` ${problem.cure[0]?.toUpperCase()}${problem.cure.slice(1)}.` : ''
  const log = problem.log?.length ? `\n${problem.log.map((line) => `  | ${line}`).join('\n')}` : ''
  return `${problem.message.replace(/\.$/, '')} (${problem.code}).${cure}${log}`
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
}

/** ` (connections 3, digest sha256:…)`; nothing where there is nothing to say. */
export function describeFacts(facts: Facts): string {
  const words = Object.entries(facts)
    .filter(([, value]) => value !== 0 && value !== false)
    .map(([key, value]) => `${key} ${typeof value === 'string' ? shortImage(value) : value}`)
  return words.length === 0 ? '' : ` (${words.join(', ')})`
}
