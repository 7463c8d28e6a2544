// Any other issuer of OpenID Connect tokens. Nothing is known of it but what ropeway.yml demands.

import { claimsOf } from './claims.ts'
import type { CiSystem } from './ci-system.ts'

export const generic: CiSystem = {
  required: ['exp', 'iat', 'sub'],
  ageSecondsMax: 24 * 3600,
  isSingleUse: false,
  claims: claimsOf({ any: true }),
  who: 'sub',
}
