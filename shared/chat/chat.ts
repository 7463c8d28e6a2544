// A chat: a bot by which people ask for deploys of a host's stacks, as ropeway.yml names it. What it was told is proven, read and judged with
// this code by the hub, which answers, and again by the agent, which does not take the hub's word for it.

import { z } from 'zod'
import { DEPLOY_ID_PATTERN, deployId } from '../deploy-id.ts'
import {
  APPROVAL_MS_MAX,
  CHAT_IDS_MAX,
  NAME_PATTERN,
  REQUEST_TTL_MS_MAX,
  SIGNATURE_AGE_SECONDS_MAX,
} from '../limits.ts'
import { unknownWord } from '../open.ts'
import { Problem } from '../problems.ts'
import type { AnyRequest } from '../request.ts'
import type { VerifiedRequest, SignedRequest } from '../triggers/verified.ts'
import { parseCommand } from './command.ts'
import { discord } from './discord.ts'
import { mattermost } from './mattermost.ts'
import type { Platform, Said, Who } from './platform.ts'
import { slack } from './slack.ts'
import { microsoftTeams } from './teams.ts'
import { telegram } from './telegram.ts'

/** Every platform there is: a sixth is a file, and a line here. */
export const PLATFORMS = {
  slack,
  discord,
  telegram,
  mattermost,
  teams: microsoftTeams,
} as const satisfies Record<string, Platform>
export type ChatType = keyof typeof PLATFORMS
export const CHAT_TYPES = Object.keys(PLATFORMS) as [ChatType, ...ChatType[]]

export function platformOf({ type }: { readonly type: ChatType }): Platform {
  return PLATFORMS[type]
}

const ids = z.array(z.string().min(1).max(64)).max(CHAT_IDS_MAX)
const name = z.string().regex(NAME_PATTERN)

/** What the agent pushes to its hub for each chat in ropeway.yml. Its keys and its token are secrets. */
export const chatSchema = z.object({
  type: z.enum(CHAT_TYPES),
  name,
  ttlMs: z.number().int().positive().max(REQUEST_TTL_MS_MAX),
  keys: z.array(z.string().min(1).max(256)).min(1).max(2),
  token: z.string().max(512).optional(),
  server: z.string().max(512).optional(),
  /** Empty where the platform has no teams. */
  teams: ids,
  /** Empty: any channel of these teams. */
  channels: ids,
  stacks: z
    .array(
      z.object({
        name,
        /** The repository of which people name tags. */
        image: z.string().max(512).optional(),
        /** Who may have it rolled, forward and back. Whoever is in the channel may look. */
        deploy: ids,
        /** Whom a deploy waits for, where there are any, and whether they may approve their own. */
        approve: ids.optional(),
        approveOwn: z.boolean().optional(),
      }),
    )
    .min(1)
    .max(256),
})
export type Chat = z.infer<typeof chatSchema>
export type ChatStack = Chat['stacks'][number]

/** A chat of a newer agent: its name is kept, and nothing of what it might be verified by. */
export const unknownChatSchema = z.object({ type: unknownWord(CHAT_TYPES), name })
export type UnknownChat = z.infer<typeof unknownChatSchema>

/** Whether a chat that an agent has named is of a type that is known here. */
export function isKnownChat(chat: Chat | UnknownChat): chat is Chat {
  return Object.hasOwn(PLATFORMS, chat.type)
}

/** The trigger's name of a deploy that a chat asked for. No trigger of a stack can have it. */
export function chatTrigger({ name: chat }: { readonly name: string }): string {
  return `chat:${chat}`
}

/** A request that was proven to be the platform's. */
export interface Heard {
  readonly said: Said
  readonly key: string
  readonly signedAt: number | undefined
}

/**
 * Proves and reads a request by the chat's type alone. Throws `unauthorized` when it is not the platform's, `request-stale` when it is but its
 * time is not now, `request-invalid` when it makes no sense. `mayBeOld`: as with verifyTriggered.
 */
export async function hear(
  chat: Pick<Chat, 'type' | 'keys'>,
  request: SignedRequest,
  nowMs: number,
  { mayBeOld = false }: { mayBeOld?: boolean } = {},
): Promise<Heard> {
  const platform = platformOf(chat)
  const { key, signedAt } = await platform.verify(request, chat.keys)
  const ageSeconds = Math.round((nowMs - (signedAt ?? nowMs)) / 1000)
  if (!mayBeOld && ageSeconds > SIGNATURE_AGE_SECONDS_MAX)
    throw new Problem('request-stale', `the request was signed ${ageSeconds} s ago by this clock`)
  if (ageSeconds < -SIGNATURE_AGE_SECONDS_MAX)
    throw new Problem('request-stale', `the request was signed ${-ageSeconds} s in the future by this clock`)
  return { said: platform.read(request), key, signedAt }
}

