// Triggers: the named ways to ask for a deploy. The hub verifies with this code before it stores, the agent again before it runs.

import { z } from 'zod'
import { isRollback, parseAnyRequest, parseCancelRequest, parseDeployRequest } from '../request.ts'
import { deployId } from '../deploy-id.ts'
import {
  CI_TTL_MS,
  HINT_TTL_MS,
  NAME_PATTERN,
  REQUEST_TTL_MS,
  REQUEST_TTL_MS_MAX,
  SIGNATURE_AGE_SECONDS_MAX,
} from '../limits.ts'
import { unknownWord, wordsOf } from '../open.ts'
import { Problem } from '../problems.ts'
import { allows, sha256Hex, type Claims } from '../tokens.ts'
import { credentialHeaders, SIGNING_SECRET_PATTERN } from './credentials.ts'
import { googleShape, oidcShape } from './oidc.ts'
import { pushShape } from './pushes.ts'
import { registryOf, type KeyedRegistryType } from './registries/index.ts'
import { publicKeyFault, secretFault, verifyStandardWebhook } from './standard-webhooks.ts'
import type { VerifiedRequest, SignedRequest } from './verified.ts'

const common = {
  stack: z.string().regex(NAME_PATTERN),
  name: z.string().regex(NAME_PATTERN),
  /** How long a request may wait for the agent. */
  ttlMs: z.number().int().positive().max(REQUEST_TTL_MS_MAX),
}
const pair = <T extends z.ZodType>(key: T) => z.array(key).min(1).max(2)

const registry = <T extends KeyedRegistryType>(type: T) =>
  z.object({
    type: z.literal(type),
    ...common,
    ...pushShape,
    keys: pair(z.string().regex(SIGNING_SECRET_PATTERN)),
  })

/** What the agent pushes to its hub for each trigger in ropeway.yml. Of two keys both count, so that one can be replaced. */
export const triggerSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('standard-webhooks'),
    ...common,
    keys: pair(z.string().refine((secret) => secretFault(secret) === undefined, 'not a usable secret')),
  }),
  /** The same signed with Ed25519. The relay holds the public key alone, so whoever steals from the relay cannot sign. */
  z.object({
    type: z.literal('standard-webhooks-v1a'),
    ...common,
    keys: pair(z.string().refine((key) => publicKeyFault(key) === undefined, 'not a usable public key')),
  }),
  /** A hint: the secret is the last part of the address. Only its SHA-256 (hex) leaves the host. */
  z.object({ type: z.literal('url'), ...common, keys: pair(z.string().regex(/^[0-9a-f]{64}$/)) }),
  /** The tokens of CI jobs: no secret at all, so nothing here is one. */
  z.object({ type: z.literal('github-actions'), ...common, ...oidcShape }),
  z.object({ type: z.literal('gitlab-ci'), ...common, ...oidcShape }),
  z.object({ type: z.literal('google'), ...common, ...oidcShape }),
  z.object({ type: z.literal('oidc'), ...common, ...oidcShape }),
  /** Registries, which tell of pushes. Those that cannot sign have hashes (SHA-256, hex) for keys. */
  registry('docker-hub'),
  registry('ghcr'),
  registry('distribution'),
  registry('harbor'),
  registry('quay'),
  registry('gitlab'),
  registry('gitea'),
  registry('ecr'),
  z.object({ type: z.literal('artifact-registry'), ...common, ...pushShape, ...googleShape }),
  registry('acr'),
  registry('zot'),
  registry('jfrog'),
])
export type Trigger = z.infer<typeof triggerSchema>
export type TriggerType = Trigger['type']
export const TRIGGER_TYPES = triggerSchema.options.map(({ shape }) => shape.type.value)

/** A trigger of a newer agent: its name is kept, and nothing of what it might be verified by. */
export const unknownTriggerSchema = z.object({ type: unknownWord(wordsOf(triggerSchema, 'type')), ...common })

type UnknownTrigger = z.infer<typeof unknownTriggerSchema>

/** Whether a trigger that an agent has named is of a type that is known here. */
export function isKnownTrigger(trigger: Trigger | UnknownTrigger): trigger is Trigger {
  return (TRIGGER_TYPES as readonly string[]).includes(trigger.type)
}

