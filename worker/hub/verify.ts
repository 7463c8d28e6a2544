// Who asks by a token, and whether it was they: answered by what was proven or by a refusal. Webhooks are hooks.ts' affair.

import type { PublicKey } from '../../shared/api.ts'
import { Problem } from '../../shared/problems.ts'
import { parseDeployRequest, parseRollbackRequest } from '../../shared/request.ts'
import { allows, verifyToken, type Claims, type Scope } from '../../shared/tokens.ts'
import { askedByToken, checkCancel } from '../../shared/triggers/index.ts'
import type { VerifiedRequest } from '../../shared/triggers/verified.ts'
import { UNAUTHORIZED, isRefusal, type Refusal } from '../refusal.ts'
import type { FactStore } from './facts.ts'
import { keysAt } from './keys.ts'
import { isSession, verifySession } from './session.ts'

/** Who asks, and which origin the token must have been made for. */
export interface Caller {
  readonly token: string
  readonly audience: string
}

/** Whose token is good: it is of this host, and says what its claims are. */
export interface Holder {
  readonly host: string
  readonly claims: Claims
}

const NOBODYS_KEY: PublicKey = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
}

/** What a caller's token or session says, if it is good and has the scope. */
export async function authorize(
  facts: FactStore,
  { token, audience }: Caller,
  scope: Scope,
  now: Date,
  { newestKeyOnly = false }: { newestKeyOnly?: boolean } = {},
): Promise<Holder | Refusal> {
  const enrolment = facts.get('enrolment')
  const host = enrolment?.host ?? 'nobody'
  const expected = { host, audience, now, revoked: facts.get('revoked') ?? [] }
  const sessionKey = facts.get('sessionKey')
  const keys = enrolment ? keysAt(enrolment, now.getTime()) : [NOBODYS_KEY]
  const verification: Promise<Claims> =
    sessionKey && isSession(token)
      ? verifySession(token, sessionKey, expected)
      : verifyToken(token, newestKeyOnly ? keys.slice(0, 1) : keys, expected)
  const claims = await refusable(verification)
  if (!enrolment || isRefusal(claims)) return UNAUTHORIZED
  return allows(claims, scope) ? { host, claims } : forbidden(`the token lacks the scope ${scope}`)
}

/** What the holder of a good token asks for. Having shown who they are, they may know why not. */
export function verifyTokenRequest(
  host: string,
  stack: string,
  claims: Claims,
  { kind, ...request }: TokenRequest,
): Promise<VerifiedRequest | Refusal> {
  const verify = async () => {
    // The body says what it is; here it must be what the route is for.
    if (kind === 'deploy') parseDeployRequest(request.body)
    else parseRollbackRequest(request.body)
    return askedByToken(host, stack, claims, request)
  }
  return refusable(verify(), ({ message }) => forbidden(message))
}

export interface TokenRequest {
  /** Which route it came by. */
  readonly kind: 'deploy' | 'rollback'
  readonly idempotencyKey: string
  readonly body: Uint8Array
}

/** Whether the holder of a good token cancels this deploy; why not, otherwise. */
export async function verifyCancel(
  claims: Claims,
  deploy: { readonly id: string; readonly stack: string },
  body: Uint8Array,
): Promise<Claims | Refusal> {
  const verify = async () => {
    await checkCancel(claims, deploy, body)
    return claims
  }
  return refusable(verify(), ({ message }) => forbidden(message))
}

function forbidden(message: string): Refusal {
  return { refused: 'forbidden', message }
}

// What a verifier throws, as a refusal. Its words on bad credentials are not for those who sent them.
export async function refusable<T extends VerifiedRequest | Claims>(
  verification: Promise<T>,
  unauthorized: (problem: Problem) => Refusal = () => UNAUTHORIZED,
): Promise<T | Refusal> {
  try {
    return await verification
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    if (error.code !== 'request-invalid') return unauthorized(error)
    return { refused: 'malformed', message: error.message, cure: error.cure }
  }
}

export function pick(
  headers: Readonly<Record<string, string>>,
  names: readonly string[],
): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
  )
}
