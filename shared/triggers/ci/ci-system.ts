// What there is to know of a CI system that signs tokens for its jobs.

import type { JWTPayload } from 'jose'
import type { z } from 'zod'

/** Each claim with the values of which it must have one: exact strings. */
export type Demanded = Readonly<Record<string, readonly string[]>>

export interface CiSystem {
  /** Where ropeway.yml names none. Without one it must. */
  readonly issuer?: string
  /** Where its keys are; without it they are found by OpenID Connect Discovery. */
  readonly jwksOf?: (issuer: string) => string
  /** The `typ` of its tokens, where that is documented. */
  readonly type?: string
  readonly required: readonly string[]
  readonly ageSecondsMax: number
  /** Each request gets a token of its own. */
  readonly isSingleUse: boolean
  /** What ropeway.yml may demand of the claims. It also has what is demanded where ropeway.yml says nothing. */
  readonly claims: z.ZodType<Demanded>
  /** What is wrong with a token's claims whatever ropeway.yml demands. Only for values that are no strings, which it cannot demand. */
  readonly claimsFault?: (payload: JWTPayload) => string | undefined
  /** The claim that names who acts, for the log. */
  readonly who: string
}
