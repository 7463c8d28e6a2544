// Chats: what people say to a bot, answered at once from what is stored here; then one message for each deploy, shown again as it comes on.
// Looks up, asks the pure parts (shared/chat, pace.ts, words.ts), and does what they say.

import {
  askedOf,
  chatTrigger,
  clickOf,
  hear,
  platformOf,
  wishOf,
  type Chat,
  type Heard,
  type Wish,
} from '../../../shared/chat/chat.ts'
import { HELP } from '../../../shared/chat/command.ts'
import type { Message, Said } from '../../../shared/chat/platform.ts'
import { isFinal } from '../../../shared/deploy.ts'
import { Problem } from '../../../shared/problems.ts'
import { toBase64, type Proof } from '../../../shared/protocol.ts'
import type { SignedRequest } from '../../../shared/triggers/index.ts'
import { UNAUTHORIZED, isRefusal, type Refusal } from '../../refusal.ts'
import { releases, type Asking } from '../decide.ts'
import type { Delivery } from '../delivery.ts'
import type { FactStore } from '../facts.ts'
import type { Accepted } from '../hub.ts'
import type { Limiter } from '../limiter.ts'
import * as log from '../log.ts'
import { noteKeyUsed, noteStale, type Noted } from '../uses.ts'
import * as messages from './messages.ts'
import { afterCall, dueAt } from './pace.ts'
import { send } from './send.ts'
import { cleaned, tell } from './words.ts'

/** In the place of a stack's name, for what is counted and noted of a chat; no stack can have it. */
export const OF_CHATS = '@chat'
/** Messages that are shown at one time. Of more the others come right after. */
const CALLS_AT_ONCE = 6
/** A call and what follows take less; were the hub to end meanwhile, the message is shown again after this. */
const CALL_LEASE_MS = 15_000
const RELEASES_TOLD = 5

type Speech = Exclude<Said, { kind: 'greeting' }>

export interface ChatRequest extends SignedRequest {
  readonly headers: Record<string, string>
  readonly form: 'form' | 'json'
  readonly origin: string
}

/** The platform's own JSON; undefined: nothing but 200. */
export interface ChatAnswer {
  readonly answer: string | undefined
}

export interface ChatsOptions {
  readonly delivery: Delivery
  readonly limiter: Limiter
  readonly noted: Noted
  readonly accept: (asking: Asking, proof: Proof) => Promise<Accepted | Refusal>
}

// For requests to nobody: verified all the same, so that they take as long.
const NOBODYS_CHAT: Pick<Chat, 'type' | 'keys'> = {
  type: 'slack',
  keys: ['0123456789abcdef0123456789abcdef'],
}

export class Chats {
  readonly #ctx: DurableObjectState
  readonly #facts: FactStore
  readonly #options: ChatsOptions

  constructor(ctx: DurableObjectState, facts: FactStore, options: ChatsOptions) {
    this.#ctx = ctx
    this.#facts = facts
    this.#options = options
  }

