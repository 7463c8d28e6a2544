// What a bot says: the message of a deploy, from its events, and the answer to whoever spoke. Pure, and plain text, which each platform escapes
// as a whole.

import { isForbidden, type Denial } from '../../../shared/chat/denial.ts'
import { buttonValue } from '../../../shared/chat/intent.ts'
import type { Message } from '../../../shared/chat/platform.ts'
import { denialWords, HELP } from '../../../shared/chat/words.ts'
import { isFinal, nextStatus, type Deploy, type Status } from '../../../shared/deploy.ts'
import type { DeployEvent, LoggedEvent, ToldEvent } from '../../../shared/events.ts'
import { describeStep, shortImage } from '../../../shared/plan.ts'
import { describeProblem, EMPTY_PICTURE, nextPicture, seconds, type Picture } from '../../../shared/words.ts'
import type { Accepted } from '../decide.ts'

/** Lines of a failing container's log, and the length of any line: a message is read on a telephone. */
const LOG_LINES_SHOWN_MAX = 6
const LINE_CHARS_MAX = 300

/** The message of a deploy whose events are these, in order. `url` is where all of them are. */
export function tell(
  { id, stack, actor, host }: Pick<Deploy, 'id' | 'stack' | 'actor' | 'host'>,
  events: readonly LoggedEvent[],
  url: string,
): Message {
  let picture: Picture = EMPTY_PICTURE
  let status: Status = 'queued'
  let step: number | undefined
  let isGoingBack = false
  let asked: ToldEvent | undefined
  let last: ToldEvent | undefined
  for (const logged of events) {
    const { event } = logged
    picture = nextPicture(picture, logged)
    if (!isFinal(status)) status = nextStatus(status, event)
    if (event.type === 'accepted') asked = event
    if (event.type === 'step-started') step = event.step
    if (event.type === 'undoing') isGoingBack = true
    last = event
  }
  const isOver = isFinal(status)
  const lines =
    isOver && last ? outcome(stack, last) : [`${stack}: ${progress(status, picture, step, isGoingBack)}`]
  const wanted = asked?.type === 'accepted' ? wantedWords(asked) : ''
  const isBackOffered =
    last?.type === 'succeeded' && last.changed && last.release !== undefined && last.release > 1
  return {
    lines: [...lines, `${wanted}asked for by ${actor}, on ${host}`, url].flatMap(cleaned),
    buttons: isBackOffered
      ? [{ label: 'Roll back', value: buttonValue({ does: 'back', deploy: id }), isDangerous: true }]
      : [],
    isFinal: isOver,
  }
}

