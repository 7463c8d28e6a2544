// GitLab CI: what a job's ID token must say. https://docs.gitlab.com/ci/secrets/id_token_authentication/

import { claimsOf, id, text } from './claims.ts'
import type { CiSystem } from './ci-system.ts'

/** Without `merge_request_event` and `external_pull_request_event`, whose pipelines run what nobody has accepted yet. */
const SOURCES = ['push', 'web', 'api', 'schedule'] as const

export const gitlabCi: CiSystem = {
  issuer: 'https://gitlab.com',
  jwksOf: (issuer) => `${issuer}/oauth/discovery/keys`,
  required: ['exp', 'iat', 'nbf', 'jti', 'sub'],
  // A job may run this long, and has one token all the time.
  ageSecondsMax: 24 * 3600,
  isSingleUse: false,
  claims: claimsOf({
    required: { project_id: id, ref: text },
    optional: { ref_type: text, environment: text, namespace_id: id },
    defaults: { pipeline_source: SOURCES },
    // A job of a branch that anybody may push to cannot be trusted. GitLab writes the claim as a string.
    always: { ref_protected: 'true' },
  }),
  who: 'user_login',
}