  get #sql(): SqlStorage {
    return this.#ctx.storage.sql
  }

  /** One request of a platform: the route has chosen the chat, its type alone says how it is verified. */
  async hear(host: string, name: string, request: ChatRequest): Promise<ChatAnswer | Refusal> {
    const now = Date.now()
    const chat = this.#chat(name)
    const { headers } = platformOf(chat ?? NOBODYS_CHAT)
    const signed = { headers: pick(request.headers, headers), body: request.body }
    const heard = await this.#heard(chat, signed, now)
    if (isRefusal(heard)) return heard
    if (!chat || ![request.form, 'both'].includes(platformOf(chat).body)) return UNAUTHORIZED
    if ('kind' in heard) return answerOf(undefined)
    await noteKeyUsed(
      this.#sql,
      { stack: OF_CHATS, name },
      { key: heard.key, now, noted: this.#options.noted },
    )
    const { said } = heard
    if (said.kind === 'greeting') return answerOf(said.answer)
    const wish = wishOf(chat, said, (deploy) => log.findDeploy(this.#sql, deploy)?.stack)
    if (wish.kind === 'roll') return this.#roll(host, chat, heard, wish, signed, request.origin)
    const wait = this.#options.limiter.take(OF_CHATS, name, now)
    if (wait !== undefined) return this.#say(chat, said, [TOO_MANY])
    if (wish.kind === 'look') return this.#say(chat, said, this.#look(wish, now))
    if (wish.isForbidden) this.#note(chat, `${who(said)}: ${wish.words}`, now)
    return this.#say(chat, said, wish.isForbidden ? [wish.words, ASK_WHOM] : [wish.words, ...HELP])
  }

  /** Something new is known of a deploy: its message, if there is one, is due. */
  note(deploy: string): void {
    if (!this.#facts.get('hello')?.chats?.length) return
    const now = Date.now()
    const open = messages.findOpen(this.#sql, deploy)
    const found = open && log.findDeploy(this.#sql, deploy)
    if (!open || !found) return
    const at = dueAt(open, isFinal(found.status), now)
    if (open.dueAt !== null && open.dueAt <= at) return
    messages.setDue(this.#sql, deploy, at)
    this.#ctx.waitUntil(this.#options.delivery.lookAgain(at))
  }

  /** After a time away: nothing that is due may wait for an alarm that was never set. */
  async resume(): Promise<void> {
    await this.#options.delivery.lookAgain(messages.nextDue(this.#sql))
  }

  /** The alarm: shows what is due. */
  async wake(now: number): Promise<void> {
    const due = messages.listDue(this.#sql, now, CALLS_AT_ONCE)
    await Promise.all(due.map((message) => this.#show(message, now)))
    await this.resume()
  }

  async #show(message: messages.Message, now: number): Promise<void> {
    const { deploy: id, place } = message
    const chat = this.#chat(message.chat)
    const deploy = log.findDeploy(this.#sql, id)
    const events = log.listEvents(this.#sql, id, 0)
    if (!chat || !deploy) return messages.setEnded(this.#sql, id, now)
    const seq = events.at(-1)?.seq ?? 0
    const platform = platformOf(chat)
    const said = tell(deploy, events, urlOf(message.origin, deploy))
    const call = await platform.show(place, said, chat, now)
    if (!call) {
      if (said.isFinal) this.#end(chat, id, 'the platform allows no more messages', now)
      else messages.setNext(this.#sql, id, { ...message, seq, dueAt: null })
      return
    }
    messages.setDue(this.#sql, id, now + CALL_LEASE_MS)
    const answer = await send(call, platform.hosts(chat)).catch(() => ({
      status: 400,
      retryAfterSeconds: undefined,
      body: undefined,
    }))
    const latest = log.findPlace(this.#sql, id)
    const next = afterCall(
      message,
      platform,
      { seq, isFinal: said.isFinal, answer },
      { seq: latest?.seq ?? seq, isFinal: latest !== undefined && isFinal(latest.status) },
      Date.now(),
    )
    if ('end' in next) this.#end(chat, id, next.end, now)
    else messages.setNext(this.#sql, id, next)
  }

  #end(chat: Chat, deploy: string, fault: string | undefined, now: number): void {
    messages.setEnded(this.#sql, deploy, now)
    if (fault !== undefined)
      this.#note(chat, `the message of deploy ${deploy} cannot be shown: ${fault}`, now)
  }

  async #heard(
    chat: Chat | undefined,
    signed: SignedRequest,
    now: number,
  ): Promise<Heard | typeof TOO_OLD | Refusal> {
    try {
      return await hear(chat ?? NOBODYS_CHAT, signed, now)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      if (chat && error.code === 'request-stale') {
        this.#note(chat, error.message, now)
        if (platformOf(chat).repeatsRefused) return TOO_OLD
      }
      if (!chat || error.code !== 'request-invalid') return UNAUTHORIZED
      return { refused: 'malformed', message: error.message }
    }
  }

  async #roll(
    host: string,
    chat: Chat,
    { said, signedAt }: Heard,
    wish: Extract<Wish, { kind: 'roll' }>,
    signed: SignedRequest,
    origin: string,
  ): Promise<ChatAnswer> {
    const speech = said as Speech
    const fault = this.#buttonFault(chat, speech, wish.stack)
    if (fault !== undefined) return this.#say(chat, speech, [fault])
    const asked = await askedOf(host, chat, wish, speech.who, signedAt)
    const proof: Proof = { kind: 'chat', headers: { ...signed.headers }, body: toBase64(signed.body) }
    const trigger = chatTrigger(chat)
    const accepted = await this.#options.accept({ host, stack: wish.stack, trigger, asked }, proof)
    if (isRefusal(accepted)) return this.#say(chat, speech, [TOO_MANY])
    const now = Date.now()
    const { firstShowMs } = platformOf(chat)
    if (firstShowMs !== undefined) {
      const place = { ...speech.place, askedAt: now, hook: `${origin}/hooks/${host}/${chat.name}` }
      const message = { deploy: accepted.deploy, chat: chat.name, origin, place }
      messages.insertMessage(this.#sql, message, { now, dueAt: now + firstShowMs })
      await this.resume()
    }
    if (accepted.status === 'duplicate')
      return this.#say(chat, speech, [`${wish.stack}: that was asked for already.`])
    const isThere = accepted.agent === 'online'
    const words = [
      `${wish.stack}: accepted, deploy ${accepted.deploy}`,
      isThere ? 'Its agent is there.' : 'Its agent is away: this runs when it is back.',
      urlOf(origin, { id: accepted.deploy, host }),
    ]
    return this.#say(chat, speech, words, 'start')
  }

  /** Why a button does not count any more: it is old, or its deploy was followed by another. */
  #buttonFault(chat: Chat, said: Speech, stack: string): string | undefined {
    const click = said.kind === 'click' ? clickOf(said.button) : undefined
    if (!click) return undefined
    if (!messages.hasButtons(this.#sql, click.deploy, chat.name, Date.now())) return 'That button is too old.'
    const newest = log.listReleased(this.#sql, stack)[0]
    return newest?.deploy === click.deploy
      ? undefined
      : `That is not what ${stack} runs any more: another deploy came after it, or it was rolled back.`
  }

  #look(wish: Extract<Wish, { kind: 'look' }>, now: number): string[] {
    if (wish.at === 'help') return [...HELP]
    const { stack } = wish
    if (wish.at === 'history') {
      const made = releases(log.listReleased(this.#sql, stack), RELEASES_TOLD, () => undefined)
      if (made.length === 0) return [`${stack}: no release yet, as far as the relay knows`]
      return made.map(({ release, at, actor, services, isCurrent }) => {
        const runs = [...new Set(Object.values(services))].join(', ')
        return `${release}${isCurrent ? ' (runs now)' : ''}: ${runs}, by ${actor ?? 'nobody'}, ${ago(at, now)}`
      })
    }
    const isThere = this.#options.delivery.liveAgent(now) !== undefined
    const seenAt = this.#facts.get('seenAt')
    const last = log.listDeploys(this.#sql, [stack], 1)[0]
    return [
      `${stack}: its agent is ${isThere ? 'there' : `away${seenAt === undefined ? '' : `, last seen ${ago(seenAt, now)}`}`}`,
      last
        ? `last deploy: ${last.status}, by ${last.actor}, ${ago(last.finishedAt ?? last.acceptedAt, now)}`
        : 'no deploy yet',
    ]
  }

  #say(chat: Chat, said: Speech, lines: readonly string[], as: 'private' | 'start' = 'private'): ChatAnswer {
    const platform = platformOf(chat)
    const message: Message = { lines: lines.flatMap(cleaned), buttons: [], isFinal: false }
    const { answer, call } = platform.reply(said, message, as)
    // Words beside the point: should they not arrive, nothing else is amiss.
    if (call) this.#ctx.waitUntil(send(call, platform.hosts(chat)).catch(() => undefined))
    return answerOf(answer)
  }

  #note({ name }: Chat, message: string, now: number): void {
    noteStale(this.#sql, { stack: OF_CHATS, name }, message, now)
  }

  #chat(name: string): Chat | undefined {
    return this.#facts.get('hello')?.chats?.find((each) => each.name === name)
  }
}

/** Genuine, and refused: the platform must not send it again. */
const TOO_OLD = { kind: 'too-old' } as const
const TOO_MANY = 'That was too much at once. Try again in a minute.'
const ASK_WHOM = 'Who may do what is in the ropeway.yml of the host.'

function answerOf(answer: object | undefined): ChatAnswer {
  return { answer: answer === undefined ? undefined : JSON.stringify(answer) }
}

function urlOf(origin: string, { host, id }: { readonly host: string; readonly id: string }): string {
  return `${origin}/watch#host=${host}&deploy=${id}`
}

/** Who spoke and where, for the host's people. */
function who({ who: { user, name, channel, team } }: Speech): string {
  return cleaned(`${user} (${name}) in ${channel}${team === undefined ? '' : ` of ${team}`}`).join(' ')
}

function ago(at: number, now: number): string {
  const minutes = Math.max(0, Math.round((now - at) / 60_000))
  if (minutes < 1) return 'just now'
  if (minutes < 120) return `${minutes} min ago`
  return minutes < 2 * 24 * 60
    ? `${Math.round(minutes / 60)} h ago`
    : `${Math.round(minutes / 24 / 60)} days ago`
}

function pick(headers: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
  )
}
