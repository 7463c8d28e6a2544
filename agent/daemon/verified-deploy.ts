// A request that the agent has verified: what it asks for, and of whom it came.

import type { AnyRequest, Trust } from '../../shared/request.ts'

/** A request that was verified and is in order. There is no proof in it, and no token: it is never verified again. */
export interface VerifiedDeploy {
  readonly id: string
  readonly stack: string
  /** Whose requests are in one order by `signedAt`. */
  readonly trigger: string
  readonly actor: string
  readonly trust: Trust
  readonly request: AnyRequest
  /** Milliseconds since 1970 by the signer's clock, where it is known. */
  readonly signedAt: number | undefined
  /** When it must not begin any more and cannot be repeated; Infinity for a hint. */
  readonly expiresAt: number
}
