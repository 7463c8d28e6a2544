// The messages that follow deploys: which are due, the calls that show them, and what comes of each. pace.ts decides when, words.ts what they
// say.

import { platformOf, type Chat } from '../../../shared/chat/chat.ts'
import type { CallAnswer, Message, MessagePlace } from '../../../shared/chat/platform.ts'
import { isFinal } from '../../../shared/deploy.ts'
import type { Alarm } from '../alarm.ts'
import type { FactStore } from '../facts.ts'
import * as log from '../log.ts'
import { findApproval } from './approvals.ts'
import { chatNamed, noteFault } from './known.ts'
import * as messages from './messages.ts'
import { afterCall, dueAt } from './pace.ts'
import { send } from './send.ts'
import { tell, tellApproval, urlOf, verdictOf } from './words.ts'

/** Messages that are shown at one time. If more are due, the others come right after. */
const CALLS_AT_ONCE = 6
/** A call and what follows take less than this. If the hub ends meanwhile, the message is shown again after it. */
const CALL_LEASE_MS = 15_000
/** The answer in the place of a call to an address that is not the platform's own. */
const NOT_CALLED: CallAnswer = { status: 400, retryAfterSeconds: undefined, body: undefined }

/** What there is to show of a message now. */
interface News {
  readonly content: Message
  /** The last event in it. */
  readonly seq: number
  /** When it changes by itself, where it does. */
  readonly changesAt: number | undefined
}

type Due = ReturnType<typeof messages.listDue>[number]

export class Showing {
  readonly #ctx: DurableObjectState
  readonly #facts: FactStore
  readonly #alarm: Alarm

  constructor(ctx: DurableObjectState, facts: FactStore, alarm: Alarm) {
    this.#ctx = ctx
    this.#facts = facts
    this.#alarm = alarm
  }

  get #sql(): SqlStorage {
    return this.#ctx.storage.sql
  }

  /** A message for a deploy, or for what will be one: shown from now on, where the platform lets us. */
  async begin(chat: Chat, deploy: string, origin: string, place: MessagePlace): Promise<void> {
    const now = Date.now()
    const { firstShowMs } = platformOf(chat)
    if (firstShowMs === undefined) return
    const message = { deploy, chat: chat.name, origin, place: { ...place, askedAt: now } }
    messages.insertMessage(this.#sql, message, { now, dueAt: now + firstShowMs })
    await this.resume()
  }

  /** Makes a deploy's message due at once. */
  async again(deploy: string): Promise<void> {
    messages.setDue(this.#sql, deploy, Date.now())
    await this.resume()
  }

  /** A deploy has a new event, so its message is due, if it has one. */
  note(deploy: string): void {
    if (!this.#facts.get('hello')?.chats?.length) return
    const now = Date.now()
    const open = messages.findOpen(this.#sql, deploy)
    const found = open && log.findDeploy(this.#sql, deploy)
    if (!open || !found) return
    const at = dueAt(open, isFinal(found.status), now)
    if (open.dueAt !== null && open.dueAt <= at) return
    messages.setDue(this.#sql, deploy, at)
    this.#ctx.waitUntil(this.#alarm.ringBy(at))
  }

  /** Sets the alarm for the next message that is due. The hub may have ended before it was set. */
  async resume(): Promise<void> {
    await this.#alarm.ringBy(messages.nextDue(this.#sql))
  }

  /** The alarm: shows what is due. */
  async wake(now: number): Promise<void> {
    const due = messages.listDue(this.#sql, now, CALLS_AT_ONCE)
    await Promise.all(due.map((message) => this.#showOrEnd(message, now)))
    await this.resume()
  }

  // A message that cannot be shown is given up, so that it does not keep back the others and is not tried for ever.
  async #showOrEnd(message: Due, now: number): Promise<void> {
    try {
      await this.#show({ ...message, place: JSON.parse(message.place) as MessagePlace }, now)
    } catch (error) {
      const { deploy } = message
      console.error(
        `the message of deploy ${deploy} was not shown: ${error instanceof Error ? error.name : 'unknown'}`,
      )
      messages.setEnded(this.#sql, deploy, now)
    }
  }

  async #show(message: messages.DeployMessage, now: number): Promise<void> {
    const { deploy: id } = message
    const chat = chatNamed(this.#facts, message.chat)
    const news = this.#news(message, now)
    if (!chat || !news) return messages.setEnded(this.#sql, id, now)
    const { content, seq, changesAt } = news
    const platform = platformOf(chat)
    const call = await platform.show(message.place, content, chat, now)
    if (!call) {
      if (content.isFinal) this.#end(chat, id, 'the platform allows no more messages', now)
      else messages.setNext(this.#sql, id, { ...message, seq, dueAt: changesAt ?? null })
      return
    }
    messages.setDue(this.#sql, id, now + CALL_LEASE_MS)
    const answer = await send(call, platform.hosts(chat)).catch(() => NOT_CALLED)
    const latest = log.findPosition(this.#sql, id)
    const next = afterCall(
      message,
      platform,
      { seq, isFinal: content.isFinal, answer },
      { seq: latest?.seq ?? seq, isFinal: latest !== undefined && isFinal(latest.status) },
      Date.now(),
    )
    if ('end' in next) return this.#end(chat, id, next.end, now)
    // Read again, since it may have been decided while it was shown.
    const changes = changesAt === undefined ? undefined : this.#news(message, now)?.changesAt
    messages.setNext(
      this.#sql,
      id,
      changesAt === undefined ? next : { ...next, dueAt: next.dueAt ?? changes ?? now },
    )
  }

  #news({ deploy: id, origin }: messages.DeployMessage, now: number): News | undefined {
    const deploy = log.findDeploy(this.#sql, id)
    if (deploy) {
      const events = log.listEvents(this.#sql, id, 0)
      const content = tell(deploy, events, urlOf(origin, deploy))
      return { content, seq: events.at(-1)?.seq ?? 0, changesAt: undefined }
    }
    const approval = findApproval(this.#sql, id)
    if (!approval) return undefined
    const verdict = verdictOf(approval, now)
    return {
      content: tellApproval(approval, verdict),
      seq: 0,
      changesAt: verdict === undefined ? approval.expiresAt : undefined,
    }
  }

  #end(chat: Chat, deploy: string, fault: string | undefined, now: number): void {
    messages.setEnded(this.#sql, deploy, now)
    if (fault !== undefined)
      noteFault(this.#sql, chat, `the message of deploy ${deploy} cannot be shown: ${fault}`, now)
  }
}