/**
 * How requests of each type are verified, on the hub as on the agent. `signature`: Standard Webhooks. `secret`: the end of the address, which
 * can only hint. `job`: the token of a CI job. `push`: the word of a registry. A type that is not here does not compile.
 */
const VERIFIED_BY = {
  'standard-webhooks': 'signature',
  'standard-webhooks-v1a': 'signature',
  url: 'secret',
  'github-actions': 'job',
  'gitlab-ci': 'job',
  google: 'job',
  oidc: 'job',
  'docker-hub': 'push',
  ghcr: 'push',
  distribution: 'push',
  harbor: 'push',
  quay: 'push',
  gitlab: 'push',
  gitea: 'push',
  ecr: 'push',
  'artifact-registry': 'push',
  acr: 'push',
  zot: 'push',
  jfrog: 'push',
} as const satisfies Record<TriggerType, string>

export type Verification = (typeof VERIFIED_BY)[TriggerType]
type TypeBy<V extends Verification> = {
  [T in TriggerType]: (typeof VERIFIED_BY)[T] extends V ? T : never
}[TriggerType]
/** The triggers that are verified so. */
export type TriggerBy<V extends Verification> = Extract<Trigger, { type: TypeBy<V> }>

export function isVerifiedBy<V extends Verification>(trigger: Trigger, by: V): trigger is TriggerBy<V> {
  return VERIFIED_BY[trigger.type] === by
}
export type SignedTrigger = TriggerBy<'signature'>

const SIGNED_HEADERS = ['webhook-id', 'webhook-timestamp', 'webhook-signature']

/** The headers that a type's verifier and reader need. No others reach the hub, and only those of a signature reach the agent. */
export function headersOf({ type }: { readonly type: TriggerType }): readonly string[] {
  if (VERIFIED_BY[type] === 'secret') return []
  if (VERIFIED_BY[type] === 'job') return ['authorization', 'idempotency-key']
  const known = registryOf(type)
  return known ? [...credentialHeaders(known.credential), ...(known.headers ?? [])] : SIGNED_HEADERS
}

/**
 * Verifies a signed request by its trigger's type alone: the route has chosen the trigger, no header can. `key` is the one of the
 * trigger's keys that fits. Throws `unauthorized` when the request is not the sender's, `request-stale` when it is but its time is not
 * now, then `request-invalid` when it makes no sense. The agent sets `mayBeOld`, for a request may have waited in the hub: it looks at
 * `expiresAt` instead, since the hub's own word on when it came in would prove nothing.
 */
export async function verifyTriggered(
  host: string,
  trigger: SignedTrigger,
  signed: SignedRequest,
  nowMs: number,
  { mayBeOld = false }: { mayBeOld?: boolean } = {},
): Promise<VerifiedRequest & { readonly key: string }> {
  const { eventId, signedAt, key } = await verifyStandardWebhook(signed, trigger, nowMs, { mayBeOld })
  return {
    id: await deployId(host, trigger.stack, trigger.name, eventId),
    request: parseDeployRequest(signed.body),
    actor: trigger.name,
    trust: 'signed',
    ttlMs: trigger.ttlMs,
    signedAt,
    expiresAt: signedAt + trigger.ttlMs + SIGNATURE_AGE_SECONDS_MAX * 1000,
    key,
  }
}

/** The key of a `url` trigger that a secret fits, or undefined. Hashes are compared, so how long it takes tells nothing of the secret. */
export async function verifyUrlSecret(trigger: Trigger, secret: string): Promise<string | undefined> {
  const hash = await sha256Hex(new TextEncoder().encode(secret))
  return trigger.type === 'url' ? trigger.keys.find((key) => key === hash) : undefined
}

/** What a hint asks for: nothing but to look again at what its stack runs. */
export async function askedByHint(
  host: string,
  trigger: Pick<Trigger, 'stack' | 'name' | 'ttlMs'>,
  nonce: string,
): Promise<VerifiedRequest> {
  return {
    id: await deployId(host, trigger.stack, trigger.name, '@hint', nonce),
    request: {},
    actor: trigger.name,
    trust: 'hint',
    ttlMs: trigger.ttlMs,
    signedAt: undefined,
    expiresAt: Infinity,
  }
}

