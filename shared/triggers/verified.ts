// What a trigger's verifier reads, and what it makes of it.

import type { AnyRequest, Trust } from '../request.ts'

/** The headers a verifier may read (lower case), and the raw bytes that were signed. */
export interface SignedRequest {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** What a verified request asks for, and the id of its deploy: the same for every delivery of the same request. */
export interface VerifiedRequest {
  readonly id: string
  readonly request: AnyRequest
  readonly actor: string
  readonly trust: Trust
  /** How long it may wait for the agent. */
  readonly ttlMs: number
  /** When it was signed, by the signer's clock: milliseconds since 1970. Undefined where that is not known of this one request. */
  readonly signedAt: number | undefined
  /** When the agent must not begin it any more, by what was signed. Infinity for a hint. */
  readonly expiresAt: number
}
