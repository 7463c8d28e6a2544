// The triggers that take CI jobs' tokens: what ropeway.yml may leave out, and what it must not.

import { expect, test } from 'vitest'
import { loadConfig } from '../../../agent/config/config.ts'
import { Problem } from '../../../shared/problems.ts'
import { triggerSchema } from '../../../shared/triggers/index.ts'
import { writeConfig } from './write-config.ts'

const write = (trigger: string) => writeConfig(trigger, 'ci')

const IDS = "repository_id: '1296269', repository_owner_id: '42'"
const EVENTS = ['push', 'workflow_dispatch', 'release', 'schedule']

test.each([
  [
    `{ type: github-actions, claims: { ${IDS}, environment: production } }`,
    {
      type: 'github-actions',
      issuer: 'https://token.actions.githubusercontent.com',
      jwks: 'https://token.actions.githubusercontent.com/.well-known/jwks',
      audience: 'https://relay.example/hooks/vps-1/hello/ci',
      bind: false,
      ttlMs: 3600_000,
      claims: {
        repository_id: ['1296269'],
        repository_owner_id: ['42'],
        environment: ['production'],
        event_name: EVENTS,
      },
    },
  ],
  [
    `{ type: github-actions, issuer: https://ghe.example/_services/token, bind: body, ttl: 10m,
          claims: { ${IDS}, ref: [refs/heads/main, refs/heads/next], event_name: push } }`,
    {
      issuer: 'https://ghe.example/_services/token',
      jwks: 'https://ghe.example/_services/token/.well-known/jwks',
      bind: true,
      ttlMs: 600_000,
      claims: { ref: ['refs/heads/main', 'refs/heads/next'], event_name: ['push'] },
    },
  ],
  [
    `{ type: gitlab-ci, issuer: https://gitlab.example, claims: { project_id: '7', ref: main } }`,
    {
      jwks: 'https://gitlab.example/oauth/discovery/keys',
      claims: {
        project_id: ['7'],
        ref_protected: ['true'],
        pipeline_source: ['push', 'web', 'api', 'schedule'],
      },
    },
  ],
  [
    `{ type: google, claims: { email: deploy@acme.iam.gserviceaccount.com } }`,
    { issuer: 'https://accounts.google.com', jwks: 'https://www.googleapis.com/oauth2/v3/certs' },
  ],
  [
    `{ type: oidc, issuer: https://ci.example, audience: ropeway, claims: { sub: job-7 } }`,
    { issuer: 'https://ci.example', audience: 'ropeway', claims: { sub: ['job-7'] } },
  ],
])('%s', async (text, expected) => {
  const { stacks } = await loadConfig(write(text), {})
  const [trigger] = stacks[0]?.triggers ?? []
  expect(trigger).toMatchObject(expected)
  // What the relay is told is what it takes.
  expect(triggerSchema.parse(trigger)).toEqual(trigger)
})

test.each([
  [`{ type: github-actions }`, 'claims: is missing'],
  [
    `{ type: github-actions, claims: { ${IDS} } }`,
    'claims: has neither ref nor environment: any branch could deploy',
  ],
  [
    `{ type: github-actions, claims: { repository_id: 1296269, repository_owner_id: '42', ref: main } }`,
    'claims.repository_id: should be the number in quotes',
  ],
  [
    `{ type: github-actions, claims: { repository_id: acme/hello, repository_owner_id: '42', ref: main } }`,
    'claims.repository_id: should be the number in quotes',
  ],
  [`{ type: github-actions, claims: { ${IDS}, ref: 'refs/heads/*' } }`, 'claims.ref: is compared as it is'],
  [
    `{ type: github-actions, claims: { ${IDS}, ref: main, sub: x } }`,
    'claims.sub: is not a key that Ropeway knows',
  ],
  [`{ type: github-actions, bind: yes, claims: { ${IDS}, ref: main } }`, 'bind: should be body, or left out'],
  [
    `{ type: gitlab-ci, claims: { project_id: '7', ref: main, ref_protected: 'false' } }`,
    'claims.ref_protected: is not a key that Ropeway knows',
  ],
  [`{ type: google, claims: {} }`, 'claims.email'],
  [`{ type: oidc, claims: { sub: x } }`, 'issuer: is missing'],
  [`{ type: oidc, issuer: http://ci.example, claims: { sub: x } }`, 'issuer: should be an https address'],
  [
    `{ type: oidc, issuer: https://ci.example, claims: {} }`,
    'claims: is empty: whoever has any token of the issuer could deploy',
  ],
  [
    `{ type: oidc, issuer: https://ci.example, claims: { aud: x } }`,
    'claims: names aud, which is checked by itself',
  ],
  [`{ type: oidc, issuer: https://ci.example, audience: 'a#b', claims: { sub: x } }`, 'audience: has a #'],
])('%s is refused, with the place and why', async (text, words) => {
  const error: unknown = await loadConfig(write(text), {}).catch((thrown: unknown) => thrown)
  if (!(error instanceof Problem)) throw new Error('it was accepted')
  expect([error.message, ...(error.log ?? [])].join('\n')).toContain(`stacks.hello.triggers.ci.${words}`)
})
