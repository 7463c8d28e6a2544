// A CI job's token: signed by its CI system for this one trigger, so that nobody has to keep a secret. What it must say is the trigger's
// claims; what it asks for is in the body, to which it may be bound.

import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose'
import { z } from 'zod'
import { deployId } from '../deploy-id.ts'
import {
  CI_TOKEN_CHARS_MAX,
  CI_TOKEN_SECONDS_MAX,
  CLAIM_CHARS_MAX,
  CLAIM_VALUES_MAX,
  CLAIMS_MAX,
  ISSUER_CLOCK_SECONDS_MAX,
} from '../limits.ts'
import { Problem } from '../problems.ts'
import { parseDeployRequest } from '../request.ts'
import { isCompactJws, sha256Hex } from '../tokens.ts'
import type { CiSystem } from './ci/ci-system.ts'
import { CI_SYSTEMS } from './ci/index.ts'
import type { VerifiedRequest } from './verified.ts'
import { isIssuerUrl, type IssuerKeys } from './issuer-keys.ts'

const url = z
  .string()
  .max(512)
  .refine(isIssuerUrl, 'should be an https address, without user, query or fragment')

/** What a trigger of each of these types has beside what all have. */
export const oidcShape = {
  issuer: url,
  jwks: url.optional(),
  /** Whom the token must be made for; `bind` demands that it is made for one body as well. */
  audience: z.string().min(1).max(512),
  bind: z.boolean(),
  claims: z
    .record(z.string().max(128), z.array(z.string().max(CLAIM_CHARS_MAX)).min(1).max(CLAIM_VALUES_MAX))
    .refine((claims) => Object.keys(claims).length <= CLAIMS_MAX),
}
export type OidcType = keyof typeof CI_SYSTEMS

/** The same where the token is only what a notification is sent with: it is bound to nothing. */
export const googleShape = {
  issuer: oidcShape.issuer,
  jwks: oidcShape.jwks,
  audience: oidcShape.audience,
  claims: oidcShape.claims,
}
type TokenRule = Pick<OidcTrigger, 'issuer' | 'jwks' | 'audience' | 'claims'>

export interface OidcTrigger {
  readonly type: OidcType
  readonly stack: string
  readonly name: string
  readonly ttlMs: number
  readonly issuer: string
  readonly jwks?: string | undefined
  readonly audience: string
  readonly bind: boolean
  readonly claims: Readonly<Record<string, readonly string[]>>
}

/** A token with what was sent beside it. Without an idempotency key the body is its own. */
interface OidcRequest {
  readonly token: string
  readonly idempotencyKey?: string | undefined
  readonly body: Uint8Array
}

/** The audience of a token that is good for one body alone. */
export async function boundAudience(audience: string, body: Uint8Array): Promise<string> {
  return `${audience}#sha256=${await sha256Hex(body)}`
}

const ALGORITHMS = ['RS256']
/** A token's header may have no other. Keys in it, or URLs of keys, would be its sender's choice, and `crit` names rules that we do not know. */
const HEADERS = new Set(['alg', 'typ', 'kid', 'x5t'])

/**
 * What a CI job asks for. Throws `unauthorized` for a token that is not the issuer's or not for this trigger, `claims-refused` for a genuine one
 * of somebody else, `request-stale` for one whose time is not now, `issuer-unreachable`, and `request-invalid` for the body. `mayBeOld`: as
 * with verifyTriggered.
 */
export async function askedByOidc(
  host: string,
  trigger: OidcTrigger,
  { token, idempotencyKey, body }: OidcRequest,
  keys: IssuerKeys,
  nowMs: number,
  { mayBeOld = false }: { mayBeOld?: boolean } = {},
): Promise<VerifiedRequest> {
  const system: CiSystem = CI_SYSTEMS[trigger.type]
  const bound = await boundAudience(trigger.audience, body)
  const { issuedAt, endsAt } = timesOf(token, trigger, system)
  // The token must have been good when it was sent, which was in its last second at the latest. `expiresAt` says how long ago that may be.
  const at = mayBeOld ? Math.min(nowMs, endsAt - 1000) : nowMs
  const payload = await verified(token, trigger, system, {
    audience: trigger.bind ? [bound] : [trigger.audience, bound],
    now: new Date(at),
    key: keys.keysOf(trigger, nowMs),
  })
  const fault = faultOf(payload, trigger, system)
  if (fault !== undefined) throw new Problem('claims-refused', `the token is genuine, but ${fault}`)
  const isOneRequest = system.isSingleUse || payload.aud === bound
  const tokenId = payload.jti ?? (await sha256Hex(signedPart(token)))
  const parts = isOneRequest ? [] : [idempotencyKey ?? (await sha256Hex(body))]
  return {
    // No other type's ids have this in the place, so a trigger that changes its type repeats nothing.
    id: await deployId(host, trigger.stack, trigger.name, '@oidc', tokenId, ...parts),
    request: parseDeployRequest(body),
    actor: actorOf(payload, trigger, system),
    trust: 'signed',
    ttlMs: trigger.ttlMs,
    // A token for many requests was made before them, so its time does not order them.
    signedAt: isOneRequest ? issuedAt : undefined,
    expiresAt: endsAt + ISSUER_CLOCK_SECONDS_MAX * 1000 + trigger.ttlMs,
  }
}

