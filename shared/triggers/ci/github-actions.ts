// GitHub Actions: what a workflow's token must say. `sub` is never used: its format has changed, a repository's owner can change it, and the
// names in it can be taken over by others once they are free. https://docs.github.com/actions/reference/security/oidc

import { claimsOf, id, text } from './claims.ts'
import type { CiSystem } from './ci-system.ts'

/**
 * The event is demanded as well as the branch, because `pull_request_target` has the base branch's `ref` and runs for anybody who opens a pull
 * request.
 */
const EVENTS = ['push', 'workflow_dispatch', 'release', 'schedule'] as const

export const githubActions: CiSystem = {
  issuer: 'https://token.actions.githubusercontent.com',
  jwksOf: (issuer) => `${issuer}/.well-known/jwks`,
  type: 'JWT',
  required: ['exp', 'iat', 'nbf', 'jti', 'sub'],
  // A job gets a new token for each request, good for some minutes. So one that comes twice may be stolen.
  ageSecondsMax: 15 * 60,
  isSingleUse: true,
  claims: claimsOf({
    required: { repository_id: id, repository_owner_id: id },
    optional: { ref: text, environment: text, job_workflow_ref: text, runner_environment: text },
    defaults: { event_name: EVENTS },
    oneOf: ['ref', 'environment'],
  }),
  who: 'actor',
}