/** What somebody wants: to look, or a roll; or why they do not get it, in words for them. */
export type Wish =
  | { readonly kind: 'no'; readonly words: string; readonly isForbidden: boolean }
  | { readonly kind: 'look'; readonly at: 'help' }
  | { readonly kind: 'look'; readonly at: 'status' | 'history'; readonly stack: string }
  | {
      readonly kind: 'roll'
      readonly stack: string
      readonly request: AnyRequest
      /** What makes the deploy's id: the same wish has the same. */
      readonly idParts: readonly string[]
      readonly needsApproval: boolean
    }
  /** Somebody says yes or no to a deploy that waits for it. */
  | { readonly kind: 'verdict'; readonly isYes: boolean; readonly stack: string; readonly deploy: string }

const DOES = ['back', 'yes', 'no'] as const

/** A button of a deploy's message, as its value says it. */
export interface Click {
  readonly does: (typeof DOES)[number]
  readonly deploy: string
}

/** Opaque to the platform; a deploy's id is a digest. */
export function buttonValue({ does, deploy }: Click): string {
  return `${does}-${deploy}`
}

export function clickOf(value: string): Click | undefined {
  const [said, deploy = '', ...more] = value.split('-')
  const does = DOES.find((each) => each === said)
  return does && more.length === 0 && DEPLOY_ID_PATTERN.test(deploy) ? { does, deploy } : undefined
}

/**
 * What was said, judged by who said it and where. `stackOf` knows a deploy's stack: the hub by its log, the agent by the frame, whose word it
 * checks by what the stack runs.
 */
export function wishOf(
  chat: Chat,
  said: Exclude<Said, { kind: 'greeting' }>,
  stackOf: (deploy: string) => string | undefined,
): Wish {
  const { who } = said
  if (!isPlace(chat, who)) return forbidden('I take no commands here.')
  if (said.kind === 'click') return clicked(chat, said, stackOf)
  const names = chat.stacks.map((stack) => stack.name)
  const command = parseCommand(said.text, names)
  if ('fault' in command) return { kind: 'no', words: command.fault, isForbidden: false }
  if (command.verb === 'help') return { kind: 'look', at: 'help' }
  const stack = chat.stacks.find((each) => each.name === command.stack)
  if (!stack) return { kind: 'no', words: 'There is no such stack here.', isForbidden: false }
  if (command.verb === 'status' || command.verb === 'history')
    return { kind: 'look', at: command.verb, stack: stack.name }
  if (!stack.deploy.includes(who.user)) return forbidden(`You may not ${command.verb} ${stack.name}.`)
  const idParts = [said.id]
  if (command.verb === 'rollback')
    return {
      kind: 'roll',
      stack: stack.name,
      request: { release: 'previous' },
      idParts,
      needsApproval: false,
    }
  // Going back is not asked about: it is to what ran already, and often in haste.
  const needsApproval = (stack.approve ?? []).length > 0
  if (command.tag === undefined)
    return { kind: 'roll', stack: stack.name, request: {}, idParts, needsApproval }
  if (stack.image === undefined)
    return {
      kind: 'no',
      words: `I do not know of which image: ropeway.yml allows ${stack.name} no single repository (allow: images:).`,
      isForbidden: false,
    }
  const image = `${stack.image}${command.tag.startsWith('sha256:') ? '@' : ':'}${command.tag}`
  return { kind: 'roll', stack: stack.name, request: { image }, idParts, needsApproval }
}

/**
 * What a proven request asks for, and of which stack. Throws `unauthorized` for whatever is no roll that its speaker may have, and for one that
 * waits for an approval and comes without it.
 */
