// Sessions: what a browser gets for a token, since its EventSource can send none. Signed with a key that only this hub has, so that
// nobody else, the agent included, takes a session for a token.

import { SignJWT, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import { z } from 'zod'
import { NAME_PATTERN, SESSION_SECONDS } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import type { Claims, Expected } from '../../shared/tokens.ts'

const ALGORITHM = 'HS256'
const TYPE = 'ropeway-session+jwt'

const claimsSchema = z.object({
  iat: z.number(),
  exp: z.number(),
  sub: z.string().min(1),
  jti: z.string().min(1),
  stacks: z.array(z.string().regex(NAME_PATTERN)).optional(),
})

/**
 * A session of whoever holds a token that is good and may read. It may only read, sees the same stacks, and has the token's own id, so
 * that revoking the token ends it too. It never outlives the token.
 */
export async function makeSession(
  key: Uint8Array,
  { host, audience, claims, now }: { host: string; audience: string; claims: Claims; now: Date },
): Promise<{ token: string; expiresAt: number }> {
  const issuedAt = Math.floor(now.getTime() / 1000)
  const expires = Math.min(issuedAt + SESSION_SECONDS, Math.floor(claims.expiresAt / 1000))
  const token = await new SignJWT(claims.stacks === undefined ? {} : { stacks: [...claims.stacks] })
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE })
    .setIssuer(host)
    .setAudience(audience)
    .setSubject(claims.actor)
    .setJti(claims.id)
    .setIssuedAt(issuedAt)
    .setExpirationTime(expires)
    .sign(key)
  return { token, expiresAt: expires * 1000 }
}

/** The claims of whoever asked by a hook and watches the deploy. They have no token that could end the session sooner. */
export function watcherClaims(stack: string, id: string, now: Date): Claims {
  return {
    actor: 'hook',
    id,
    issuedAt: now.getTime(),
    expiresAt: Infinity,
    scopes: ['read'],
    stacks: [stack],
    bodySha256: undefined,
  }
}

/** The claims of a session of this hub. Throws `unauthorized`. No difference of clocks is allowed, since the hub itself made it. */
export async function verifySession(token: string, key: Uint8Array, expected: Expected): Promise<Claims> {
  const claims = await verifiedClaims(token, key, expected)
  if (expected.revoked?.includes(claims.jti))
    throw new Problem('unauthorized', 'the token of the session is revoked')
  return {
    actor: claims.sub,
    id: claims.jti,
    issuedAt: claims.iat * 1000,
    expiresAt: claims.exp * 1000,
    scopes: ['read'],
    stacks: claims.stacks,
    bodySha256: undefined,
  }
}

async function verifiedClaims(
  token: string,
  key: Uint8Array,
  { host, audience, now }: Expected,
): Promise<z.infer<typeof claimsSchema>> {
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      issuer: host,
      audience,
      requiredClaims: ['exp', 'iat', 'jti', 'sub'],
      maxTokenAge: SESSION_SECONDS,
      currentDate: now,
    })
    return claimsSchema.parse(payload)
  } catch (cause) {
    const why = cause instanceof errors.JOSEError ? cause.code : 'its claims are malformed'
    throw new Problem('unauthorized', `the session is not valid: ${why}`, { cause })
  }
}

/** Whether a token claims to be a session. That only chooses how it is verified. */
export function isSession(token: string): boolean {
  try {
    return decodeProtectedHeader(token).typ === TYPE
  } catch {
    return false
  }
}
