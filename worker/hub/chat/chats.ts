// Chats: what people say to a bot, answered at once from what is stored here. Looks up, asks the pure parts (shared/chat, looks.ts), and does what
// they say. The sentences are words.ts' affair, the message of each deploy is showing.ts'.

import {
  chatTrigger,
  hear,
  platformOf,
  type Chat,
  type VerifiedInteraction,
} from '../../../shared/chat/chat.ts'
import {
  actorOf,
  approvalFault,
  askedByChat,
  askedOf,
  clickOf,
  intentOf,
  type Intent,
} from '../../../shared/chat/intent.ts'
import { isForbidden } from '../../../shared/chat/denial.ts'
import type { Interaction, Message } from '../../../shared/chat/platform.ts'
import { denialWords, HELP } from '../../../shared/chat/words.ts'
import { CHAT_BODY_BYTES_MAX } from '../../../shared/limits.ts'
import { Problem } from '../../../shared/problems.ts'
import { fromBase64, toBase64, type Proof } from '../../../shared/protocol.ts'
import type { VerifiedRequest, SignedRequest } from '../../../shared/triggers/verified.ts'
import { UNAUTHORIZED, isRefusal, type Refusal } from '../../refusal.ts'
import { releases, type Accepted, type Submission } from '../decide.ts'
import type { Delivery } from '../delivery.ts'
import type { FactStore } from '../facts.ts'
import type { Limiter } from '../limiter.ts'
import * as log from '../log.ts'
import { noteKeyUsed, type LastNoted } from '../uses.ts'
import { pick } from '../verify.ts'
import { findApproval, insertApproval, setVerdict, type Approval } from './approvals.ts'
import { OF_CHATS, chatNamed, noteFault } from './known.ts'
import { tellHistory, tellStatus } from './looks.ts'
import { hasButtons } from './messages.ts'
import { send } from './send.ts'
import type { Showing } from './showing.ts'
import * as words from './words.ts'

const RELEASES_TOLD = 5

type UserInteraction = Exclude<Interaction, { kind: 'greeting' }>
type Roll = Extract<Intent, { kind: 'roll' }>
type ChatProof = Extract<Proof, { kind: 'chat' }>

/** A roll that somebody else must approve. */
interface ApprovalNeed {
  readonly intent: Roll
  readonly asked: VerifiedRequest
  readonly proof: ChatProof
  readonly origin: string
}

export interface ChatRequest extends SignedRequest {
  readonly headers: Record<string, string>
  readonly form: 'form' | 'json'
  readonly origin: string
}

/** The platform's own JSON; undefined for an empty 200. */
export interface ChatAnswer {
  readonly answer: string | undefined
}

interface ChatsOptions {
  readonly delivery: Delivery
  readonly showing: Showing
  readonly limiter: Limiter
  readonly noted: LastNoted
  readonly accept: (submission: Submission, proof: Proof) => Promise<Accepted | Refusal>
}

