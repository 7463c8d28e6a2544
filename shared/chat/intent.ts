// What somebody wants who speaks to a bot, judged by who they are and where: pure. Hub and agent each judge for themselves.

import { DEPLOY_ID_PATTERN, deployId } from '../deploy-id.ts'
import { APPROVAL_MS_MAX, SIGNATURE_AGE_SECONDS_MAX } from '../limits.ts'
import { Problem } from '../problems.ts'
import type { AnyRequest } from '../request.ts'
import type { VerifiedRequest } from '../triggers/verified.ts'
import type { Chat, VerifiedInteraction } from './chat.ts'
import { parseCommand } from './command.ts'
import type { Denial } from './denial.ts'
import type { Interaction, Who } from './platform.ts'
import { denialWords } from './words.ts'

/** What somebody wants: to look, or a roll; or why they do not get it. */
export type Intent =
  | { readonly kind: 'no'; readonly why: Denial }
  | { readonly kind: 'look'; readonly at: 'help' }
  | { readonly kind: 'look'; readonly at: 'status' | 'history'; readonly stack: string }
  | {
      readonly kind: 'roll'
      readonly stack: string
      readonly request: AnyRequest
      /** What the deploy's id is made from. The same interaction always has the same. */
      readonly idParts: readonly string[]
      readonly needsApproval: boolean
    }
  /** Somebody says yes or no to a deploy that waits for it. */
  | { readonly kind: 'decide'; readonly isYes: boolean; readonly stack: string; readonly deploy: string }

const DOES = ['back', 'yes', 'no'] as const