export async function askedByChat(
  host: string,
  chat: Chat,
  { said, signedAt }: Heard,
  stackOf: (deploy: string) => string | undefined,
  approval?: Heard,
): Promise<{ readonly stack: string; readonly asked: VerifiedRequest }> {
  if (said.kind === 'greeting') throw new Problem('unauthorized', 'nobody asked for anything')
  const wish = wishOf(chat, said, stackOf)
  if (wish.kind !== 'roll')
    throw new Problem('unauthorized', wish.kind === 'no' ? wish.words : 'nobody asked for a deploy')
  const asked = await askedOf(host, chat, wish, said.who, signedAt)
  if (!wish.needsApproval) return { stack: wish.stack, asked }
  const fault = approval
    ? approvalFault(chat, { id: asked.id, stack: wish.stack, who: said.who, signedAt }, approval)
    : 'Nobody has approved it.'
  if (fault !== undefined || !approval || approval.said.kind === 'greeting')
    throw new Problem('unauthorized', fault ?? 'nobody has approved it')
  // It counts from when it was approved: what was asked for later and needed no approval may have run meanwhile.
  const at = approval.signedAt ?? signedAt
  const actor = `${asked.actor}, approved by ${actorOf(chat, approval.said.who)}`
  return { stack: wish.stack, asked: { ...asked, actor, signedAt: at, expiresAt: expiryOf(chat, at) } }
}

/** Why a click does not approve a request: of somebody who may not, of another deploy, of one's own, or too late. In words for who clicked. */
export function approvalFault(
  chat: Chat,
  asked: {
    readonly id: string
    readonly stack: string
    readonly who: Who
    readonly signedAt: number | undefined
  },
  { said, signedAt }: Heard,
): string | undefined {
  if (said.kind !== 'click') return 'Nobody has approved it.'
  const verdict = wishOf(chat, said, () => asked.stack)
  if (verdict.kind === 'no') return verdict.words
  if (verdict.kind !== 'verdict' || !verdict.isYes || verdict.deploy !== asked.id)
    return 'Nobody has approved it.'
  const stack = chat.stacks.find((each) => each.name === asked.stack)
  if (stack?.approveOwn !== true && said.who.user === asked.who.user)
    return 'You may not approve what you asked for.'
  const waitedMs = signedAt === undefined || asked.signedAt === undefined ? 0 : signedAt - asked.signedAt
  return waitedMs > APPROVAL_MS_MAX + SIGNATURE_AGE_SECONDS_MAX * 1000
    ? 'It was asked for too long ago.'
    : undefined
}

export async function askedOf(
  host: string,
  chat: Pick<Chat, 'name' | 'ttlMs'>,
  { stack, request, idParts }: Extract<Wish, { kind: 'roll' }>,
  who: Who,
  signedAt: number | undefined,
): Promise<VerifiedRequest> {
  return {
    id: await deployId(host, stack, '@chat', chat.name, ...idParts),
    request,
    actor: actorOf(chat, who),
    trust: 'signed',
    ttlMs: chat.ttlMs,
    signedAt,
    expiresAt: expiryOf(chat, signedAt),
  }
}

function expiryOf({ ttlMs }: Pick<Chat, 'ttlMs'>, signedAt: number | undefined): number {
  return signedAt === undefined ? Infinity : signedAt + ttlMs + SIGNATURE_AGE_SECONDS_MAX * 1000
}

function isPlace({ teams, channels }: Chat, { team, channel }: Who): boolean {
  if (teams.length > 0 && (team === undefined || !teams.includes(team))) return false
  return channels.length === 0 || channels.includes(channel)
}

function clicked(
  chat: Chat,
  { who, button }: Extract<Said, { kind: 'click' }>,
  stackOf: (deploy: string) => string | undefined,
): Wish {
  const click = clickOf(button)
  const named = click && stackOf(click.deploy)
  const stack = chat.stacks.find((each) => each.name === named)
  if (!click || !stack)
    return { kind: 'no', words: 'I do not know that deploy any more.', isForbidden: false }
  if (click.does !== 'back')
    return stack.approve?.includes(who.user)
      ? { kind: 'verdict', isYes: click.does === 'yes', stack: stack.name, deploy: click.deploy }
      : forbidden(`You may not decide on deploys of ${stack.name}.`)
  if (!stack.deploy.includes(who.user)) return forbidden(`You may not roll ${stack.name} back.`)
  return {
    kind: 'roll',
    stack: stack.name,
    // Only while that deploy's version is what runs: whoever clicks means that one, whatever came since.
    request: { release: 'previous', ifRuns: click.deploy },
    idParts: ['@back', click.deploy],
    needsApproval: false,
  }
}

const forbidden = (words: string): Wish => ({ kind: 'no', words, isForbidden: true })

/** Names are for people: of a chosen one nothing may move a cursor or pretend to be another's id. */
export function actorOf({ name: chat }: Pick<Chat, 'name'>, { user, name: said }: Who): string {
  const words = said.replaceAll(/[^\p{L}\p{N}_.-]/gu, '').slice(0, 60)
  return words === '' ? `${chat}:${user}` : `${chat}:${words}(${user})`
}
