// Any other issuer of OpenID Connect tokens: what ropeway.yml demands is all that is known of it.

import { claimsOf } from './claims.ts'
import type { Sender } from './sender.ts'

export const generic: Sender = {
  required: ['exp', 'iat', 'sub'],
  ageSecondsMax: 24 * 3600,
  isSingleUse: false,
  claims: claimsOf({ any: true }),
  who: 'sub',
}