/** A button of a deploy's message, as its value says it. */
interface Click {
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
 * What an interaction means, judged by who spoke and where. `stackOf` tells a deploy's stack: the hub looks in its log, the agent in the frame.
 * The agent checks that by what the stack runs.
 */
export function intentOf(
  chat: Chat,
  interaction: Exclude<Interaction, { kind: 'greeting' }>,
  stackOf: (deploy: string) => string | undefined,
): Intent {
  const { who } = interaction
  if (!isPlace(chat, who)) return no({ code: 'elsewhere' })
  if (interaction.kind === 'click') return clicked(chat, interaction, stackOf)
  const names = chat.stacks.map((stack) => stack.name)
  const command = parseCommand(interaction.text, names)
  if ('fault' in command) return no(command.fault)
  if (command.verb === 'help') return { kind: 'look', at: 'help' }
  const stack = chat.stacks.find((each) => each.name === command.stack)
  if (!stack) return no({ code: 'stack-unknown', stack: command.stack })
  if (command.verb === 'status' || command.verb === 'history')
    return { kind: 'look', at: command.verb, stack: stack.name }
  if (!stack.deploy.includes(who.user))
    return no({ code: 'not-allowed', to: command.verb, stack: stack.name })
  const idParts = [interaction.id]
  if (command.verb === 'rollback')
    return {
      kind: 'roll',
      stack: stack.name,
      request: { release: 'previous' },
      idParts,
      needsApproval: false,
    }
  // A rollback needs no approval: it is to what ran already, and often urgent.
  const needsApproval = (stack.approve ?? []).length > 0
  if (command.tag === undefined)
    return { kind: 'roll', stack: stack.name, request: {}, idParts, needsApproval }
  if (stack.image === undefined) return no({ code: 'repository-unknown', stack: stack.name })
  const image = `${stack.image}${command.tag.startsWith('sha256:') ? '@' : ':'}${command.tag}`
  return { kind: 'roll', stack: stack.name, request: { image }, idParts, needsApproval }
}

/**
 * What a verified interaction asks for, and of which stack. Throws `unauthorized` if it is no roll, if its speaker may not have it, or if it needs
 * an approval and has none.
 */
export async function askedByChat(
  host: string,
  chat: Chat,
  { interaction, signedAt }: VerifiedInteraction,
  stackOf: (deploy: string) => string | undefined,
  approval?: VerifiedInteraction,
): Promise<{ readonly stack: string; readonly asked: VerifiedRequest }> {
  if (interaction.kind === 'greeting') throw new Problem('unauthorized', 'nobody asked for anything')
  const intent = intentOf(chat, interaction, stackOf)
  if (intent.kind !== 'roll')
    throw new Problem(
      'unauthorized',
      intent.kind === 'no' ? denialWords(intent.why) : 'nobody asked for a deploy',
    )
  const asked = await askedOf(host, chat, intent, interaction.who, signedAt)
  if (!intent.needsApproval) return { stack: intent.stack, asked }
  const fault = approval
    ? approvalFault(chat, { id: asked.id, stack: intent.stack, who: interaction.who, signedAt }, approval)
    : NOT_APPROVED
  if (fault || !approval || approval.interaction.kind === 'greeting')
    throw new Problem('unauthorized', denialWords(fault ?? NOT_APPROVED))
  // It counts as signed when it was approved. A later request that needed no approval may have run meanwhile, and by its own time this one would
  // be declined as older.
  const at = approval.signedAt ?? signedAt
  const actor = `${asked.actor}, approved by ${actorOf(chat, approval.interaction.who)}`
  return { stack: intent.stack, asked: { ...asked, actor, signedAt: at, expiresAt: expiryOf(chat, at) } }
}

/** Why a click does not approve a request: of somebody who may not, of another deploy, of one's own, or too late. */
export function approvalFault(
  chat: Chat,
  asked: {
    readonly id: string
    readonly stack: string
    readonly who: Who
    readonly signedAt: number | undefined
  },
  { interaction, signedAt }: VerifiedInteraction,
): Denial | undefined {
  if (interaction.kind !== 'click') return NOT_APPROVED
  const decision = intentOf(chat, interaction, () => asked.stack)
  if (decision.kind === 'no') return decision.why
  if (decision.kind !== 'decide' || !decision.isYes || decision.deploy !== asked.id) return NOT_APPROVED
  const stack = chat.stacks.find((each) => each.name === asked.stack)
  if (stack?.approveOwn !== true && interaction.who.user === asked.who.user) return { code: 'own-request' }
  const waitedMs = signedAt === undefined || asked.signedAt === undefined ? 0 : signedAt - asked.signedAt
  return waitedMs > APPROVAL_MS_MAX + SIGNATURE_AGE_SECONDS_MAX * 1000 ? { code: 'approved-late' } : undefined
}

export async function askedOf(
  host: string,
  chat: Pick<Chat, 'name' | 'ttlMs'>,
  { stack, request, idParts }: Extract<Intent, { kind: 'roll' }>,
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
  { who, button }: Extract<Interaction, { kind: 'click' }>,
  stackOf: (deploy: string) => string | undefined,
): Intent {
  const click = clickOf(button)
  const named = click && stackOf(click.deploy)
  const stack = chat.stacks.find((each) => each.name === named)
  if (!click || !stack) return no({ code: 'deploy-unknown' })
  if (click.does !== 'back')
    return stack.approve?.includes(who.user)
      ? { kind: 'decide', isYes: click.does === 'yes', stack: stack.name, deploy: click.deploy }
      : no({ code: 'not-allowed', to: 'decide', stack: stack.name })
  if (!stack.deploy.includes(who.user)) return no({ code: 'not-allowed', to: 'go-back', stack: stack.name })
  return {
    kind: 'roll',
    stack: stack.name,
    // Whoever clicks means the deploy of that message, so the rollback is refused once another has come after it.
    request: { release: 'previous', ifRuns: click.deploy },
    idParts: ['@back', click.deploy],
    needsApproval: false,
  }
}

const no = (why: Denial): Intent => ({ kind: 'no', why })
const NOT_APPROVED: Denial = { code: 'not-approved' }

/** Who acted, for the log. People choose their names, so characters that could move a cursor or imitate an id are dropped. */
export function actorOf({ name: chat }: Pick<Chat, 'name'>, { user, name: said }: Who): string {
  const words = said.replaceAll(/[^\p{L}\p{N}_.-]/gu, '').slice(0, 60)
  return words === '' ? `${chat}:${user}` : `${chat}:${words}(${user})`
}