// Requests to a chat that does not exist are verified with this key, so that they take as long.
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

  /** Answers one request of a platform. The route has chosen the chat; its type alone decides how it is verified. */
  async hear(host: string, name: string, request: ChatRequest): Promise<ChatAnswer | Refusal> {
    const now = Date.now()
    if (request.body.length > CHAT_BODY_BYTES_MAX)
      return { refused: 'too-big', message: `the body has more than ${CHAT_BODY_BYTES_MAX} bytes` }
    const chat = chatNamed(this.#facts, name)
    const { headers } = platformOf(chat ?? NOBODYS_CHAT)
    const signed = { headers: pick(request.headers, headers), body: request.body }
    const heard = await this.#verified(chat, signed, now)
    if (isRefusal(heard)) return heard
    if (!chat || ![request.form, 'both'].includes(platformOf(chat).body)) return UNAUTHORIZED
    if ('kind' in heard) return answerOf(undefined)
    await noteKeyUsed(
      this.#sql,
      { stack: OF_CHATS, name },
      { key: heard.key, now, noted: this.#options.noted },
    )
    const { interaction } = heard
    if (interaction.kind === 'greeting') return answerOf(interaction.answer)
    const intent = intentOf(chat, interaction, (deploy) => this.#stackOf(chat, deploy))
    if (intent.kind === 'roll') return this.#roll(host, chat, heard, intent, signed, request.origin)
    if (intent.kind === 'decide') return this.#decide(host, chat, heard, intent, signed)
    const wait = this.#options.limiter.take(OF_CHATS, name, now)
    if (wait !== undefined) return this.#say(chat, interaction, [words.TOO_MUCH])
    if (intent.kind === 'look') return this.#say(chat, interaction, this.#look(intent, now))
    if (isForbidden(intent.why))
      noteFault(this.#sql, chat, `${speaker(interaction)}: ${denialWords(intent.why)}`, now)
    return this.#say(chat, interaction, words.deniedLines(intent.why))
  }

  #stackOf(chat: Chat, deploy: string): string | undefined {
    const approval = findApproval(this.#sql, deploy)
    return (
      log.findDeploy(this.#sql, deploy)?.stack ?? (approval?.chat === chat.name ? approval.stack : undefined)
    )
  }

  async #verified(
    chat: Chat | undefined,
    signed: SignedRequest,
    now: number,
  ): Promise<VerifiedInteraction | typeof TOO_OLD | Refusal> {
    try {
      return await hear(chat ?? NOBODYS_CHAT, signed, now)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      if (chat && error.code === 'request-stale') {
        noteFault(this.#sql, chat, error.message, now)
        if (platformOf(chat).repeatsRefused) return TOO_OLD
      }
      if (!chat || error.code !== 'request-invalid') return UNAUTHORIZED
      return { refused: 'malformed', message: error.message }
    }
  }

  async #roll(
    host: string,
    chat: Chat,
    heard: VerifiedInteraction,
    intent: Roll,
    signed: SignedRequest,
    origin: string,
  ): Promise<ChatAnswer> {
    const interaction = heard.interaction as UserInteraction
    const fault = this.#buttonFault(chat, interaction, intent.stack)
    if (fault) return this.#say(chat, interaction, [words.buttonFaultLine(fault, intent.stack)])
    const asked = await askedOf(host, chat, intent, interaction.who, heard.signedAt)
    const proof: ChatProof = { kind: 'chat', headers: { ...signed.headers }, body: toBase64(signed.body) }
    if (intent.needsApproval)
      return this.#askAround(host, chat, interaction, { intent, asked, proof, origin })
    const accepted = await this.#options.accept(
      { host, stack: intent.stack, trigger: chatTrigger(chat), asked },
      proof,
    )
    if (isRefusal(accepted)) return this.#say(chat, interaction, [words.TOO_MUCH])
    await this.#begin(host, chat, interaction, accepted.deploy, origin)
    const url = words.urlOf(origin, { id: accepted.deploy, host })
    const lines = words.acceptedLines(intent.stack, accepted, url)
    return this.#say(chat, interaction, lines, accepted.status === 'accepted' ? 'start' : 'private')
  }

  #begin(
    host: string,
    chat: Chat,
    { place }: UserInteraction,
    deploy: string,
    origin: string,
  ): Promise<void> {
    const hook = `${origin}/hooks/${host}/${chat.name}`
    return this.#options.showing.begin(chat, deploy, origin, { ...place, hook })
  }

  async #askAround(
    host: string,
    chat: Chat,
    interaction: UserInteraction,
    { intent, asked, proof, origin }: ApprovalNeed,
  ): Promise<ChatAnswer> {
    const now = Date.now()
    const { stack, request } = intent
    if (findApproval(this.#sql, asked.id)) return this.#say(chat, interaction, [words.repeatedLine(stack)])
    const lines = [words.askedLine('image' in request ? request.image : undefined, asked.actor, host)]
    const isRoom =
      this.#options.limiter.take(OF_CHATS, chat.name, now) === undefined &&
      insertApproval(this.#sql, { deploy: asked.id, chat: chat.name, stack, lines, request: proof }, now)
    if (!isRoom) return this.#say(chat, interaction, [words.TOO_MUCH])
    await this.#begin(host, chat, interaction, asked.id, origin)
    return this.#say(chat, interaction, words.waitingLines(stack, lines), 'start')
  }

  /** Somebody approved or rejected a deploy. The agent gets both interactions, and judges both for itself. */
  async #decide(
    host: string,
    chat: Chat,
    heard: VerifiedInteraction,
    { isYes, stack, deploy }: Extract<Intent, { kind: 'decide' }>,
    signed: SignedRequest,
  ): Promise<ChatAnswer> {
    const interaction = heard.interaction as UserInteraction
    const now = Date.now()
    const approval = findApproval(this.#sql, deploy)
    const over = approval && words.verdictOf(approval, now)
    if (!approval?.request || over !== undefined)
      return this.#say(chat, interaction, [words.verdictLine(stack, over)])
    const by = actorOf(chat, interaction.who)
    if (!isYes) return this.#settle(chat, interaction, approval, { kind: 'rejected', by })
    const request = { headers: approval.request.headers, body: fromBase64(approval.request.body) }
    // It was verified when it came, but the host may have replaced its secret since.
    const first = await hear(chat, request, now, { mayBeOld: true }).catch(() => undefined)
    if (!first) return this.#settle(chat, interaction, approval, { kind: 'proof-void' })
    const { who } = first.interaction as UserInteraction
    const fault = approvalFault(chat, { id: deploy, stack, who, signedAt: first.signedAt }, heard)
    if (fault) {
      const denial = denialWords(fault)
      noteFault(this.#sql, chat, `${speaker(interaction)}: ${denial}`, now)
      return this.#say(chat, interaction, [denial])
    }
    const approved = await askedByChat(host, chat, first, () => stack, heard).catch(() => undefined)
    if (!approved) return this.#settle(chat, interaction, approval, { kind: 'asker-void' })
    const { asked } = approved
    const proof: Proof = {
      kind: 'chat',
      ...approval.request,
      approval: { headers: { ...signed.headers }, body: toBase64(signed.body) },
    }
    const accepted = await this.#options.accept({ host, stack, trigger: chatTrigger(chat), asked }, proof)
    if (isRefusal(accepted)) return this.#say(chat, interaction, [words.TOO_MUCH])
    return this.#settle(chat, interaction, approval, { kind: 'approved', by })
  }

  async #settle(
    chat: Chat,
    interaction: UserInteraction,
    { deploy, stack }: Approval,
    verdict: words.Verdict,
  ): Promise<ChatAnswer> {
    const ending = words.verdictWords(verdict)
    setVerdict(this.#sql, deploy, ending)
    await this.#options.showing.again(deploy)
    return this.#say(chat, interaction, [words.verdictLine(stack, ending)])
  }

  /** Why a button does not count any more: it is old, or its deploy was followed by another. */
  #buttonFault(chat: Chat, interaction: UserInteraction, stack: string): words.ButtonFault | undefined {
    const click = interaction.kind === 'click' ? clickOf(interaction.button) : undefined
    if (!click) return undefined
    if (!hasButtons(this.#sql, click.deploy, chat.name, Date.now())) return 'too-old'
    const newest = log.listReleased(this.#sql, stack)[0]
    return newest?.deploy === click.deploy ? undefined : 'overtaken'
  }

  #look(intent: Extract<Intent, { kind: 'look' }>, now: number): string[] {
    if (intent.at === 'help') return [...HELP]
    const { stack } = intent
    if (intent.at === 'history')
      return tellHistory(
        stack,
        releases(log.listReleased(this.#sql, stack), RELEASES_TOLD, () => undefined),
        now,
      )
    const isThere = this.#options.delivery.liveAgent(now) !== undefined
    const agent = { isThere, seenAt: this.#facts.get('seenAt') }
    return tellStatus(stack, agent, log.listDeploys(this.#sql, [stack], 1)[0], now)
  }

  #say(
    chat: Chat,
    interaction: UserInteraction,
    lines: readonly string[],
    as: 'private' | 'start' = 'private',
  ): ChatAnswer {
    const platform = platformOf(chat)
    const message: Message = { lines: lines.flatMap(words.cleaned), buttons: [], isFinal: false }
    const { answer, call } = platform.reply(interaction, message, as)
    // A failed call is passed over, since nothing else depends on these words.
    if (call) this.#ctx.waitUntil(send(call, platform.hosts(chat)).catch(() => undefined))
    return answerOf(answer)
  }
}

/** A genuine request that is refused in a way that keeps the platform from sending it again. */
const TOO_OLD = { kind: 'too-old' } as const

function answerOf(answer: object | undefined): ChatAnswer {
  return { answer: answer === undefined ? undefined : JSON.stringify(answer) }
}

/** Who spoke and where, for the host's people. */
function speaker({ who: { user, name, channel, team } }: UserInteraction): string {
  return words.cleaned(`${user} (${name}) in ${channel}${team === undefined ? '' : ` of ${team}`}`).join(' ')
}
