// The frames between hub and agent, and their codec. PROTOCOL.md gives the meaning and the order of each.

import { z } from 'zod'
import { DEPLOY_ID_PATTERN } from './deploy-id.ts'
import { agentLoggedEventSchema, toldDeclinedSchema } from './events.ts'
import { chatSchema, unknownChatSchema } from './chat/chat.ts'
import { TAG_PATTERN } from './image.ts'
import { CHATS_MAX, CI_TOKEN_CHARS_MAX, FRAME_BYTES_MAX, NAME_PATTERN, TOKENS_REVOKED_MAX } from './limits.ts'
import { firstFault, unknownWord, wordsOf, type UnknownWord } from './open.ts'
import { IDEMPOTENCY_KEY_PATTERN, triggerSchema, unknownTriggerSchema } from './triggers/index.ts'

/**
 * 1 (2026-11): first; closes the socket on any word that it does not know. 2 (2026-11): keeps what PROTOCOL.md says is open.
 * Both sides must keep speaking to a neighbour one version older or newer.
 */
export const PROTOCOL_VERSION = 2
/** The header in which the relay says its version as it takes an agent's socket: before the hello, so that the hello suits it. */
export const PROTOCOL_HEADER = 'ropeway-protocol'

/** Why a socket was closed; the last two digits mirror HTTP. Wire values are forever. */
export const CLOSE = {
  /** A newer connection of the same host took over. Back off long: another agent uses this name. */
  replaced: 4001,
  malformed: 4400,
  unauthorized: 4401,
  tooBig: 1009,
  goingAway: 1001,
} as const

/** Text frames outside the codec, so that the hub can answer without waking up. */
export const PING = 'ping'
export const PONG = 'pong'

const deployId = z.string().regex(DEPLOY_ID_PATTERN)
const name = z.string().regex(NAME_PATTERN)
const nonce = z.string().regex(/^[0-9a-f]{32}$/)
/** The last millisecond that JavaScript's dates know. */
const TIME_MS_MAX = 8.64e15

const platformRequest = { headers: z.record(z.string(), z.string()), body: z.base64() }

/**
 * What was signed, forwarded as it came, so that the agent can verify it for itself. `body` is base64. A hint has nothing to verify: its
 * nonce only makes the deploy's id.
 */
export const proofSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('hook'), headers: z.record(z.string(), z.string()), body: z.base64() }),
  z.object({
    kind: z.literal('token'),
    token: z.string(),
    idempotencyKey: z.string().regex(IDEMPOTENCY_KEY_PATTERN),
    body: z.base64(),
  }),
  /** A CI job's token, for a trigger that takes them. */
  z.object({
    kind: z.literal('oidc'),
    token: z.string().max(CI_TOKEN_CHARS_MAX),
    idempotencyKey: z.string().regex(IDEMPOTENCY_KEY_PATTERN).optional(),
    body: z.base64(),
  }),
  /** What a chat's platform sent: the agent reads for itself who wants what. */
  z.object({
    kind: z.literal('chat'),
    ...platformRequest,
    /** The click that approved it, where the chat asks for one. */
    approval: z.object(platformRequest).optional(),
  }),
  z.object({ kind: z.literal('hint'), nonce }),
  /** A push that a registry tells of, as the hub has understood it: when it was, by the registry's clock, and the tag, which is all it chooses. */
  z.object({
    kind: z.literal('push'),
    nonce,
    tag: z.string().regex(TAG_PATTERN),
    at: z.int().positive().max(TIME_MS_MAX).optional(),
  }),
])
export type Proof = z.infer<typeof proofSchema>

/** Also one of a kind that only the other side knows: it is handed on as it came. */
export const toldProofSchema = z.union([
  proofSchema,
  z.looseObject({ kind: unknownWord(wordsOf(proofSchema, 'kind')) }),
])
export type ToldProof = z.infer<typeof toldProofSchema>

export function isKnownProof(proof: ToldProof): proof is Proof {
  return wordsOf(proofSchema, 'kind').includes(proof.kind)
}

/** What cancels a deploy, as it came: the agent verifies it as it does a request. `body` is base64. */
const cancelProofSchema = z.object({ token: z.string(), body: z.base64() })

