// Webhooks. The type of a trigger alone decides how its requests are verified. Every fault of credentials gets the same answer, after the same
// time.

import { HOOK_BODY_BYTES_MAX } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import { toBase64 } from '../../shared/protocol.ts'
import {
  IDEMPOTENCY_KEY_PATTERN,
  askedByHint,
  headersOf,
  isVerifiedBy,
  verifyTriggered,
  verifyUrlSecret,
  type SignedTrigger,
  type Trigger,
  type TriggerBy,
  type Verification,
} from '../../shared/triggers/index.ts'
import { askedByOidc } from '../../shared/triggers/oidc.ts'
import type { SignedRequest } from '../../shared/triggers/verified.ts'
import { UNAUTHORIZED, isRefusal, type Refusal } from '../refusal.ts'
import { makeNonce } from './nonce.ts'
import { verifyPush } from './pushes.ts'
import type { HookContext, HookRequest, Ignored, VerifiedHook } from './verified.ts'
import { pick, refusable } from './verify.ts'

type Verifier<V extends Verification> = (
  host: string,
  trigger: TriggerBy<V> | undefined,
  sent: HookRequest,
  context: HookContext,
) => Promise<VerifiedHook | Ignored | Refusal>

const VERIFIERS: { readonly [V in Verification]: Verifier<V> } = {
  signature: verifySignature,
  secret: verifySecret,
  job: verifyJob,
  push: async (host, trigger, sent, context) =>
    trigger ? await verifyPush(host, trigger, sent, context) : UNAUTHORIZED,
}

/** Verifies what came to a trigger's address. It takes as long where there is no such trigger. */
export async function verifyHook(
  host: string,
  trigger: Trigger | undefined,
  sent: HookRequest,
  context: HookContext,
): Promise<VerifiedHook | Ignored | Refusal> {
  const as = <V extends Verification>(by: V) =>
    VERIFIERS[by](host, trigger && isVerifiedBy(trigger, by) ? trigger : undefined, sent, context)
  if (trigger && isVerifiedBy(trigger, 'push')) return await as('push')
  if (sent.secret !== undefined) return await as('secret')
  return await as(trigger && isVerifiedBy(trigger, 'job') ? 'job' : 'signature')
}

// Requests to a trigger that does not exist are verified with this key, so that they take as long. They are refused whatever comes out.
const NOBODYS_TRIGGER: SignedTrigger = {
  type: 'standard-webhooks',
  stack: 'nobody',
  name: 'nobody',
  ttlMs: 1,
  keys: ['whsec_bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5'],
}
// Only a sender who is verified gets this answer. A stranger must not learn which length is too long here.
const TOO_LONG: Refusal = {
  refused: 'too-big',
  message: `the body has more than ${HOOK_BODY_BYTES_MAX} bytes`,
}
const isLong = ({ body }: SignedRequest) => body.length > HOOK_BODY_BYTES_MAX

async function verifySignature(
  host: string,
  known: TriggerBy<'signature'> | undefined,
  request: HookRequest,
  { now, onRefused }: HookContext,
): Promise<VerifiedHook | Refusal> {
  const trigger = known ?? NOBODYS_TRIGGER
  // No more headers than the signature needs.
  const headers = pick(request.headers, headersOf(trigger))
  const verified = await refusable(
    verifyTriggered(host, trigger, { headers, body: request.body }, now),
    (problem) => {
      if (problem.code === 'request-stale' && known) onRefused(problem.message)
      return UNAUTHORIZED
    },
  )
  // Anybody can read that key and sign with it. Such a signature must get no other answer than a wrong one.
  if (!known) return UNAUTHORIZED
  if (isRefusal(verified)) return verified
  if (isLong(request)) return TOO_LONG
  const { key, ...asked } = verified
  return { asked, key, proof: { kind: 'hook', headers, body: toBase64(request.body) } }
}

// A roll may take longer than its token lives. A job whose token has expired may still ask what became of its deploy, but not for a new one.
async function verifyJob(
  host: string,
  trigger: TriggerBy<'job'> | undefined,
  request: HookRequest,
  { issuers, now, isFollowed, onRefused }: HookContext,
): Promise<VerifiedHook | Refusal> {
  const token = /^Bearer ([\w.-]+)$/i.exec(request.headers['authorization'] ?? '')?.[1]
  const idempotencyKey = request.headers['idempotency-key']
  if (!trigger || token === undefined) return UNAUTHORIZED
  if (idempotencyKey !== undefined && !IDEMPOTENCY_KEY_PATTERN.test(idempotencyKey)) return UNAUTHORIZED
  const sent = { token, body: request.body, ...(idempotencyKey === undefined ? {} : { idempotencyKey }) }
  const asking = askedByOidc(host, trigger, sent, issuers, now).catch(async (fault: unknown) => {
    if (!(fault instanceof Problem) || fault.code !== 'request-stale') throw fault
    const asked = await askedByOidc(host, trigger, sent, issuers, now, { mayBeOld: true })
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

// A webhook without a signature, sent to an address that nobody else knows. The agent cannot verify it, so it may choose nothing.
async function verifySecret(
  host: string,
  known: TriggerBy<'secret'> | undefined,
  { secret = '' }: HookRequest,
): Promise<VerifiedHook | Refusal> {
  const trigger = known ?? NOBODYS_TRIGGER
  const nonce = makeNonce()
  const key = await verifyUrlSecret(trigger, secret)
  const asked = await askedByHint(host, trigger, nonce)
  return key === undefined ? UNAUTHORIZED : { asked, key, proof: { kind: 'hint', nonce } }
}
