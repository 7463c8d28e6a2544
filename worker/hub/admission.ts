// What is asked of the host by a hook or with a token: verified, counted against the limits, and handed to delivery.ts.

import type { Deploy } from '../../shared/deploy.ts'
import { CI_FOLLOWED_MS_MAX } from '../../shared/limits.ts'
import { toBase64, type Proof } from '../../shared/protocol.ts'
import { ROLLBACK_DEFAULT, type AnyRequest } from '../../shared/request.ts'
import { TOKEN_TRIGGER } from '../../shared/triggers/index.ts'
import { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import { isRefusal, type Refusal } from '../refusal.ts'
import type { Accepted, Submission } from './decide.ts'
import type { Delivery } from './delivery.ts'
import { keepIssuer, triggerNamed, type FactStore } from './facts.ts'
import type { Limiter } from './limiter.ts'
import * as log from './log.ts'
import { findDeploy, stackUnknown } from './reads.ts'
import { noteKeyUsed, noteStale, type LastNoted } from './uses.ts'
import type { HookRequest, Ignored } from './verified.ts'
import { verifyHook } from './verifiers.ts'
import { verifyCancel, verifyTokenRequest, type Holder, type TokenRequest } from './verify.ts'

const PREVIOUS = new TextEncoder().encode(JSON.stringify(ROLLBACK_DEFAULT))
const TOO_MANY = { refused: 'too-many', message: 'too many requests of this host' } as const

interface AdmissionOptions {
  readonly delivery: Delivery
  readonly limiter: Limiter
  readonly noted: LastNoted
}

export class Admission {
  readonly #sql: SqlStorage
  readonly #facts: FactStore
  readonly #options: AdmissionOptions
  readonly #issuers: IssuerKeys

  constructor(sql: SqlStorage, facts: FactStore, options: AdmissionOptions) {
    this.#sql = sql
    this.#facts = facts
    this.#options = options
    this.#issuers = new IssuerKeys({
      get: (url) => facts.get('issuers')?.[url],
      put: (url, known) => keepIssuer(facts, url, known),
    })
  }

  async hook(
    host: string,
    stack: string,
    name: string,
    request: HookRequest,
  ): Promise<Accepted | Ignored | Refusal> {
    const now = Date.now()
    const trigger = triggerNamed(this.#facts, stack, name)
    const verified = await verifyHook(host, trigger, request, {
      issuers: this.#issuers,
      now,
      isFollowed: (id) => isFollowed(log.findDeploy(this.#sql, id), now),
      onRefused: (message) => noteStale(this.#sql, { stack, name }, message, now),
    })
    if (isRefusal(verified) || 'reason' in verified) return verified
    const { asked, proof, key, settleMs } = verified
    const submission = { host, stack, trigger: name, asked, settleMs }
    return proof.kind === 'oidc' ? this.#acceptJob(submission, proof) : this.accept(submission, proof, key)
  }

  /** What a CI job asks for. Its token may have been used before for something else, which is then no duplicate but refused. */
  async #acceptJob(submission: Submission, proof: Proof): Promise<Accepted | Refusal> {
    const accepted = await this.accept(submission, proof)
    if (isRefusal(accepted) || accepted.status === 'accepted') return accepted
    if (isSameRequest(this.#sql, accepted.deploy, submission.asked.request)) return accepted
    return {
      refused: 'forbidden',
      message: 'the token, or the Idempotency-Key with it, was used for another request before',
      cure: 'get a new token for each request, or send another Idempotency-Key',
    }
  }

  async ask(
    { host, claims }: Holder,
    token: string,
    stack: string,
    request: TokenRequest,
  ): Promise<Accepted | Refusal> {
    const { kind, idempotencyKey } = request
    // A token that is bound to a body needs that body, so nothing is filled in.
    const isDefault = kind === 'rollback' && request.body.length === 0 && claims.bodySha256 === undefined
    const body = isDefault ? PREVIOUS : request.body
    const asked = await verifyTokenRequest(host, stack, claims, { kind, idempotencyKey, body })
    if (isRefusal(asked)) return asked
    if (!this.#facts.get('hello')?.stacks.includes(stack)) return stackUnknown(stack)
    const proof: Proof = { kind: 'token', token, idempotencyKey, body: toBase64(body) }
    return this.accept({ host, stack, trigger: TOKEN_TRIGGER, asked }, proof)
  }

  async cancel(
    { claims }: Holder,
    token: string,
    id: string,
    body: Uint8Array,
  ): Promise<{ status: 'cancelled' | 'cancelling' } | Refusal> {
    const found = findDeploy(this.#sql, claims, 'deploy', id)
    if (isRefusal(found)) return found
    const verified = await verifyCancel(claims, found, body)
    if (isRefusal(verified)) return verified
    const { delivery, limiter } = this.#options
    const now = Date.now()
    const retryAfterSeconds = limiter.take(found.stack, TOKEN_TRIGGER, now)
    if (retryAfterSeconds !== undefined) return { ...TOO_MANY, retryAfterSeconds }
    // Read again, since it may have been offered or ended while the request was verified.
    const deploy = log.findDeploy(this.#sql, id) ?? found
    const status = delivery.cancel(deploy, {
      by: verified.actor,
      proof: { token, body: toBase64(body) },
      now,
    })
    if (status === 'over')
      return { refused: 'not-cancellable', message: `the deploy is over: ${deploy.status}` }
    if (status === 'agent-offline')
      return {
        refused: 'agent-offline',
        message: 'the agent has the deploy, or may have it, and is not connected',
        cure: 'ask again when it is back; on its host, stopping the agent undoes a roll',
      }
    return { status }
  }

  /** Accepts what was verified, or refuses it as one too many. `keyUsed` is the key of the trigger that it came with. */
  async accept(submission: Submission, proof: Proof, keyUsed?: string): Promise<Accepted | Refusal> {
    const { delivery, limiter, noted } = this.#options
    const now = Date.now()
    const { stack, trigger } = submission
    const waitSeconds = () => limiter.take(stack, trigger, now)
    const accepted = await delivery.accept(submission, proof, { now, waitSeconds })
    if ('retryAfterSeconds' in accepted) return { ...TOO_MANY, ...accepted }
    if (keyUsed !== undefined)
      await noteKeyUsed(this.#sql, { stack, name: trigger }, { key: keyUsed, now, noted })
    return { ...accepted, agent: delivery.liveAgent(now) ? 'online' : 'offline' }
  }
}

/** Whether a deploy is not over, or ended so lately that a job which follows it may not know yet. */
function isFollowed(deploy: Deploy | undefined, now: number): boolean {
  return deploy !== undefined && now - (deploy.finishedAt ?? now) <= CI_FOLLOWED_MS_MAX
}

/** Whether a deploy's request says the same as this one. */
function isSameRequest(sql: SqlStorage, id: string, request: AnyRequest): boolean {
  const first = log.edgeEvent(sql, id, 'first')
  return first !== undefined && canonical(log.requestOf(first)) === canonical(request)
}

function canonical(request: AnyRequest): string {
  return JSON.stringify(
    Object.entries(request)
      .filter(([, value]) => value !== undefined)
      .toSorted(),
  )
}
