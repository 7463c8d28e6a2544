// From a verified request to its end: stored, offered to the agent until the agent has it, its events stored and shown, or given up.
// Looks up what is stored, asks decide.ts, and does what that says, each time in one turn of the event loop.

import { isKnownChat } from '../../shared/chat/chat.ts'
import { isFinal, nextStatus, type Deploy } from '../../shared/deploy.ts'
import type { DeployEvent, LoggedEvent } from '../../shared/events.ts'
import {
  CLOSE,
  PROTOCOL_VERSION,
  type CancelFrame,
  type FromAgent,
  type Hello,
  type Proof,
} from '../../shared/protocol.ts'
import { isKnownTrigger } from '../../shared/triggers/index.ts'
import {
  accept,
  cancel,
  deployFrame,
  due,
  takeDeclined,
  takeIn,
  type AgentPresence,
  type Submission,
  type LogRow,
  type Waiting,
} from './decide.ts'
import type { Alarm } from './alarm.ts'
import type { FactStore } from './facts.ts'
import * as log from './log.ts'
import * as sockets from './sockets.ts'

type EventsFrame = Extract<FromAgent, { type: 'events' }>
type DeclinedFrame = Extract<FromAgent, { type: 'declined' }>

/** How long to wait when a host has too many unfinished deploys. By then some are over, or its agent is back. */
const FULL_RETRY_SECONDS = 60

interface Ended {
  readonly deploy: string
  readonly row: LogRow
}

export class Delivery {
  readonly #ctx: DurableObjectState
  readonly #facts: FactStore
  readonly #alarm: Alarm
  readonly #onShown: (deploy: string) => void

  /** `onShown` is called with each deploy that has a new event. */
  constructor(
    ctx: DurableObjectState,
    facts: FactStore,
    { alarm, onShown }: { alarm: Alarm; onShown: (deploy: string) => void },
  ) {
    this.#ctx = ctx
    this.#facts = facts
    this.#alarm = alarm
    this.#onShown = onShown
  }

