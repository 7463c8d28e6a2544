// GitHub Actions: what a workflow's token must say. Never `sub`: its format has changed, a repository's owner can change it, and names can
// be taken over by others once they are free. https://docs.github.com/actions/reference/security/oidc

import { claimsOf, id, text } from './claims.ts'
import type { CiSystem } from './ci-system.ts'

/**
 * `pull_request_target` has the base branch's `ref`, so the event counts as much as the branch: `pull_request` and its kin are run for whoever
 * opens one.
 */
const EVENTS = ['push', 'workflow_dispatch', 'release', 'schedule'] as const

export const githubActions: CiSystem = {
  issuer: 'https://token.actions.githubusercontent.com',
  jwksOf: (issuer) => `${issuer}/.well-known/jwks`,
  type: 'JWT',
  required: ['exp', 'iat', 'nbf', 'jti', 'sub'],
  // Each call for a token makes a new one, which is good for some minutes: whoever sends one twice has taken it from somebody.
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
