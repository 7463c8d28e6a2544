// What others are told of a deploy, as facts, made from its log. Pure. It is stored before it is sent, so it is bounded here, and each
// destination makes its own words of it.

import { z } from 'zod'
import { problemSchema, type AgentEvent, type AgentLoggedEvent } from '../../shared/events.ts'
import { parseImage } from '../../shared/image.ts'
import { LOG_LINE_CHARS_MAX, LOG_LINES_MAX, REQUEST_REASON_CHARS_MAX } from '../../shared/limits.ts'
import { describeVersion, type ToldStep } from '../../shared/plan.ts'
import type { ProblemReport } from '../../shared/problems.ts'
import { isRollback } from '../../shared/request.ts'
import type { VerifiedDeploy } from '../daemon/verified-deploy.ts'
import { fit } from './text.ts'

/** The moments of a deploy at which others are told. */
export const MOMENTS = ['start', 'success', 'failure', 'stuck'] as const
export type Moment = (typeof MOMENTS)[number]

/** A problem's sentence, a cure, one version, an actor: two lines of a chat. What is longer is cut. */
const SENTENCE_CHARS_MAX = 600
const VERSION_CHARS_MAX = 300
/** Instances that a notice names one by one: a message of more is not read. Those beyond it are counted. */
const CHANGES_MAX = 12

const changeSchema = z.object({ service: z.string(), from: z.string(), to: z.string() })

/** As the journal keeps it. */
export const noticeSchema = z.object({
  moment: z.enum(MOMENTS),
  deploy: z.string(),
  stack: z.string(),
  actor: z.string(),
  /** When it happened; milliseconds since 1970. */
  at: z.number(),
  reason: z.string().optional(),
  /** It is a rollback, to this release. */
  rollbackTo: z.union([z.literal('previous'), z.number()]).optional(),
  changes: z.array(changeSchema),
  /** Instances that change too, and are not in `changes`. */
  moreChanges: z.number(),
  /** Of the image that is wanted, where it has one. */
  tag: z.string().optional(),
  ms: z.number().optional(),
  /** Of a success: false where what was asked for ran already. */
  changed: z.boolean().optional(),
  release: z.number().optional(),
  problem: problemSchema.optional(),
  /** Of a deploy that is stuck: why the way back failed. */
  undo: problemSchema.optional(),
  serving: z.array(z.string()).optional(),
  /** Who ended it, where it was cancelled. */
  cancelledBy: z.string().optional(),
  /** Of a failure: what is known of the stack. `untouched`: nothing was begun. `before`: all was undone, to the end. */
  standing: z.enum(['untouched', 'before', 'unknown']).optional(),
})
export type StoredNotice = z.infer<typeof noticeSchema>

/** As a destination gets it. */
export interface Notice extends StoredNotice {
  readonly host: string
  /** Where the deploy can be followed, by whoever has a token; undefined where only this machine could. */
  readonly link: string | undefined
}

/** The moment that an event is, if it is one. `before` reads what was logged before it. A roll that is cancelled in the middle has failed. */
export function momentOf(event: AgentEvent, before: () => Story['events']): Moment | undefined {
  switch (event.type) {
    case 'step-started':
      return isFirstChange(event.step, before()) ? 'start' : undefined
    case 'succeeded':
      return 'success'
    case 'failed':
      return 'failure'
    case 'cancelled':
      return event.ms === undefined ? undefined : 'failure'
    case 'stuck':
      return 'stuck'
    default:
      return undefined
  }
}

// A pull may find that nothing has to change. So the start is told at the first step after it, and such a deploy once, at its end.
function isFirstChange(step: number, before: Story['events']): boolean {
  const steps = stepsIn(before)
  const isChange = (index: number) => steps[index] !== undefined && steps[index].kind !== 'pull'
  const since = before.slice(before.findLastIndex(({ type }) => type === 'planned'))
  return isChange(step) && !since.some((each) => each.type === 'step-started' && isChange(each.step))
}

/** The steps of the newest plan. */
function stepsIn(events: Story['events']): readonly ToldStep[] {
  return events.findLast((each) => each.type === 'planned')?.plan.steps ?? []
}

