// Who asks, and whether it was they: tokens and signatures, each answered by what was proven or by a refusal.

import type { PublicKey } from '../../shared/api.ts'
import { HOOK_BODY_BYTES_MAX } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import { toBase64, type Proof } from '../../shared/protocol.ts'
import { parseDeployRequest, parseRollbackRequest } from '../../shared/request.ts'
import { allows, verifyToken, type Claims, type Scope } from '../../shared/tokens.ts'
import {
  IDEMPOTENCY_KEY_PATTERN,
  askedByHint,
  askedByToken,
  checkCancel,
  headersOf,
  verifyTriggered,
  verifyUrlSecret,
  type SignedTrigger,
  type Trigger,
} from '../../shared/triggers/index.ts'
import type { VerifiedRequest, SignedRequest } from '../../shared/triggers/verified.ts'
import type { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import { askedByOidc, isOidc, type OidcTrigger } from '../../shared/triggers/oidc.ts'
import { isPushTrigger } from '../../shared/triggers/pushes.ts'
import { UNAUTHORIZED, isRefusal, type Refusal } from '../refusal.ts'
import type { FactStore } from './facts.ts'
import { keysAt } from './keys.ts'
import { isSession, verifySession } from './session.ts'

/** Who asks, and which origin the token must have been made for. */
export interface Caller {
  readonly token: string
  readonly audience: string
}

// For requests to nobody: verified all the same, so that they take as long, then refused whatever comes out.
const NOBODYS_TRIGGER: SignedTrigger = {
  type: 'standard-webhooks',
  stack: 'nobody',
  name: 'nobody',
  ttlMs: 1,
  keys: ['whsec_bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5'],
}
const NOBODYS_KEY: PublicKey = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
}

// Said to whoever has shown who they are: of a stranger's body nobody learns which length is too long here.
const TOO_LONG: Refusal = {
  refused: 'too-big',
  message: `the body has more than ${HOOK_BODY_BYTES_MAX} bytes`,
}
const isLong = ({ body }: SignedRequest) => body.length > HOOK_BODY_BYTES_MAX

/** What a caller's token or session says, if it is good and has the scope. */
export async function authorize(
  facts: FactStore,
  { token, audience }: Caller,
  scope: Scope,
  now: Date,
  { newestKeyOnly = false }: { newestKeyOnly?: boolean } = {},
): Promise<{ host: string; claims: Claims } | Refusal> {
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

/** What a signed webhook asks for, with just the headers that its signature needs, and the key that fits. */
export async function verifyHook(
  host: string,
  known: Trigger | undefined,
  request: SignedRequest,
  { now, onStale }: { now: number; onStale: (message: string) => void },
): Promise<{ asked: VerifiedRequest; key: string; headers: Record<string, string> } | Refusal> {
  const isSigned = known !== undefined && known.type !== 'url' && !isOidc(known) && !isPushTrigger(known)
  const trigger = isSigned ? known : NOBODYS_TRIGGER
  const headers = pick(request.headers, headersOf(trigger))
  const verified = await refusable(
    verifyTriggered(host, trigger, { headers, body: request.body }, now),
    (problem) => {
      if (problem.code === 'request-stale' && isSigned) onStale(problem.message)
      return UNAUTHORIZED
    },
  )
  // Nobody's secret can be read above: even a valid signature of it must not show that this is nobody.
  if (!isSigned) return UNAUTHORIZED
  if (isRefusal(verified)) return verified
  return isLong(request) ? TOO_LONG : { asked: verified, key: verified.key, headers }
}

/**
 * What a CI job's token asks for. Whatever is wrong with it, the answer is the same: why, only the host's people are told. A roll may take
 * longer than its token lives: what the token is too old to ask for, `isFollowed` says, it may still ask after.
 */
export async function verifyJob(
  host: string,
  trigger: OidcTrigger,
  request: SignedRequest,
  {
    keys,
    now,
    isFollowed,
    onRefused,
  }: {
    keys: IssuerKeys
    now: number
    isFollowed: (id: string) => boolean
    onRefused: (message: string) => void
  },
): Promise<{ asked: VerifiedRequest; proof: Proof } | Refusal> {
  const token = /^Bearer ([\w.-]+)$/i.exec(request.headers['authorization'] ?? '')?.[1]
  const idempotencyKey = request.headers['idempotency-key']
  if (token === undefined) return UNAUTHORIZED
  if (idempotencyKey !== undefined && !IDEMPOTENCY_KEY_PATTERN.test(idempotencyKey)) return UNAUTHORIZED
  const sent = { token, body: request.body, ...(idempotencyKey === undefined ? {} : { idempotencyKey }) }
  const asking = askedByOidc(host, trigger, sent, keys, now).catch(async (fault: unknown) => {
    if (!(fault instanceof Problem) || fault.code !== 'request-stale') throw fault
    const asked = await askedByOidc(host, trigger, sent, keys, now, { mayBeOld: true })
    if (isFollowed(asked.id)) return asked
    throw fault
  })
  const asked = await refusable(asking, ({ code, message }) => {
    if (code !== 'unauthorized') onRefused(message)
    return UNAUTHORIZED
  })
  if (isRefusal(asked)) return asked
  if (isLong(request)) return TOO_LONG
  return { asked, proof: { kind: 'oidc', ...sent, body: toBase64(request.body) } }
}

/** What the bearer of an address's secret asks for. The agent cannot verify it, so it chooses nothing. */
export async function verifyHint(
  host: string,
  known: Trigger | undefined,
  { secret, nonce }: { secret: string; nonce: string },
): Promise<{ asked: VerifiedRequest; key: string } | Refusal> {
  const trigger = known ?? NOBODYS_TRIGGER
  const key = await verifyUrlSecret(trigger, secret)
  const asked = await askedByHint(host, trigger, nonce)
  return key === undefined ? UNAUTHORIZED : { asked, key }
}

/** What the holder of a good token asks for. Having shown who they are, they may know why not. */
export function verifyAsk(
  host: string,
  stack: string,
  claims: Claims,
  { kind, ...request }: Ask,
): Promise<VerifiedRequest | Refusal> {
  const verify = async () => {
    // The body says what it is; here it must be what the route is for.
    if (kind === 'deploy') parseDeployRequest(request.body)
    else parseRollbackRequest(request.body)
    return askedByToken(host, stack, claims, request)
  }
  return refusable(verify(), ({ message }) => forbidden(message))
}

export interface Ask {
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
async function refusable<T extends VerifiedRequest | Claims>(
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
