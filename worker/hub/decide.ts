// What the hub decides, without the hub: what is stored and what came in go in, what to do comes out. Time is an argument.

import type { ReleaseState } from '../../shared/api.ts'
import { isFinal, nextStatus, type Deploy, type Status } from '../../shared/deploy.ts'
import type { DeployEvent, LoggedEvent, ToldDeclined } from '../../shared/events.ts'
import {
  OFFER_AGAIN_MS,
  OFFER_AGAIN_MS_MAX,
  OFFERS_MAX,
  PENDING_MAX,
  SETTLE_MS_MAX,
  SILENCE_MS_MAX,
} from '../../shared/limits.ts'
import { shortImage, type Plan } from '../../shared/plan.ts'
import type { ProblemReport } from '../../shared/problems.ts'
import type { DeployFrame, ToldProof } from '../../shared/protocol.ts'
import { isRollback } from '../../shared/request.ts'
import { supersededBy, type Supersedable } from '../../shared/supersede.ts'
import type { VerifiedRequest } from '../../shared/triggers/verified.ts'

/** A deploy that is not over, as the agent must get it. */
export interface Unfinished {
  readonly deploy: Deploy
  readonly proof: ToldProof
}

/** A deploy that the agent has not acknowledged. The hub alone has one that was never offered; the agent may have any other. */
export interface Waiting extends Supersedable {
  readonly id: string
  readonly stack: string
  readonly trigger: string
  readonly acceptedAt: number
  readonly offers: number
  readonly offeredAt: number | null
  /** A push, of which more may come, is not offered before this. */
  readonly settlesAt: number | null
  readonly expiresAt: number
}

/** How far the log of a deploy has come: the last `seq` that viewers see, and the agent's own `seq` behind it. */
export interface LogPosition {
  readonly status: Status
  readonly seq: number
  readonly agentSeq: number
}

export interface LogRow extends LoggedEvent {
  readonly agentSeq: number
}

export interface Submission {
  readonly host: string
  readonly stack: string
  readonly trigger: string
  readonly asked: VerifiedRequest
  /** Of a push: how long it must be quiet before it is deployed. */
  readonly settleMs?: number | undefined
}

type Acceptance =
  | { readonly outcome: 'known'; readonly deploy: Deploy }
  | { readonly outcome: 'full' }
  /** It is one more event of a push that waits. No deploy is added, and the one that waits is deployed later. */
  | {
      readonly outcome: 'joined'
      readonly id: string
      readonly settlesAt: number
      readonly expiresAt: number
    }
  | {
      readonly outcome: 'new'
      readonly deploy: Deploy
      readonly event: DeployEvent
      readonly expiresAt: number
      readonly settlesAt: number | null
      /** The deploys whose place it takes. */
      readonly superseded: readonly string[]
    }

/**
 * What to store for a verified request. Nothing when its deploy is known, since the same request always has the same id. It supersedes requests
 * of its stack that wait, except those that were offered: the agent may already run one of those, and decides for itself.
 */
export function accept(
  known: Deploy | undefined,
  pending: { readonly count: number; readonly waiting: readonly Waiting[] },
  { host, stack, trigger, asked, settleMs }: Submission,
  now: number,
): Acceptance {
  if (known) return { outcome: 'known', deploy: known }
  const expiresAt = Math.min(asked.expiresAt, now + asked.ttlMs)
  if (settleMs !== undefined) {
    const joined = pending.waiting.find(
      (waiting) => waiting.trigger === trigger && waiting.offers === 0 && isSamePush(waiting, stack, asked),
    )
    if (joined) {
      const settlesAt = Math.min(now + settleMs, joined.acceptedAt + SETTLE_MS_MAX)
      return { outcome: 'joined', id: joined.id, settlesAt, expiresAt }
    }
  }
  const ofStack = pending.waiting.filter((waiting) => waiting.stack === stack)
  const superseded = supersededBy(asked, ofStack).filter(({ offers }) => offers === 0)
  if (pending.count - superseded.length >= PENDING_MAX) return { outcome: 'full' }
  const { id, actor, request, trust } = asked
  return {
    outcome: 'new',
    deploy: { id, host, stack, trigger, actor, trust, status: 'queued', acceptedAt: now, finishedAt: null },
    event: { type: 'accepted', stack, trigger, actor, trust, ...request },
    expiresAt,
    settlesAt: settleMs === undefined ? null : now + settleMs,
    superseded: superseded.map((waiting) => waiting.id),
  }
}

function isSamePush(waiting: Waiting, stack: string, { request }: VerifiedRequest): boolean {
  if (waiting.stack !== stack || isRollback(waiting.request) || isRollback(request)) return false
  return waiting.request.image === request.image
}

