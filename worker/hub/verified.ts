// A webhook as it came, and what its verifier makes of it.

import type { Proof } from '../../shared/protocol.ts'
import type { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import type { SignedRequest, VerifiedRequest } from '../../shared/triggers/verified.ts'

/** What came to a trigger's address. `secret` is the last part of the address, where there is one after the names. */
export interface HookRequest extends SignedRequest {
  readonly secret?: string | undefined
}

/** The request is genuine and asks for a deploy. */
export interface VerifiedHook {
  readonly asked: VerifiedRequest
  /** What the agent verifies it by again. */
  readonly proof: Proof
  /** Which of the trigger's keys fits, where it has keys. */
  readonly key?: string | undefined
  /** Of a push: how long it must be quiet before it is deployed. */
  readonly settleMs?: number | undefined
}

/** The request is genuine and deploys nothing. */
export interface Ignored {
  readonly status: 'ignored'
  readonly reason: string
}

export interface HookContext {
  readonly issuers: IssuerKeys
  readonly now: number
  /** Whether a job may still ask what became of a deploy that it asked for. */
  readonly isFollowed: (id: string) => boolean
  /** Called with the reason when genuine credentials are refused. Only the host's people may see it. */
  readonly onRefused: (message: string) => void
}
