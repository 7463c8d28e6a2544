// The agent's own check of what the relay delivers, before anything of it is stored: the relay is not trusted, only what a trigger's
// sender or a token's holder signed. A hint has nothing to verify, and so chooses nothing.

import { decodeJwt } from 'jose'
import { chatTrigger, hear } from '../../shared/chat/chat.ts'
import { askedByChat } from '../../shared/chat/intent.ts'
import type { DeclinedEvent } from '../../shared/events.ts'
import { SIGNATURE_AGE_SECONDS_MAX } from '../../shared/limits.ts'
import { Problem, type ProblemCode } from '../../shared/problems.ts'
import {
  fromBase64,
  isKnownProof,
  type CancelFrame,
  type DeployFrame,
  type Proof,
} from '../../shared/protocol.ts'
import { verifyToken, type Claims } from '../../shared/tokens.ts'
import {
  askedByHint,
  askedByToken,
  checkCancel,
  isVerifiedBy,
  verifyTriggered,
} from '../../shared/triggers/index.ts'
import type { VerifiedRequest } from '../../shared/triggers/verified.ts'
import type { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import { askedByOidc } from '../../shared/triggers/oidc.ts'
import { askedByPush } from '../../shared/triggers/pushes.ts'
import { stackOf, type Config, type StackConfig } from '../config/config.ts'
import type { Identity } from '../identity/identity.ts'
import type { VerifiedDeploy } from './verified-deploy.ts'

/** In the place of a trigger's name for what tokens ask for; no trigger can have this one. */
export const BY_TOKEN = '@token'

export interface Verified {
  readonly deploy: VerifiedDeploy
  readonly stackConfig: StackConfig
}

/** Whose signatures count, and which tokens do not any more: read anew for each token. */
export interface Trusted extends Pick<Identity, 'publicKeys' | 'revoked'> {
  /** Whose keys sign the tokens of CI jobs. */
  readonly issuers: IssuerKeys
}

const UNVERIFIED: readonly ProblemCode[] = ['unauthorized', 'claims-refused']

/**
 * What a delivered frame really asks for. Throws `stack-unknown`, `request-invalid`, `request-stale` for what comes from the future, or
 * `request-unverified` for whatever the host has not signed for: a wrong secret, an altered body, another stack, a forged id.
 */
export async function verifyFrame(
  frame: DeployFrame,
  config: Config,
  trusted: Trusted,
  now: Date,
): Promise<Verified> {
  const stackConfig = stackOf(config, frame.stack)
  const asked = await ask(frame, config, stackConfig, trusted, now).catch((cause: unknown) => {
    if (!(cause instanceof Problem) || !UNVERIFIED.includes(cause.code)) throw cause
    throw new Problem('request-unverified', cause.message, { cause })
  })
  // The id is made from what was signed: a frame with another one is an old request that wants to run twice.
  if (asked.id !== frame.id)
    throw new Problem('request-unverified', `what was signed belongs to deploy ${asked.id}, not to this one`)
  const { id, actor, trust, request, signedAt, expiresAt } = asked
  const trigger = frame.proof.kind === 'token' ? BY_TOKEN : frame.trigger
  const deploy = { id, stack: stackConfig.name, trigger, actor, trust, request, signedAt, expiresAt }
  return { deploy, stackConfig }
}

/**
 * Who cancels a deploy that the agent has. Throws `unauthorized` or `request-invalid` for whatever no token of this host was used for: only one
 * that may deploy to the deploy's stack, and counts now, and a body that names this deploy.
 */
export async function verifyCancel(
  { proof: { token, body } }: CancelFrame,
  deploy: { readonly id: string; readonly stack: string },
  { host, relay }: Config,
  trusted: Trusted,
  now: Date,
): Promise<Claims> {
  const keys = await trusted.publicKeys(now)
  const revoked = await trusted.revoked(now)
  const claims = await verifyToken(token, keys, { host, audience: relay, revoked, now })
  await checkCancel(claims, deploy, fromBase64(body))
  return claims
}

/** What is wrong with a request itself. Whatever else is thrown is this host's own fault, and says nothing of the request. */
const VERDICTS: readonly ProblemCode[] = [
  'request-unverified',
  'request-stale',
  'request-invalid',
  'stack-unknown',
]

/** The answer to a request that could not be verified; undefined where that is no fault of its own. */
export function verdictOf(error: unknown): DeclinedEvent | undefined {
  if (!(error instanceof Problem) || !VERDICTS.includes(error.code)) return undefined
  return { type: 'failed', ms: 0, problem: error.toJSON() }
}

/**
 * Why a verified request is not taken in; undefined when it is. `newest` is the one that was signed last of those which the agent has
 * from the same trigger: whoever reorders what was signed cannot make an older request run after it.
 */
export function whyDeclined(
  { expiresAt, signedAt }: Pick<VerifiedDeploy, 'expiresAt' | 'signedAt'>,
  newest: { readonly id: string; readonly signedAt: number } | undefined,
  nowMs: number,
): DeclinedEvent | undefined {
  if (expiresAt < nowMs) return { type: 'expired' }
  if (newest && signedAt !== undefined && signedAt < newest.signedAt)
    return { type: 'superseded', by: newest.id }
  return undefined
}

async function ask(
  frame: DeployFrame,
  config: Config,
  stack: StackConfig,
  trusted: Trusted,
  now: Date,
): Promise<VerifiedRequest> {
  const { proof } = frame
  if (!isKnownProof(proof))
    throw new Problem(
      'request-invalid',
      `the relay brings a proof of kind ${proof.kind}, which this agent does not know`,
      {
        cure: 'update the agent: the relay is newer',
      },
    )
  if (proof.kind === 'token') return askByToken(proof, config, stack, trusted, now)
  if (proof.kind === 'chat') return askByChat(frame, proof, config, stack, now)
  const trigger = stack.triggers.find((each) => each.name === frame.trigger)
  if (!trigger)
    throw new Problem('unauthorized', `stack ${stack.name} has no trigger ${JSON.stringify(frame.trigger)}`)
  if (isVerifiedBy(trigger, 'secret') && proof.kind === 'hint')
    return askedByHint(config.host, trigger, proof.nonce)
  if (isVerifiedBy(trigger, 'push') && proof.kind === 'push') return askedByPush(config.host, trigger, proof)
  if (isVerifiedBy(trigger, 'job') && proof.kind === 'oidc') {
    const sent = { ...proof, body: fromBase64(proof.body) }
    return askedByOidc(config.host, trigger, sent, trusted.issuers, now.getTime(), { mayBeOld: true }).catch(
      rejectFutureTimestamp,
    )
  }
  if (isVerifiedBy(trigger, 'signature') && proof.kind === 'hook') {
    const signed = { headers: proof.headers, body: fromBase64(proof.body) }
    return verifyTriggered(config.host, trigger, signed, now.getTime(), { mayBeOld: true }).catch(
      rejectFutureTimestamp,
    )
  }
  // Else a relay could have any signed trigger's stack rolled without a signature.
  throw new Problem(
    'unauthorized',
    `what trigger ${trigger.name} of type ${trigger.type} sends comes with another proof than ${PROOFS[proof.kind]}`,
  )
}

const PROOFS: Readonly<Record<Exclude<Proof['kind'], 'token' | 'chat'>, string>> = {
  hint: 'none at all',
  push: 'the relay’s word on a push',
  oidc: 'the token of a CI job',
  hook: 'a signature',
}

// Read and judged anew: what was said, by whom and where, and whether they may. A click names a deploy and the relay its stack, so it asks for
// nothing unless that deploy's version is what this stack runs.
async function askByChat(
  { trigger }: DeployFrame,
  { headers, body, approval }: Extract<Proof, { kind: 'chat' }>,
  { host, chats }: Config,
  stack: StackConfig,
  now: Date,
): Promise<VerifiedRequest> {
  const chat = chats.find((each) => chatTrigger(each) === trigger)
  if (!chat) throw new Problem('unauthorized', `this host has no chat ${JSON.stringify(trigger)}`)
  const heard = (request: { headers: Record<string, string>; body: string }) =>
    hear(chat, { ...request, body: fromBase64(request.body) }, now.getTime(), { mayBeOld: true }).catch(
      rejectFutureTimestamp,
    )
  const asked = await heard({ headers, body })
  const wanted = await askedByChat(host, chat, asked, () => stack.name, approval && (await heard(approval)))
  if (wanted.stack === stack.name) return wanted.asked
  throw new Problem('unauthorized', `what was said is about stack ${wanted.stack}`)
}

// With `mayBeOld` a request is stale for one reason only: it was signed in the future.
function rejectFutureTimestamp(error: unknown): never {
  if (error instanceof Problem && error.code === 'request-stale') throw fromTheFuture(error.message, error)
  throw error
}

async function askByToken(
  { token, idempotencyKey, body }: Extract<Proof, { kind: 'token' }>,
  { host, relay }: Config,
  stack: StackConfig,
  trusted: Trusted,
  now: Date,
): Promise<VerifiedRequest> {
  const keys = await trusted.publicKeys(now)
  const revoked = await trusted.revoked(now)
  const { issuedAt, expiresAt } = timesOf(token)
  const verifyAt = (ms: number): Promise<Claims> =>
    verifyToken(token, keys, { host, audience: relay, revoked, now: new Date(ms) })
  // A token must be valid when the request is sent, and may have expired when the agent is back to verify it. So it is judged at the last second of
  // its life at the latest; whether the request is too old by now is decided by its `expiresAt`.
  const claims = await verifyAt(Math.min(now.getTime(), expiresAt - 1000)).catch(async (fault: unknown) => {
    const aheadMs = issuedAt - now.getTime()
    const isGoodLater =
      aheadMs > 0 &&
      (await verifyAt(issuedAt).then(
        () => true,
        () => false,
      ))
    if (!isGoodLater) throw fault
    throw fromTheFuture(
      `the token was signed ${Math.round(aheadMs / 1000)} s in the future by this clock`,
      fault,
    )
  })
  return askedByToken(host, stack.name, claims, { idempotencyKey, body: fromBase64(body) })
}

// What the token says of itself, in milliseconds. It only chooses the clock by which verifyToken then judges.
function timesOf(token: string): { issuedAt: number; expiresAt: number } {
  try {
    const { iat = 0, exp = 0 } = decodeJwt(token)
    return { issuedAt: iat * 1000, expiresAt: exp * 1000 }
  } catch {
    // verifyToken says what is wrong with it.
    return { issuedAt: 0, expiresAt: 0 }
  }
}

function fromTheFuture(message: string, cause: unknown): Problem {
  return new Problem('request-stale', `${message}: either this host's clock or the sender's is wrong`, {
    cause,
    cure: `check the time service of both; they may differ by ${SIGNATURE_AGE_SECONDS_MAX} s`,
  })
}