/** What became of a request. */
export interface Accepted {
  readonly status: 'accepted' | 'duplicate'
  readonly deploy: string
  readonly agent: 'online' | 'offline'
}

/** `new`: it has just said hello, and gets everything. */
export type AgentPresence = 'absent' | 'present' | 'new'

export interface Due {
  readonly offer: readonly string[]
  readonly end: readonly { readonly id: string; readonly event: DeployEvent }[]
  /** When to look again; undefined: only when something comes in. */
  readonly nextAt: number | undefined
}

/** After this many offers that the agent did not acknowledge, a request is suspected of killing it. */
const OFFERS_UNSUSPECTED_MAX = 3

/**
 * What the requests that wait need now: an offer, another offer, or their end. An agent that has just connected gets only one of the suspected,
 * the one that was offered least. If it dies again, that one is to blame, and the others are not lost with it.
 */
export function due(waiting: readonly Waiting[], agent: AgentPresence, now: number): Due {
  const offer: string[] = []
  const end: { id: string; event: DeployEvent }[] = []
  let nextAt = Infinity
  const suspected = waiting.filter(
    ({ offers, expiresAt }) => expiresAt > now && offers >= OFFERS_UNSUSPECTED_MAX && offers < OFFERS_MAX,
  )
  const tried = suspected.toSorted((a, b) => a.offers - b.offers)[0]
  for (const each of waiting) {
    const { id, offers, expiresAt } = each
    const offerAt = offerTime(each, agent, suspected.includes(each) && each !== tried, now)
    if (expiresAt <= now) end.push({ id, event: { type: 'expired' } })
    else if (agent === 'absent') nextAt = Math.min(nextAt, expiresAt)
    else if (offerAt > now) nextAt = Math.min(nextAt, expiresAt, offerAt)
    else if (offers >= OFFERS_MAX) end.push({ id, event: { type: 'failed', ms: 0, problem: UNDELIVERABLE } })
    else {
      offer.push(id)
      nextAt = Math.min(nextAt, expiresAt, now + offerAgainMs(offers + 1))
    }
  }
  return { offer, end, nextAt: nextAt === Infinity ? undefined : nextAt }
}

function offerTime(
  { offers, offeredAt, settlesAt }: Waiting,
  agent: AgentPresence,
  isHeldBack: boolean,
  now: number,
): number {
  if (settlesAt !== null && settlesAt > now) return settlesAt
  if (agent === 'new') return isHeldBack ? now + OFFER_AGAIN_MS : now
  return offeredAt === null ? now : offeredAt + offerAgainMs(offers)
}

function offerAgainMs(offers: number): number {
  return Math.min(OFFER_AGAIN_MS_MAX, OFFER_AGAIN_MS * 2 ** (offers - 1))
}

const UNDELIVERABLE: ProblemReport = {
  code: 'undeliverable',
  message: `the agent was offered this request ${OFFERS_MAX} times and never said that it has it`,
  cure: 'see the agent’s log: its disk may be full, or it ends when it reads the request',
}

/**
 * The frame that hands a deploy to the agent: what was signed, not what the hub made of it. `isReceived`: the agent has said something of it
 * before, so that one which does not know it any more must not begin it anew.
 */
export function deployFrame({ deploy, proof }: Unfinished, isReceived: boolean): DeployFrame {
  const { id, stack, trigger, acceptedAt } = deploy
  return { type: 'deploy', id, stack, trigger, acceptedAt, proof, ...(isReceived ? { received: true } : {}) }
}

/** What to do with the agent's events. `storedUpTo` is the agent's `seq` up to which it may forget them. */
export type Intake =
  | { readonly isGap: true; readonly expected: number }
  | {
      readonly isGap: false
      readonly rows: readonly LogRow[]
      readonly status: Status
      readonly storedUpTo: number
    }

/**
 * Which of the agent's events are new. The agent repeats what was not acknowledged, so those already stored are skipped; a hole
 * means that events were lost, which no repetition heals. Events of a deploy that is over, or that was never here, are acknowledged and
 * dropped: otherwise the agent would send them for ever.
 *
 * The hub only guesses that a request is `expired` when the agent said nothing of it. If the agent had begun it in time and could not say so, its
 * events count, and the log goes on.
 */