// Escape sequences of a terminal. They go as a whole: if only ESC were taken away as a control character, the rest would be left as litter.
const COLOUR = /\p{Cc}\[[0-9;?]*[ -/]*[@-~]/gu

/** Where a person with a token that may read sees all of a deploy's events. */
export function urlOf(origin: string, { host, id }: Pick<Deploy, 'host' | 'id'>): string {
  return `${origin}/watch#host=${host}&deploy=${id}`
}

/** The message of a deploy that needs an approval. `verdict` says how that ended; undefined while it is open. */
export function tellApproval(
  { deploy, stack, lines }: { deploy: string; stack: string; lines: readonly string[] },
  verdict: string | undefined,
): Message {
  const isOpen = verdict === undefined
  return {
    lines: (isOpen ? waitingLines(stack, lines) : [verdictLine(stack, verdict), ...lines]).flatMap(cleaned),
    buttons: isOpen
      ? [
          { label: 'Approve', value: buttonValue({ does: 'yes', deploy }) },
          { label: 'Reject', value: buttonValue({ does: 'no', deploy }), isDangerous: true },
        ]
      : [],
    isFinal: !isOpen,
  }
}

/** How an approval stands at a time; undefined while it is open. */
export function verdictOf(
  { verdict, expiresAt }: { readonly verdict: string | undefined; readonly expiresAt: number },
  now: number,
): string | undefined {
  return verdict ?? (now >= expiresAt ? 'nobody approved it in time' : undefined)
}

/** Text that a person or a program chose, as lines. Characters that move a cursor or hide text are taken out. */
export function cleaned(text: string): string[] {
  return text
    .replaceAll(COLOUR, '')
    .split('\n')
    .map((line) => line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trimEnd())
    .map((line) =>
      line.length > LINE_CHARS_MAX
        ? `${line.slice(0, LINE_CHARS_MAX).replace(/[\uD800-\uDBFF]$/, '')}…`
        : line,
    )
}

function progress(
  status: Status,
  { steps }: Picture,
  step: number | undefined,
  isGoingBack: boolean,
): string {
  if (status === 'queued') return 'waiting for its agent'
  const at = step === undefined ? undefined : steps[step]
  if (step === undefined) return isGoingBack ? 'going back' : 'looking at what runs'
  const what = at ? describeStep(at) : `step ${step + 1}`
  return `${isGoingBack ? 'going back' : 'rolling'}, ${step + 1} of ${steps.length}: ${what}`
}

function outcome(stack: string, event: ToldEvent): string[] {
  switch (event.type) {
    case 'succeeded': {
      if (!event.changed) return [`${stack}: succeeded. Nothing had to change.`, ...versions(event.services)]
      const release = event.release === undefined ? '' : `, release ${event.release}`
      return [`${stack}: succeeded in ${seconds(event.ms)}${release}`, ...versions(event.services)]
    }
    case 'failed':
      // The agent has lost this one, so nobody knows what it left behind.
      return event.problem.code === 'interrupted' && event.ms === 0
        ? [`${stack}: failed`, ...problemLines(event.problem)]
        : [
            `${stack}: failed after ${seconds(event.ms)}, still serving the previous version`,
            ...problemLines(event.problem),
          ]
    case 'stuck':
      return [
        `${stack}: stuck. A person must look at it.`,
        ...problemLines(event.problem),
        ...(event.damage ? [`serving: ${event.damage.serving.join(', ') || 'nobody'}`] : []),
      ]
    case 'cancelled':
      return [
        `${stack}: cancelled${event.by === undefined ? '' : ` by ${event.by}`}, still serving the previous version`,
      ]
    case 'superseded':
      return [`${stack}: a newer deploy took its place`]
    default:
      return [`${stack}: expired, since its agent did not come`]
  }
}

function wantedWords({ image, release }: Extract<DeployEvent, { type: 'accepted' }>): string {
  if (release !== undefined)
    return release === 'previous' ? 'back to the release before, ' : `back to release ${release}, `
  return image === undefined ? 'what its tag means today, ' : `${image}, `
}

function problemLines(problem: Parameters<typeof describeProblem>[0]): string[] {
  const { log = [] } = problem
  return [
    describeProblem({ ...problem, log: [] }),
    ...log.slice(-LOG_LINES_SHOWN_MAX).map((line) => `| ${line}`),
  ]
}

/** Services that run the same, in one line. */
function versions(services: Readonly<Record<string, string>>): string[] {
  const by = Map.groupBy(Object.entries(services), ([, version]) => version)
  return [...by].map(
    ([version, of]) => `${of.map(([service]) => service).join(', ')}: ${shortImage(version)}`,
  )
}

export const TOO_MUCH = 'That was too much at once. Try again in a minute.'

export function deniedLines(why: Denial): string[] {
  const words = denialWords(why)
  return isForbidden(why) ? [words, 'Who may do what is in the ropeway.yml of the host.'] : [words, ...HELP]
}

export function acceptedLines(stack: string, { deploy, agent, status }: Accepted, url: string): string[] {
  if (status === 'duplicate') return [repeatedLine(stack)]
  return [
    `${stack}: accepted, deploy ${deploy}`,
    agent === 'online' ? 'Its agent is there.' : 'Its agent is away: this runs when it is back.',
    url,
  ]
}

export function repeatedLine(stack: string): string {
  return `${stack}: that was asked for already.`
}

/** What a person must know to approve a deploy. */
export function askedLine(image: string | undefined, actor: string, host: string): string {
  return `${image ?? 'what its tag means today'}, asked for by ${actor}, on ${host}`
}

export function waitingLines(stack: string, lines: readonly string[]): string[] {
  return [`${stack}: waits for somebody to approve it`, ...lines]
}

export function verdictLine(stack: string, verdict: string | undefined): string {
  return `${stack}: ${verdict ?? 'that is not known any more'}`
}

/** How an approval ended. It is stored in these words. */
export type Verdict =
  | { readonly kind: 'approved' | 'rejected'; readonly by: string }
  /** The request cannot be verified any more: the chat's secret was replaced. */
  | { readonly kind: 'proof-void' }
  /** Whoever asked may not have this deployed any more. */
  | { readonly kind: 'asker-void' }

export function verdictWords(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'approved':
    case 'rejected':
      return `${verdict.kind} by ${verdict.by}`
    case 'proof-void':
      return 'what it was asked with does not count any more'
    case 'asker-void':
      return 'whoever asked for it may not any more'
  }
}

/** Why a button does not count any more. */
export type ButtonFault = 'too-old' | 'overtaken'

export function buttonFaultLine(fault: ButtonFault, stack: string): string {
  return fault === 'too-old'
    ? 'That button is too old.'
    : `That is not what ${stack} runs any more: another deploy came after it, or it was rolled back.`
}
