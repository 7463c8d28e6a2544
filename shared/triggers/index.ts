// Triggers: the named ways to ask for a deploy. The hub verifies with this code before it stores, the agent again before it runs.

import { z } from 'zod'
import { deployId } from '../deploy.ts'
import { NAME_PATTERN } from '../limits.ts'
import { Problem } from '../problems.ts'
import { parseDeployRequest, type DeployRequest } from '../request.ts'
import { allows, sha256Hex, type Claims } from '../tokens.ts'
import { secretFault, verifyStandardWebhook } from './standard-webhooks.ts'

/** The headers a verifier may read (lower case), and the raw bytes that were signed. */
export interface SignedRequest {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** What the agent pushes to its hub for each trigger in ropeway.yml. `secrets` are tried in order. */
export const triggerSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('standard-webhooks'),
    stack: z.string().regex(NAME_PATTERN),
    name: z.string().regex(NAME_PATTERN),
    secrets: z
      .array(z.string().refine((secret) => secretFault(secret) === undefined, 'not a usable secret'))
      .min(1)
      .max(2),
  }),
])
export type Trigger = z.infer<typeof triggerSchema>
export type TriggerType = Trigger['type']

/** The headers that each type's signature needs: just these are stored and forwarded to the agent. */
export const SIGNED_HEADERS: Record<TriggerType, readonly string[]> = {
  'standard-webhooks': ['webhook-id', 'webhook-timestamp', 'webhook-signature'],
}

/** What a verified request asks for, and the id of its deploy: the same for every delivery of the same request. */
export interface Asked {
  readonly id: string
  readonly request: DeployRequest
  readonly actor: string
}

/**
 * Verifies a request by its trigger's type alone: the route has chosen the trigger, no header can.
 * Throws `unauthorized` when it is not the sender's, then `request-invalid` when it is but makes no sense.
 */
export async function verifyTriggered(
  host: string,
  trigger: Trigger,
  signed: SignedRequest,
  nowMs: number,
  ageSecondsMax?: number,
): Promise<Asked> {
  const eventId = await verifyStandardWebhook(signed, trigger.secrets, nowMs, ageSecondsMax)
  return {
    id: await deployId(host, trigger.stack, trigger.name, eventId),
    request: parseDeployRequest(signed.body),
    actor: trigger.name,
  }
}

/** The trigger's name of a deploy that a token asked for. */
export const TOKEN_TRIGGER = 'api'

/** The `Idempotency-Key` of a token's request: one that comes again with the same key and body is the same request. */
export const IDEMPOTENCY_KEY_PATTERN = /^[A-Za-z0-9_-]{1,128}$/

/**
 * What a token's request asks for. The claims are those of a token that verifyToken has found good: hub and agent each verify for
 * themselves. Throws `unauthorized` when they do not allow this, then `request-invalid` when the body makes no sense.
 *
 *     const asked = await askedByToken(host, stack, await verifyToken(proof.token, key, expected), {
 *       idempotencyKey: proof.idempotencyKey,
 *       body: fromBase64(proof.body),
 *     })
 */
export async function askedByToken(
  host: string,
  stack: string,
  claims: Claims,
  asked: { readonly idempotencyKey: string; readonly body: Uint8Array },
): Promise<Asked> {
  if (!allows(claims, 'deploy', stack))
    throw new Problem('unauthorized', `the token may not deploy stack ${stack}`)
  const bodySha256 = await sha256Hex(asked.body)
  if (claims.bodySha256 !== undefined && claims.bodySha256 !== bodySha256)
    throw new Problem('unauthorized', 'the token was made for another body')
  // A token that is bound to one body is one request, however often it is sent. `@token` can be no trigger's name.
  const parts = claims.bodySha256 === undefined ? [claims.id, asked.idempotencyKey, bodySha256] : [claims.id]
  return {
    id: await deployId(host, stack, '@token', ...parts),
    request: parseDeployRequest(asked.body),
    actor: claims.actor,
  }
}
