// The triggers of ropeway.yml that registries call, and what may be wrong with them.

import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../agent/config/config.ts'
import { type RegistryType, REGISTRIES } from '../../../shared/triggers/registries/index.ts'
import { writeConfig } from './write-config.ts'

const SECRET = 'a-secret-of-24-characters'
const ENV = {
  S: SECRET,
  SHORT: 'short',
  SPACES: 'a secret with spaces in it, of length',
  WHSEC: `whsec_${btoa('0123456789abcdefghijklmnopqrstuv')}`,
}
const load = async (trigger: string) => {
  const { stacks } = await loadConfig(writeConfig(trigger), ENV)
  return stacks[0]?.triggers[0]
}
const faults = async (trigger: string) => {
  const error = await load(trigger).then(
    () => undefined,
    (fault: { log?: string[] }) => fault,
  )
  return (error?.log ?? []).join('\n')
}
const KEYED = (Object.keys(REGISTRIES) as RegistryType[]).filter((type) => type !== 'artifact-registry')

test.each(KEYED)('%s: the relay gets no more than it needs', async (type) => {
  const trigger = await load(`{ type: ${type}, secret: { env: S }, image: acme/hello, tags: v* }`)
  expect(trigger).toMatchObject({ type, path: 'acme/hello', tags: ['v*'], settleMs: 2000, ttlMs: 3600_000 })
  const signs = ['ghcr', 'gitea', 'jfrog'].includes(type)
  expect(JSON.stringify(trigger).includes(SECRET)).toBe(signs)
})

test('GitLab’s signing token is kept, its older one is hashed', async () => {
  const rest = 'image: registry.gitlab.com/acme/hello, tags: main'
  expect(JSON.stringify(await load(`{ type: gitlab, secret: { env: WHSEC }, ${rest} }`))).toContain(ENV.WHSEC)
  expect(JSON.stringify(await load(`{ type: gitlab, secret: { env: S }, ${rest} }`))).not.toContain(SECRET)
})

test('Artifact Registry has no secret: the account is what counts, and the trigger’s own address', async () => {
  const said = 'type: artifact-registry, email: push@acme.iam.gserviceaccount.com'
  expect(await load(`{ ${said}, image: europe-docker.pkg.dev/acme/images/hello, semver: ^1 }`)).toMatchObject(
    {
      path: 'acme/images/hello',
      semver: '^1',
      issuer: 'https://accounts.google.com',
      jwks: 'https://www.googleapis.com/oauth2/v3/certs',
      audience: expect.stringMatching(/\/hooks\/vps-1\/hello\/push$/),
      claims: { email: ['push@acme.iam.gserviceaccount.com'] },
    },
  )
})

const of = (rest: string) => `{ type: harbor, secret: { env: S }, ${rest} }`

describe('a fault names its place and its cure', () => {
  test.each([
    [of('image: acme/hello'), /triggers\.push: has neither tags nor semver/],
    [of('image: acme/hello, tags: a, semver: ^1'), /has both tags and semver/],
    [of('image: acme/hello, tags: ["a b"]'), /tags(\.0)?: should be a tag, or a pattern with \*/],
    [of('image: acme/hello, tags: []'), /tags/],
    [of('image: acme/hello, semver: newest'), /semver: should be a range of versions, as \^1\.2/],
    [of('image: acme/hello:v1, tags: a'), /image: should be an image repository without a tag/],
    [of('image: Acme/hello, tags: a'), /image: should be an image repository/],
    [of('image: acme/hello, tags: a, settle: 31s'), /settle: should be at most 30s/],
    [of('image: acme/hello, tags: a, tag: b'), /tag/],
    ['{ type: harbor, image: acme/hello, tags: a }', /secret: is missing/],
    [
      '{ type: harbor, secret: { env: SHORT }, image: acme/hello, tags: a }',
      /SHORT is not 24 to 128 letters/,
    ],
    [
      '{ type: ghcr, secret: { env: SPACES }, image: acme/hello, tags: a }',
      /SPACES is not 24 to 128 printable/,
    ],
    [
      '{ type: ghcr, secret: { env: SHORT }, image: acme/hello, tags: a }',
      /SHORT is not 24 to 128 printable/,
    ],
    ['{ type: artifact-registry, email: nobody, image: a/b, tags: a }', /email: should be the address/],
    ['{ type: registry, secret: { env: S } }', /type: should be one of standard-webhooks, .*docker-hub/],
  ])('%s', async (trigger, fault) => {
    expect(await faults(trigger)).toMatch(fault)
  })
})
