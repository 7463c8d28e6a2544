// A webhook as it came, and what its verifier makes of it.

import type { Proof } from '../../shared/protocol.ts'
import type { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import type { SignedRequest, VerifiedRequest } from '../../shared/triggers/verified.ts'

/** What came to a trigger's address. `secret` is the last part of the address, where there is one after the names. */
export interface HookRequest extends SignedRequest {
  readonly secret?: string | undefined
}

/** It is the sender's, and asks for a deploy. */
export interface VerifiedHook {
  readonly asked: VerifiedRequest
  /** By which the agent verifies it again. */
  readonly proof: Proof
  /** The key that fits, where it was one of the trigger's own. */
  readonly key?: string | undefined
  /** Of a push: how long it must be quiet before it is deployed. */
  readonly settleMs?: number | undefined
}

/** It is the sender's, and deploys nothing. */
export interface Ignored {
  readonly status: 'ignored'
  readonly reason: string
}

export interface HookContext {
  readonly issuers: IssuerKeys
  readonly now: number
  /** Whether a deploy that was asked for by a token may still be asked after. */
  readonly isFollowed: (id: string) => boolean
  /** Hears why genuine credentials do not count, for the host's people alone. */
  readonly onRefused: (message: string) => void
}
