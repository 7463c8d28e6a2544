// Tokens: EdDSA JWTs signed by the host's own key. The agent's socket, its command line, people and CI jobs carry them.

import { errors, jwtVerify, SignJWT, type CryptoKey, type JWK } from 'jose'
import { z } from 'zod'
import { NAME_PATTERN } from './limits.ts'
import { Problem } from './problems.ts'

export const SCOPES = ['read', 'deploy', 'rollback', 'agent'] as const
export type Scope = (typeof SCOPES)[number]

const ALGORITHM = 'EdDSA'
const TYPE = 'ropeway+jwt'
const COMPACT_JWS = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/
/** The agent's clock and the relay's may differ by this much. */
const CLOCK_TOLERANCE_SECONDS = 60
/** No token lives longer: a forgotten one must end some day. */
export const TOKEN_TTL_SECONDS_MAX = 366 * 24 * 3600

const claimsSchema = z.object({
  iat: z.number(),
  exp: z.number(),
  sub: z.string().min(1).max(200),
  jti: z.string().min(1).max(64),
  scope: z.array(z.enum(SCOPES)).min(1),
  stacks: z.array(z.string().regex(NAME_PATTERN)).optional(),
  body: z.string().optional(),
})

export interface Claims {
  /** Who acts, for the event log. */
  readonly actor: string
  readonly id: string
  /** Milliseconds since 1970, as is `expiresAt`. */
  readonly issuedAt: number
  readonly expiresAt: number
  readonly scopes: readonly Scope[]
  /** The stacks that the token is for; undefined means all of the host. */
  readonly stacks: readonly string[] | undefined
  /** SHA-256 (hex) of the only body that may be sent with the token; undefined means any. */
  readonly bodySha256: string | undefined
}

export interface TokenOptions {
  readonly host: string
  /** The relay's origin, as `https://relay.example`. */
  readonly audience: string
  readonly actor: string
  readonly scopes: readonly Scope[]
  readonly stacks?: readonly string[] | undefined
  readonly bodySha256?: string
  readonly ttlSeconds: number
  readonly now: Date
}

/** Signs a token with the host's private key. */
export async function signToken(key: CryptoKey, options: TokenOptions): Promise<string> {
  const issuedAt = Math.floor(options.now.getTime() / 1000)
  return new SignJWT({
    scope: [...options.scopes],
    ...(options.stacks === undefined ? {} : { stacks: [...options.stacks] }),
    ...(options.bodySha256 === undefined ? {} : { body: options.bodySha256 }),
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE })
    .setIssuer(options.host)
    .setAudience(options.audience)
    .setSubject(options.actor)
    .setJti(crypto.randomUUID())
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + options.ttlSeconds)
    .sign(key)
}

export interface Expected {
  readonly host: string
  readonly audience: string
  readonly now: Date
  /** Ids of tokens that the host has revoked. */
  readonly revoked?: readonly string[]
}

/**
 * Checks signature, algorithm, type, issuer, audience, expiry and age, then the claims' shapes, and that it is not revoked. Any of the
 * keys may have signed it: there are two while the host replaces its own. Throws `unauthorized`; the message is for the log of whoever
 * verifies, not for the caller.
 */
export async function verifyToken(token: string, keys: readonly JWK[], expected: Expected): Promise<Claims> {
  let fault: unknown
  for (const key of keys)
    try {
      const claims = await verifyWith(token, key, expected)
      if (expected.revoked?.includes(claims.id)) throw new Problem('unauthorized', 'the token is revoked')
      return claims
    } catch (error) {
      // Of several keys only one can have signed it, and what that one says is what is wrong.
      const isOthers =
        error instanceof Problem && error.cause instanceof errors.JWSSignatureVerificationFailed
      if (fault === undefined || !isOthers) fault = error
    }
  throw fault ?? new Problem('unauthorized', 'there is no key to verify the token with')
}

/** Whether a text has the form of RFC 7515 §7.1. jose skips white space in its base64url, so that one token would have many texts. */
export function isCompactJws(token: string): boolean {
  return COMPACT_JWS.test(token)
}

async function verifyWith(token: string, key: JWK, expected: Expected): Promise<Claims> {
  if (!isCompactJws(token)) throw new Problem('unauthorized', 'the token is not valid: it is no JWS')
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      issuer: expected.host,
      audience: expected.audience,
      requiredClaims: ['exp', 'iat', 'jti', 'sub'],
      maxTokenAge: TOKEN_TTL_SECONDS_MAX,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: expected.now,
    })
    const claims = claimsSchema.parse(payload)
    return {
      actor: claims.sub,
      id: claims.jti,
      issuedAt: claims.iat * 1000,
      expiresAt: claims.exp * 1000,
      scopes: claims.scope,
      stacks: claims.stacks,
      bodySha256: claims.body,
    }
  } catch (cause) {
    const why = cause instanceof errors.JOSEError ? cause.code : 'its claims are malformed'
    throw new Problem('unauthorized', `the token is not valid: ${why}`, { cause })
  }
}

/** Whether a token may do something to a stack. */
export function allows(claims: Claims, scope: Scope, stack?: string): boolean {
  if (!claims.scopes.includes(scope)) return false
  return stack === undefined || claims.stacks === undefined || claims.stacks.includes(stack)
}

export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new Uint8Array(bytes))
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