export function takeIn(position: LogPosition | undefined, incoming: readonly LoggedEvent[]): Intake {
  let { status, seq, agentSeq } = position ?? { status: 'failed' as const, seq: 0, agentSeq: 0 }
  let storedUpTo = agentSeq
  const rows: LogRow[] = []
  for (const { seq: theirs, at, event } of incoming) {
    const wasGuessed = status === 'expired' && agentSeq === 0 && event.type === 'started'
    if (wasGuessed) status = 'queued'
    else if (!isFinal(status) && theirs > agentSeq + 1) return { isGap: true, expected: agentSeq + 1 }
    storedUpTo = Math.max(storedUpTo, theirs)
    if (isFinal(status) || theirs <= agentSeq) continue
    status = nextStatus(status, event)
    agentSeq = theirs
    seq += 1
    rows.push({ seq, at, event, agentSeq })
  }
  return { isGap: false, rows, status, storedUpTo }
}

/**
 * The row for an agent's refusal to take a deploy in; undefined when it comes too late to count. For a deploy that the agent had acknowledged only
 * one refusal counts: that it has lost the deploy, and nobody knows what became of it.
 */
export function takeDeclined(
  position: LogPosition | undefined,
  event: ToldDeclined,
  now: number,
): LogRow | undefined {
  // A refusal of an unknown type ends nothing. The request is offered again.
  if (!position || isFinal(position.status) || !isFinal(nextStatus('queued', event))) return undefined
  const isLost = event.type === 'failed' && event.problem.code === 'interrupted'
  if (position.agentSeq > 0 && !isLost) return undefined
  return { seq: position.seq + 1, at: now, event, agentSeq: position.agentSeq }
}

/** What becomes of a cancel. The hub ends a deploy that it alone has; for any other the agent decides, if it is connected. */
export function cancel(
  status: Status,
  { wasOffered, isAgentThere }: { readonly wasOffered: boolean; readonly isAgentThere: boolean },
): 'over' | 'cancelled' | 'cancelling' | 'agent-offline' {
  if (isFinal(status)) return 'over'
  if (status === 'queued' && !wasOffered) return 'cancelled'
  return isAgentThere ? 'cancelling' : 'agent-offline'
}

/** A stack's deploy that made a release, by its last event, newest first. */
export interface Released {
  readonly deploy: string
  readonly at: number
  readonly actor: string
  readonly reason: string | undefined
  readonly outcome: Extract<DeployEvent, { type: 'succeeded' }>
}

/**
 * A stack's releases from its deploys. If two have one number the newer counts, since an agent that has lost its journal begins again at 1.
 * Where the number before a release is no deploy's, what ran then came from somewhere else. It is a release too, read from the plan of the deploy
 * that replaced it (`planOf`).
 */
export function releases(
  made: readonly Released[],
  limit: number,
  planOf: (deploy: string) => { readonly at: number; readonly plan: Plan } | undefined,
): ReleaseState[] {
  const found = new Map<number, ReleaseState>()
  for (const { deploy, at, actor, reason = null, outcome } of made) {
    const { release, of, services } = outcome
    if (release === undefined || found.has(release)) continue
    const isCurrent = found.size === 0
    found.set(release, {
      release,
      deploy,
      at,
      actor,
      reason,
      services,
      isCurrent,
      ...(of === undefined ? {} : { of }),
    })
  }
  const listed: ReleaseState[] = []
  for (const each of found.values()) {
    if (listed.length === limit) break
    listed.push(each)
    if (each.release === 1 || found.has(each.release - 1) || listed.length === limit || each.deploy === null)
      continue
    const before = planOf(each.deploy)
    if (before)
      listed.push({
        ...NOBODYS,
        release: each.release - 1,
        at: before.at,
        services: imagesBefore(before.plan),
      })
  }
  return listed
}

const NOBODYS = { deploy: null, actor: null, reason: null, isCurrent: false } as const

function imagesBefore({ steps }: Plan): Record<string, string> {
  return Object.fromEntries(
    steps.flatMap((step) =>
      step.kind === 'update' && step.from.image !== undefined
        ? [[step.service, shortImage(step.from.image)]]
        : [],
    ),
  )
}

/** The events for a viewer who has seen those up to `after`. A `gap` stands for events that are no longer kept. */
export function withGaps(after: number, events: readonly LoggedEvent[]): LoggedEvent[] {
  let seen = after
  return events.flatMap((logged) => {
    const from = seen + 1
    seen = logged.seq
    if (logged.seq === from) return [logged]
    const to = logged.seq - 1
    return [{ seq: to, at: logged.at, event: { type: 'gap', from, to } satisfies DeployEvent }, logged]
  })
}

/** Whether somebody still listens. The socket of a frozen peer stays open, but its pings stop. */
export function isAlive(
  socket: { readonly isOpen: boolean; readonly connectedAt: number; readonly pingedAt: number | undefined },
  now: number,
): boolean {
  return socket.isOpen && now - Math.max(socket.connectedAt, socket.pingedAt ?? 0) < SILENCE_MS_MAX
}
