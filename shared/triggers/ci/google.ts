// Google service accounts: the ID tokens of the metadata server, of gcloud and of Google's own services. They have no id of their own.
// https://cloud.google.com/docs/authentication/get-id-token

import { claimsOf, text } from './claims.ts'
import type { CiSystem } from './ci-system.ts'

export const google: CiSystem = {
  issuer: 'https://accounts.google.com',
  jwksOf: () => 'https://www.googleapis.com/oauth2/v3/certs',
  required: ['exp', 'iat', 'sub'],
  ageSecondsMax: 3600,
  isSingleUse: false,
  claims: claimsOf({ required: { email: text }, optional: { sub: text } }),
  // An account may be made with anybody's address, so Google must have verified it. It says so by a boolean.
  claimsFault: ({ email_verified: isVerified }) =>
    isVerified === true ? undefined : 'email_verified is not true',
  who: 'email',
}