/** What a `url` trigger's secret may be: at least 24 characters that need no escaping in an address. */
export const URL_SECRET_PATTERN = /^[A-Za-z0-9_-]{24,128}$/

const DEFAULT_TTL_MS: Readonly<Record<Verification, number>> = {
  signature: REQUEST_TTL_MS,
  secret: HINT_TTL_MS,
  job: CI_TTL_MS,
  push: HINT_TTL_MS,
}

/** How long requests of a type may wait where ropeway.yml does not say. */
export function defaultTtlMs(type: TriggerType): number {
  return DEFAULT_TTL_MS[VERIFIED_BY[type]]
}

/** The trigger's name of a deploy that a token asked for. */
export const TOKEN_TRIGGER = 'api'

/** The `Idempotency-Key` of a token's request: one that comes again with the same key and body is the same request. */
export const IDEMPOTENCY_KEY_PATTERN = /^[A-Za-z0-9_-]{1,128}$/

/**
 * What a token's request asks for. The claims are those of a token that verifyToken has found good: hub and agent each verify for
 * themselves. The body alone says whether it is a deploy or a rollback, and so which scope it needs: a relay that turns one into the other
 * needs a token for both. Throws `unauthorized` when the claims do not allow this, `request-invalid` when the body makes no sense.
 *
 *     const asked = await askedByToken(host, stack, await verifyToken(proof.token, keys, expected), {
 *       idempotencyKey: proof.idempotencyKey,
 *       body: fromBase64(proof.body),
 *     })
 */
export async function askedByToken(
  host: string,
  stack: string,
  claims: Claims,
  asked: { readonly idempotencyKey: string; readonly body: Uint8Array },
): Promise<VerifiedRequest> {
  if (!allows(claims, 'deploy', stack) && !allows(claims, 'rollback', stack))
    throw new Problem('unauthorized', `the token may neither deploy nor roll back stack ${stack}`)
  const bodySha256 = await boundBody(claims, asked.body)
  const request = parseAnyRequest(asked.body)
  if (!allows(claims, isRollback(request) ? 'rollback' : 'deploy', stack))
    throw new Problem(
      'unauthorized',
      `the token may not ${isRollback(request) ? 'roll back' : 'deploy'} stack ${stack}`,
    )
  // A token that is bound to one body is one request, however often it is sent. `@token` can be no trigger's name.
  const isBound = claims.bodySha256 !== undefined
  const parts = isBound ? [claims.id] : [claims.id, asked.idempotencyKey, bodySha256]
  return {
    id: await deployId(host, stack, '@token', ...parts),
    request,
    actor: claims.actor,
    trust: 'signed',
    ttlMs: REQUEST_TTL_MS,
    // A token for any body was made long before the request: its time does not order requests.
    signedAt: isBound ? claims.issuedAt : undefined,
    expiresAt: claims.expiresAt + REQUEST_TTL_MS,
  }
}

/**
 * Checks that a good token cancels this deploy of a stack: hub and agent each do. Throws `unauthorized` when the claims do not allow it,
 * `request-invalid` when the body is not `{"cancel": "<the deploy's id>"}`.
 */
export async function checkCancel(
  claims: Claims,
  { id, stack }: { readonly id: string; readonly stack: string },
  body: Uint8Array,
): Promise<void> {
  if (!allows(claims, 'deploy', stack))
    throw new Problem('unauthorized', `the token may not cancel deploys of stack ${stack}`)
  await boundBody(claims, body)
  if (parseCancelRequest(body) !== id)
    throw new Problem('request-invalid', 'the body names another deploy than the one to cancel')
}

/** The body's SHA-256. Throws `unauthorized` where the token is bound to another one. */
async function boundBody({ bodySha256 }: Claims, body: Uint8Array): Promise<string> {
  const hash = await sha256Hex(body)
  if (bodySha256 === undefined || bodySha256 === hash) return hash
  throw new Problem('unauthorized', 'the token was made for another body')
}

/** A few characters that tell a trigger's keys apart and give nothing of them away. */
export async function fingerprint(key: string): Promise<string> {
  return (await sha256Hex(new TextEncoder().encode(`ropeway fingerprint ${key}`))).slice(0, 8)
}
