// What is asked by a token or a session: whether it is good, and whether it allows what is asked. Webhooks are verified in verifiers.ts.

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

/** Who calls, and which origin the token must have been made for. */
export interface Caller {
  readonly token: string
  readonly audience: string
}

/** The holder of a token that was found good: its host, and what it claims. */
export interface Holder {
  readonly host: string
  readonly claims: Claims
}

const NOBODYS_KEY: PublicKey = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
}

/** The holder of a caller's token or session, if it is good and has the scope. */
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

/** What the holder of a good token asks for. A refusal says why, since they have shown who they are. */
export function verifyTokenRequest(
  host: string,
  stack: string,
  claims: Claims,
  { kind, ...request }: TokenRequest,
): Promise<VerifiedRequest | Refusal> {
  const verify = async () => {
    // The body alone decides whether it is a deploy or a rollback. It must be the one that the route is for.
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

// Turns what a verifier throws into a refusal. Its message on bad credentials must not reach whoever sent them.
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