const helloSchema = z.object({
  type: z.literal('hello'),
  v: z.number().int(),
  agent: z.string().max(64),
  stacks: z.array(name).max(256),
  triggers: z.array(z.union([triggerSchema, unknownTriggerSchema])).max(1024),
  /** The bots that people talk to, their secrets included. */
  chats: z
    .array(z.union([chatSchema, unknownChatSchema]))
    .max(CHATS_MAX)
    .optional(),
  /** Ids of the tokens that the host has revoked. */
  revoked: z.array(z.string().max(64)).max(TOKENS_REVOKED_MAX).default([]),
})

export const fromAgentSchema = z.discriminatedUnion('type', [
  helloSchema,
  /** Events of one deploy, in order; `seq` counts from 1 by the agent, without gaps. */
  z.object({
    type: z.literal('events'),
    deploy: deployId,
    events: z.array(agentLoggedEventSchema).min(1).max(256),
  }),
  /** The agent's only word on a deploy that it does not take in, and keeps nothing of: said again if it is offered again. */
  z.object({ type: z.literal('declined'), deploy: deployId, event: toldDeclinedSchema }),
])
export type FromAgent = z.infer<typeof fromAgentSchema>
export type Hello = z.infer<typeof helloSchema>

export const fromHubSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('welcome'),
    v: z.number().int(),
    generation: z.number().int(),
    at: z.number(),
    /** The triggers and chats of the hello that the relay cannot verify, as it does not know their types. */
    unknown: z.array(z.string()).optional(),
  }),
  z.object({
    type: z.literal('deploy'),
    id: deployId,
    stack: name,
    trigger: z.string(),
    acceptedAt: z.number(),
    proof: toldProofSchema,
    /** The agent has said before that it has it: one that does not know it has lost its journal. */
    received: z.boolean().optional(),
  }),
  /** Somebody wants a deploy ended that the agent has, or may have. */
  z.object({ type: z.literal('cancel'), deploy: deployId, proof: cancelProofSchema }),
  /** The hub has stored this deploy's events up to the agent's `seq`. */
  z.object({ type: z.literal('stored'), deploy: deployId, seq: z.number().int() }),
])
export type FromHub = z.infer<typeof fromHubSchema>
export type DeployFrame = Extract<FromHub, { type: 'deploy' }>
export type CancelFrame = Extract<FromHub, { type: 'cancel' }>

/** A frame of a newer neighbour. Nothing that decides comes in one: it is passed over. */
export interface UnknownFrame {
  readonly type: UnknownWord
}

/** A frame's text. */
export function encodeFrame(frame: FromAgent | FromHub): string {
  return JSON.stringify(frame)
}

/**
 * A frame from its text, or the close code that the text has earned. Unknown fields are ignored; of a frame of an unknown type its type alone
 * is left.
 *
 *     const frame = decodeFrame(fromHubSchema, text)
 *     if (!frame.ok) socket.close(frame.close, frame.reason)
 */
export function decodeFrame<T extends z.ZodDiscriminatedUnion>(
  schema: T,
  text: string | ArrayBuffer,
): { ok: true; frame: z.infer<T> | UnknownFrame } | { ok: false; close: number; reason: string } {
  if (typeof text !== 'string') return { ok: false, close: CLOSE.malformed, reason: 'binary frame' }
  // The first half keeps a huge one from being encoded only to be counted.
  if (text.length > FRAME_BYTES_MAX || new TextEncoder().encode(text).length > FRAME_BYTES_MAX)
    return { ok: false, close: CLOSE.tooBig, reason: `frame over ${FRAME_BYTES_MAX} bytes` }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { ok: false, close: CLOSE.malformed, reason: 'not JSON' }
  }
  const unknown = z.object({ type: unknownWord(wordsOf(schema, 'type')) })
  const parsed = z.union([schema, unknown]).safeParse(value)
  if (parsed.success) return { ok: true, frame: parsed.data }
  const { path, message } = firstFault(parsed.error)
  // A close frame has room for 123 bytes, and the path may quote keys of the peer's choosing: no byte of them may break or bend anything.
  const reason = `${path.join('.')}: ${message}`.replaceAll(/[^ -~]/g, '?').slice(0, 100)
  return { ok: false, close: CLOSE.malformed, reason }
}

export function toBase64(bytes: Uint8Array): string {
  let binary = ''
  for (let i = 0; i < bytes.length; i += 0x8000)
    binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000))
  return btoa(binary)
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
}