/** Whether a notification of Google's comes from the service account that a trigger demands. Throws as askedByOidc does. */
export async function checkGoogleToken(
  token: string,
  rule: TokenRule,
  keys: IssuerKeys,
  nowMs: number,
): Promise<void> {
  timesOf(token, rule, CI_SYSTEMS.google)
  const payload = await verified(token, rule, CI_SYSTEMS.google, {
    audience: [rule.audience],
    now: new Date(nowMs),
    key: keys.keysOf(rule, nowMs),
  })
  const fault = faultOf(payload, rule, CI_SYSTEMS.google)
  if (fault !== undefined) throw new Problem('claims-refused', `the token is genuine, but ${fault}`)
}

// What the id of a token without `jti` is made from. The signature is left out: several texts decode to the same bytes of it, and each would
// make another id, by which a relay could run one token twice.
function signedPart(token: string): Uint8Array {
  return new TextEncoder().encode(token.slice(0, token.lastIndexOf('.')))
}

// Checked before any key is looked up, so that a token which is not for this trigger causes no call to its issuer.
function timesOf(
  token: string,
  { issuer }: TokenRule,
  system: CiSystem,
): { issuedAt: number; endsAt: number } {
  if (token.length > CI_TOKEN_CHARS_MAX) throw new Problem('unauthorized', 'the token is too long')
  if (!isCompactJws(token)) throw new Problem('unauthorized', 'it is not a JSON Web Token')
  let header: Record<string, unknown>
  let payload: JWTPayload
  try {
    header = { ...decodeProtectedHeader(token) }
    payload = decodeJwt(token)
  } catch (cause) {
    throw new Problem('unauthorized', 'it is not a JSON Web Token', { cause })
  }
  const odd = Object.keys(header).find((name) => !HEADERS.has(name))
  if (odd !== undefined)
    throw new Problem('unauthorized', `the token’s header has ${JSON.stringify(odd.slice(0, 40))}`)
  if (typeof header['kid'] !== 'string' || !ALGORITHMS.includes(String(header['alg'])))
    throw new Problem('unauthorized', 'the token names no key, or another algorithm than RS256')
  if (payload.iss !== issuer) throw new Problem('unauthorized', `the token is not of ${issuer}`)
  const { iat, exp } = payload
  if (!Number.isSafeInteger(iat) || !Number.isSafeInteger(exp))
    throw new Problem('unauthorized', 'the token does not say from when to when it is good')
  const seconds = Number(exp) - Number(iat)
  if (seconds <= 0 || seconds > CI_TOKEN_SECONDS_MAX)
    throw new Problem('unauthorized', `the token lives for ${seconds} s`)
  const issuedAt = Number(iat) * 1000
  return { issuedAt, endsAt: Math.min(Number(exp) * 1000, issuedAt + system.ageSecondsMax * 1000) }
}

async function verified(
  token: string,
  { issuer }: TokenRule,
  system: CiSystem,
  expected: { audience: string[]; now: Date; key: ReturnType<IssuerKeys['keysOf']> },
): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, expected.key, {
      algorithms: ALGORITHMS,
      issuer,
      audience: expected.audience,
      requiredClaims: [...system.required],
      maxTokenAge: system.ageSecondsMax,
      clockTolerance: ISSUER_CLOCK_SECONDS_MAX,
      currentDate: expected.now,
      ...(system.type === undefined ? {} : { typ: system.type }),
    })
    // A token for several audiences is refused, because each of them has it and could have sent it.
    if (typeof payload.aud === 'string') return payload
    throw new Problem('unauthorized', 'the token is for several audiences')
  } catch (cause) {
    if (cause instanceof Problem) throw cause
    if (!(cause instanceof errors.JOSEError))
      throw new Problem('unauthorized', 'the token cannot be verified', { cause })
    if (isAboutTime(cause))
      throw new Problem('request-stale', `the token’s time is not now: ${cause.message}`, { cause })
    throw new Problem('unauthorized', `the token is not valid: ${cause.message}`, { cause })
  }
}

// jose looks at the signature, the issuer and the audience first: the token is genuine, and for this trigger.
function isAboutTime(error: errors.JOSEError): boolean {
  if (error instanceof errors.JWTExpired) return true
  return (
    error instanceof errors.JWTClaimValidationFailed &&
    ['iat', 'nbf', 'exp'].includes(error.claim) &&
    error.reason === 'check_failed'
  )
}

function faultOf(payload: JWTPayload, { claims }: TokenRule, system: CiSystem): string | undefined {
  for (const [name, values] of Object.entries(claims)) {
    const value = Object.hasOwn(payload, name) ? payload[name] : undefined
    // Only a string can be equal: `true` is not "true", and 12 not "12".
    if (typeof value === 'string' && values.includes(value)) continue
    return `${name} is ${shown(value)}, not ${values.map(shown).join(' or ')}`
  }
  return system.claimsFault?.(payload)
}

function shown(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value).slice(0, 100)
}

function actorOf(payload: JWTPayload, { name }: OidcTrigger, { who }: CiSystem): string {
  const actor = payload[who]
  const words = typeof actor === 'string' ? actor.replaceAll(/[^\w.@:/[\]-]/g, '').slice(0, 100) : ''
  return words === '' ? name : `${name}:${words}`
}
