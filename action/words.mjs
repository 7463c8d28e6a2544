// Events in words, as shared/words.ts has them: again, for a runner has any Node, which may read no TypeScript, and no packages.

/** @import { ToldEvent } from '../shared/events.ts' */
/** @import { ToldStep } from '../shared/plan.ts' */

/** @typedef {{ readonly message: string, readonly code: string, readonly cure?: string | undefined, readonly log?: readonly string[] | undefined }} Problem */

/**
 * What an event says; null for one that says nothing to a job's reader.
 * @param {ToldEvent} event
 * @param {string} step the words for the step that it names
 * @returns {string | null}
 */
export function describe(event, step) {
  switch (event.type) {
    case 'accepted':
      return `accepted from ${event.actor} (${event.trust})`
    case 'gap':
      return `events ${event.from} to ${event.to} are no longer kept`
    case 'received':
      return 'received by the agent'
    case 'started':
      return 'preflight'
    case 'warning':
      return `warning: ${problem(event.problem)}`
    case 'planned':
      return event.plan.steps.length === 0
        ? 'nothing to do: this is what runs'
        : `plan: ${event.plan.steps.length} steps, ${event.plan.instances.join(' then ')}`
    case 'step-started':
    case 'step-progress':
      return null
    case 'step-finished':
      return `${step}: done in ${seconds(event.ms)}`
    case 'step-failed':
      return `${step}: failed after ${seconds(event.ms)}: ${problem(event.problem)}`
    case 'recovering':
      return `the agent is back, and goes ${event.way}`
    case 'resuming':
      return `going on: ${event.steps.length} steps are left`
    case 'undoing':
      return event.steps.length === 0 ? 'nothing to undo' : `undoing in ${event.steps.length} steps`
    case 'succeeded':
      return event.changed ? `succeeded in ${seconds(event.ms)}` : 'succeeded: nothing had to change'
    case 'failed':
      return event.ms === 0
        ? `failed: ${problem(event.problem)}`
        : `failed after ${seconds(event.ms)}, the stack is as before: ${problem(event.problem)}`
    case 'stuck':
      return `stuck: ${problem(event.problem)}\nUndoing failed too: ${problem(event.undo)}${damage(event)}`
    case 'superseded':
      return `superseded by deploy ${event.by}: nothing of this one was done`
    case 'cancelled':
      return `cancelled by ${event.by ?? 'somebody'}${event.ms === undefined ? ' before it began' : ', the stack is as before'}`
    case 'expired':
      return 'expired before the agent came'
    default:
      return event.text ?? event.type
  }
}

/**
 * @param {ToldStep} step
 * @returns {string}
 */
export function describeStep(step) {
  switch (step.kind) {
    case 'pull':
      return `pull ${step.image}`
    case 'switch':
      return (
        [step.back && `put ${step.back} back`, step.out && `take ${step.out} out`]
          .filter(Boolean)
          .join(', ') || 'reload nginx'
      )
    case 'command':
      return `run \`${step.command.join(' ')}\` in ${step.service}, ${step.when} the roll`
    case 'drain':
      return `drain ${step.service}`
    case 'update':
      return `update ${step.service}`
    case 'await-healthy':
      return `wait until ${step.service} is healthy`
    case 'soak':
      return `watch ${step.service} for ${step.ms / 1000} s`
    case 'verify':
      return 'verify through nginx'
    default:
      return step.text ?? step.kind
  }
}

/** @param {Problem} given */
function problem({ message, code, cure, log }) {
  const lines = log?.map((line) => `\n${line}`).join('') ?? ''
  return `${message} (${code})${cure === undefined ? '' : `; ${cure}`}${lines}`
}

/** @param {Extract<ToldEvent, { type: 'stuck' }>} event */
function damage({ damage: found }) {
  if (!found) return ''
  const { serving, notServing, repair } = found
  return [
    `\nserving: ${serving.join(', ') || 'nobody'}`,
    ...notServing.map(({ service, why }) => `\nnot serving: ${service}: ${why}`),
    ...(repair.length === 0 ? [] : ['\nto repair it, on the host:', ...repair.map((line) => `\n  ${line}`)]),
  ].join('')
}

/** @param {number} ms */
export function seconds(ms) {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`
}