export interface Story {
  readonly deploy: VerifiedDeploy
  /** All that was logged before it, in order. */
  readonly events: readonly AgentLoggedEvent['event'][]
}

export function noticeOf(moment: Moment, event: AgentEvent, at: number, story: Story): StoredNotice {
  const { id, stack, actor, request } = story.deploy
  const steps = stepsIn(story.events)
  const changes = steps.filter((step) => step.kind === 'update').map(changeOf)
  const tag = tagOf(steps) ?? (isRollback(request) ? undefined : parseImage(request.image ?? '')?.tag)
  return {
    moment,
    deploy: id,
    stack,
    actor: fit(actor, SENTENCE_CHARS_MAX),
    at,
    ...(request.reason ? { reason: fit(request.reason, REQUEST_REASON_CHARS_MAX) } : {}),
    ...(isRollback(request) ? { rollbackTo: request.release } : {}),
    changes: changes.slice(0, CHANGES_MAX),
    moreChanges: Math.max(0, changes.length - CHANGES_MAX),
    ...(tag === undefined ? {} : { tag }),
    ...outcomeOf(event, story),
  }
}

function outcomeOf(event: AgentEvent, story: Story): Partial<StoredNotice> {
  switch (event.type) {
    case 'succeeded': {
      const { ms, changed, release } = event
      return { ms, changed, ...(release === undefined ? {} : { release }) }
    }
    case 'failed':
      return {
        ms: event.ms,
        problem: bounded(event.problem),
        standing: standingOf(story, event.problem.code),
      }
    case 'cancelled':
      return { ms: event.ms, cancelledBy: event.by ?? 'somebody', standing: standingOf(story) }
    case 'stuck':
      return {
        ms: event.ms,
        problem: bounded(event.problem),
        undo: bounded(event.undo),
        ...(event.damage ? { serving: event.damage.serving } : {}),
      }
    default:
      return {}
  }
}

/**
 * What is certain of the stack after a failure, by the deploy's own log. Without a plan nothing can have been begun, unless the way back of
 * an earlier deploy was tried first; a way back whose last step is finished was gone to its end. Of all else nothing is promised:
 * somebody may have set the stack right while the agent was away, and then it was left as it is.
 */
function standingOf({ events }: Story, code?: string): NonNullable<StoredNotice['standing']> {
  if (code === 'stack-locked') return 'unknown'
  const back = events.findLastIndex(({ type }) => type === 'undoing')
  const undoing = events[back]
  if (undoing?.type !== 'undoing') return events.some(isBegun) ? 'unknown' : 'untouched'
  const last = (undoing.from ?? 0) + undoing.steps.length - 1
  const isWhole =
    undoing.steps.length === 0 ||
    events.slice(back).some((event) => event.type === 'step-finished' && event.step === last)
  return isWhole ? 'before' : 'unknown'
}

const isBegun = ({ type }: { readonly type: string }) => type === 'planned' || type === 'step-started'

function changeOf({
  service,
  from,
  to,
}: Extract<ToldStep, { kind: 'update' }>): z.infer<typeof changeSchema> {
  const [before, after] = [
    fit(describeVersion(from), VERSION_CHARS_MAX),
    fit(describeVersion(to), VERSION_CHARS_MAX),
  ]
  return { service, from: before, to: after }
}

function tagOf(steps: readonly ToldStep[]): string | undefined {
  const images = steps.flatMap((step) => (step.kind === 'update' && step.to.image ? [step.to.image] : []))
  return images.map((image) => parseImage(image)?.tag).find((tag) => tag !== undefined)
}

function bounded({ code, message, cure, log }: ProblemReport): z.infer<typeof problemSchema> {
  return {
    code,
    message: fit(message, SENTENCE_CHARS_MAX),
    ...(cure === undefined ? {} : { cure: fit(cure, SENTENCE_CHARS_MAX) }),
    ...(log?.length ? { log: log.slice(-LOG_LINES_MAX).map((line) => fit(line, LOG_LINE_CHARS_MAX)) } : {}),
  }
}
