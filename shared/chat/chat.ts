// A chat: a bot by which people ask for deploys of a host's stacks, as ropeway.yml names it. What it was told is proven and read with this code
// by the hub, which answers, and again by the agent, which does not take the hub's word for it.

import { z } from 'zod'
import { CHAT_IDS_MAX, NAME_PATTERN, REQUEST_TTL_MS_MAX, SIGNATURE_AGE_SECONDS_MAX } from '../limits.ts'
import { unknownWord } from '../open.ts'
import { Problem } from '../problems.ts'
import type { SignedRequest } from '../triggers/verified.ts'
import { discord } from './discord.ts'
import { mattermost } from './mattermost.ts'
import type { Interaction, Platform } from './platform.ts'
import { slack } from './slack.ts'
import { microsoftTeams } from './teams.ts'
import { telegram } from './telegram.ts'

/** Every platform there is. A new one is a file, and a line here. */
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
        /** The repository of the tags that people name. */
        image: z.string().max(512).optional(),
        /** Who may have it rolled, forward and back. Whoever is in the channel may look. */
        deploy: ids,
        /** Who may approve a deploy, which waits for one of them; and whether they may approve their own. */
        approve: ids.optional(),
        approveOwn: z.boolean().optional(),
      }),
    )
    .min(1)
    .max(256),
})
export type Chat = z.infer<typeof chatSchema>

/** A chat of a newer agent. Only its name is kept, since nothing here could verify it. */
export const unknownChatSchema = z.object({ type: unknownWord(CHAT_TYPES), name })
type UnknownChat = z.infer<typeof unknownChatSchema>

/** Whether a chat that an agent has named is of a type that is known here. */
export function isKnownChat(chat: Chat | UnknownChat): chat is Chat {
  return Object.hasOwn(PLATFORMS, chat.type)
}

/** The trigger's name of a deploy that a chat asked for. No trigger of a stack can have it. */
export function chatTrigger({ name: chat }: { readonly name: string }): string {
  return `chat:${chat}`
}

/** An interaction that was proven to be the platform's. */
export interface VerifiedInteraction {
  readonly interaction: Interaction
  readonly key: string
  readonly signedAt: number | undefined
}

/**
 * Verifies and reads a request by the chat's type alone. Throws `unauthorized` when it is not the platform's, `request-stale` when it was not
 * signed now, `request-invalid` when it makes no sense. `mayBeOld`: as with verifyTriggered.
 */
export async function hear(
  chat: Pick<Chat, 'type' | 'keys'>,
  request: SignedRequest,
  nowMs: number,
  { mayBeOld = false }: { mayBeOld?: boolean } = {},
): Promise<VerifiedInteraction> {
  const platform = platformOf(chat)
  const { key, signedAt } = await platform.verify(request, chat.keys)
  const ageSeconds = Math.round((nowMs - (signedAt ?? nowMs)) / 1000)
  if (!mayBeOld && ageSeconds > SIGNATURE_AGE_SECONDS_MAX)
    throw new Problem('request-stale', `the request was signed ${ageSeconds} s ago by this clock`)
  if (ageSeconds < -SIGNATURE_AGE_SECONDS_MAX)
    throw new Problem('request-stale', `the request was signed ${-ageSeconds} s in the future by this clock`)
  return { interaction: platform.read(request), key, signedAt }
}