  get #sql(): SqlStorage {
    return this.#ctx.storage.sql
  }

  liveAgent(now: number): ReturnType<typeof sockets.liveAgent> {
    return sockets.liveAgent(this.#ctx, this.#facts.get('generation') ?? 0, now)
  }

  /**
   * Stores a request before anybody hears of it: the runtime holds back answers and frames until the rows are on the disk. `waitSeconds` counts the
   * request, unless it came before, and says how long to wait if it is one too many.
   */
  async accept(
    submission: Submission,
    proof: Proof,
    { now, waitSeconds }: { now: number; waitSeconds: () => number | undefined },
  ): Promise<{ status: 'accepted' | 'duplicate'; deploy: string } | { retryAfterSeconds: number }> {
    const live = this.liveAgent(now)
    const isThere = live?.agent.isGreeted ?? false
    const isOffered = isThere && submission.settleMs === undefined
    const decision = this.#ctx.storage.transactionSync(() => {
      const known = log.findDeploy(this.#sql, submission.asked.id)
      const decided = accept(known, log.listPending(this.#sql), submission, now)
      if (decided.outcome === 'joined') log.postpone(this.#sql, decided.id, decided)
      if (decided.outcome === 'known' || decided.outcome === 'joined') return decided
      const retryAfterSeconds = waitSeconds()
      if (retryAfterSeconds !== undefined) return { outcome: 'limited' as const, retryAfterSeconds }
      if (decided.outcome === 'full') return decided
      log.insertDeploy(this.#sql, { ...decided, proof, offeredAt: isOffered ? now : undefined })
      const event: DeployEvent = { type: 'superseded', by: decided.deploy.id }
      return { ...decided, ended: decided.superseded.flatMap((id) => this.#end(id, event, now)) }
    })
    if (decision.outcome === 'limited') return decision
    if (decision.outcome === 'full') return { retryAfterSeconds: FULL_RETRY_SECONDS }
    if (decision.outcome === 'known') return { status: 'duplicate', deploy: decision.deploy.id }
    if (decision.outcome === 'joined') {
      await this.#alarm.ringBy(decision.settlesAt)
      return { status: 'duplicate', deploy: decision.id }
    }
    this.#showEnds(decision.ended)
    if (live && isOffered)
      sockets.sendFrame(live.socket, deployFrame({ deploy: decision.deploy, proof }, false))
    const waiting: Waiting = {
      ...submission.asked,
      stack: submission.stack,
      trigger: submission.trigger,
      acceptedAt: now,
      settlesAt: decision.settlesAt,
      expiresAt: decision.expiresAt,
      offers: isOffered ? 1 : 0,
      offeredAt: isOffered ? now : null,
    }
    await this.#alarm.ringBy(due([waiting], isThere ? 'present' : 'absent', now).nextAt)
    return { status: 'accepted', deploy: decision.deploy.id }
  }

  async greet(
    socket: WebSocket,
    on: sockets.AgentSocket,
    { agent, stacks, triggers, chats, revoked }: Hello,
    now: number,
  ): Promise<void> {
    this.#facts.putIfNew('hello', { agent, stacks, triggers, ...(chats === undefined ? {} : { chats }) })
    this.#facts.putIfNew('revoked', revoked)
    sockets.dismissViewers(this.#ctx, revoked)
    socket.serializeAttachment({ ...on, isGreeted: true } satisfies sockets.AgentSocket)
    const unknown = [
      ...triggers.flatMap((each) =>
        isKnownTrigger(each) ? [] : [`${each.stack}/${each.name} (${each.type})`],
      ),
      ...(chats ?? []).flatMap((each) => (isKnownChat(each) ? [] : [`chat ${each.name} (${each.type})`])),
    ]
    sockets.sendFrame(socket, {
      type: 'welcome',
      v: PROTOCOL_VERSION,
      generation: on.generation,
      at: now,
      ...(unknown.length === 0 ? {} : { unknown }),
    })
    await this.#attend('new', now)
  }

  /** The alarm rang: a request has waited as long as it may, or is due for another offer. */
  async wake(now: number): Promise<void> {
    await this.#attend(this.liveAgent(now)?.agent.isGreeted ? 'present' : 'absent', now)
  }

  async #attend(agent: AgentPresence, now: number): Promise<void> {
    const { unfinished, broken } = log.listUnfinished(this.#sql)
    const { waiting } = log.listPending(this.#sql)
    const decision = due(waiting, agent, now)
    const ends = [...broken.map((id) => ({ id, event: UNREADABLE })), ...decision.end]
    const ended = this.#ctx.storage.transactionSync(() => {
      for (const id of decision.offer) log.markOffered(this.#sql, id, now)
      return ends.flatMap(({ id, event }) => this.#end(id, event, now))
    })
    this.#showEnds(ended)
    const live = agent === 'absent' ? undefined : this.liveAgent(now)
    // An agent that is back also gets the deploys that it has acknowledged, since it may have news of them.
    const isWaiting = new Set(waiting.map(({ id }) => id))
    for (const each of unfinished) {
      const { id } = each.deploy
      const isOwed = isWaiting.has(id) ? decision.offer.includes(id) : agent === 'new'
      if (live && isOwed) sockets.sendFrame(live.socket, deployFrame(each, !isWaiting.has(id)))
    }
    await this.#alarm.ringBy(decision.nextAt)
  }

  takeIn(socket: WebSocket, { deploy, events }: EventsFrame, now: number): void {
    const position = log.findPosition(this.#sql, deploy)
    const intake = takeIn(position, events)
    if (intake.isGap)
      return sockets.closeQuietly(socket, CLOSE.malformed, `${deploy}: expected event ${intake.expected}`)
    this.#ctx.storage.transactionSync(() => {
      for (const row of intake.rows) log.insertEvent(this.#sql, deploy, row)
      if (intake.status !== position?.status && intake.rows.length > 0)
        log.setStatus(this.#sql, deploy, intake.status, now)
    })
    for (const row of intake.rows) this.#show(deploy, row)
    if (isFinal(intake.status)) sockets.closeViewers(this.#ctx, deploy)
    sockets.sendFrame(socket, { type: 'stored', deploy, seq: intake.storedUpTo })
  }

  decline({ deploy, event }: DeclinedFrame, now: number): void {
    const row = takeDeclined(log.findPosition(this.#sql, deploy), event, now)
    if (row) this.#showEnds(this.#ctx.storage.transactionSync(() => this.#endWith(deploy, row, now)))
  }

  /**
   * Somebody wants a deploy ended. That is not stored, since it is meant for now. They see by the deploy's end whether it was heeded.
   */
  cancel(
    { id, status }: Deploy,
    { by, proof, now }: { by: string; proof: CancelFrame['proof']; now: number },
  ): ReturnType<typeof cancel> {
    const live = this.liveAgent(now)
    const isAgentThere = live?.agent.isGreeted ?? false
    const decision = cancel(status, { wasOffered: log.wasOffered(this.#sql, id), isAgentThere })
    if (decision === 'cancelled')
      this.#showEnds(this.#ctx.storage.transactionSync(() => this.#end(id, { type: 'cancelled', by }, now)))
    if (decision === 'cancelling' && live)
      sockets.sendFrame(live.socket, { type: 'cancel', deploy: id, proof })
    return decision
  }

  // Ends a deploy that the agent does not have.
  #end(deploy: string, event: DeployEvent, now: number): Ended[] {
    const position = log.findPosition(this.#sql, deploy)
    if (!position || isFinal(position.status)) return []
    return this.#endWith(deploy, { seq: position.seq + 1, at: now, event, agentSeq: position.agentSeq }, now)
  }

  #endWith(deploy: string, row: LogRow, now: number): Ended[] {
    log.insertEvent(this.#sql, deploy, row)
    log.setStatus(this.#sql, deploy, nextStatus('queued', row.event), now)
    return [{ deploy, row }]
  }

  // Called after the transaction. If it were undone, nobody may have seen what it would have stored.
  #showEnds(ended: readonly Ended[]): void {
    for (const { deploy, row } of ended) {
      this.#show(deploy, row)
      sockets.closeViewers(this.#ctx, deploy)
    }
  }

  #show(deploy: string, { seq, at, event }: LoggedEvent): void {
    sockets.sendToViewers(this.#ctx, deploy, JSON.stringify({ seq, at, event } satisfies LoggedEvent))
    this.#onShown(deploy)
  }
}

const UNREADABLE: DeployEvent = {
  type: 'failed',
  ms: 0,
  problem: {
    code: 'internal',
    message: 'the relay cannot read what it has stored of this request',
    cure: 'ask for the deploy again',
  },
}
