// GitLab CI: what a job's ID token must say. https://docs.gitlab.com/ci/secrets/id_token_authentication/

import { claimsOf, id, text } from './claims.ts'
import type { CiSystem } from './ci-system.ts'

/** Not `merge_request_event`, `external_pull_request_event`: pipelines of what nobody has accepted yet. */
const SOURCES = ['push', 'web', 'api', 'schedule'] as const

export const gitlabCi: CiSystem = {
  issuer: 'https://gitlab.com',
  jwksOf: (issuer) => `${issuer}/oauth/discovery/keys`,
  required: ['exp', 'iat', 'nbf', 'jti', 'sub'],
  // As long as a job may run, and the same one all through it.
  ageSecondsMax: 24 * 3600,
  isSingleUse: false,
  claims: claimsOf({
    required: { project_id: id, ref: text },
    optional: { ref_type: text, environment: text, namespace_id: id },
    defaults: { pipeline_source: SOURCES },
    // A branch that anybody may push to is no reason to trust a job. GitLab writes it as a string.
    always: { ref_protected: 'true' },
  }),
  who: 'user_login',
}
