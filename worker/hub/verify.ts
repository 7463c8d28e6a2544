// Who asks, and whether it was they: tokens and signatures, each answered by what was proven or by a refusal.

import type { PublicKey } from '../../shared/api.ts'
import { Problem } from '../../shared/problems.ts'
import { allows, verifyToken, type Claims, type Scope } from '../../shared/tokens.ts'
import {
  SIGNED_HEADERS,
  askedByToken,
  verifyTriggered,
  type Asked,
  type SignedRequest,
  type Trigger,
} from '../../shared/triggers/index.ts'
import { UNAUTHORIZED, isRefusal, type Refusal } from '../refusal.ts'

/** A host's name and the key that its tokens are signed with. */
export interface Enrolment {
  readonly host: string
  readonly publicKey: PublicKey
}

/** Who asks, and which origin the token must have been made for. */
export interface Caller {
  readonly token: string
  readonly audience: string
}

// For requests to nobody: verified all the same, so that they take as long, then refused whatever comes out.
const NOBODYS_TRIGGER: Trigger = {
  type: 'standard-webhooks',
  stack: 'nobody',
  name: 'nobody',
  secrets: ['whsec_bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5'],
}
const NOBODY: Enrolment = {
  host: 'nobody',
  publicKey: { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' },
}

/** What a caller's token says, if it is good and has the scope. */
export async function authorize(
  enrolment: Enrolment | undefined,
  { token, audience }: Caller,
  scope: Scope,
): Promise<{ host: string; claims: Claims } | Refusal> {
  const { host, publicKey } = enrolment ?? NOBODY
  const claims = await refusable(verifyToken(token, publicKey, { host, audience, now: new Date() }))
  if (!enrolment || isRefusal(claims)) return UNAUTHORIZED
  return allows(claims, scope) ? { host, claims } : forbidden(`the token lacks the scope ${scope}`)
}

/** What a webhook asks for, with just the headers that its signature needs. */
export async function verifyHook(
  host: string,
  known: Trigger | undefined,
  request: SignedRequest,
): Promise<{ asked: Asked; headers: Record<string, string> } | Refusal> {
  const trigger = known ?? NOBODYS_TRIGGER
  const headers = pick(request.headers, SIGNED_HEADERS[trigger.type])
  const asked = await refusable(verifyTriggered(host, trigger, { headers, body: request.body }, Date.now()))
  // Nobody's secret can be read above: even a valid signature of it must not show that this is nobody.
  if (!known) return UNAUTHORIZED
  return isRefusal(asked) ? asked : { asked, headers }
}

/** What the holder of a good token asks for. Having shown who they are, they may know why not. */
export function verifyAsk(
  host: string,
  stack: string,
  claims: Claims,
  request: { readonly idempotencyKey: string; readonly body: Uint8Array },
): Promise<Asked | Refusal> {
  return refusable(askedByToken(host, stack, claims, request), ({ message }) => forbidden(message))
}

function forbidden(message: string): Refusal {
  return { refused: 'forbidden', message }
}

// What a verifier throws, as a refusal. Its words on bad credentials are not for those who sent them.
async function refusable<T extends Asked | Claims>(
  verification: Promise<T>,
  unauthorized: (problem: Problem) => Refusal = () => UNAUTHORIZED,
): Promise<T | Refusal> {
  try {
    return await verification
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    if (error.code === 'unauthorized') return unauthorized(error)
    return { refused: 'malformed', message: error.message, cure: error.cure }
  }
}

function pick(headers: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
  )
}
