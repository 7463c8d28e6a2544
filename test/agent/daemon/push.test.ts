// Pushes at the agent: the relay's word on a registry's, which chooses nothing but a tag that the host has said may deploy.

import { expect, test } from 'vitest'
import { verifyFrame } from '../../../agent/daemon/verify.ts'
import { TOKEN_TRIGGER, type Trigger } from '../../../shared/triggers/index.ts'
import { IssuerKeys } from '../../../shared/triggers/issuer-keys.ts'
import { askedByPush, type PushTrigger, type ToldPush } from '../../../shared/triggers/pushes.ts'
import { proofSchema, type DeployFrame, type Proof } from '../../../shared/protocol.ts'
import { configFor, HOST, SECRET, stackConfig } from '../../support/host.ts'
import { pushTrigger } from '../../support/push-scene.ts'

const AT = Date.parse('2026-11-26T09:00:00Z')
const TOLD: ToldPush = { nonce: '0123456789abcdef0123456789abcdef', tag: 'v2', at: AT }
const trusted = { publicKeys: async () => [], revoked: async () => [], issuers: new IssuerKeys() }

async function verify(over: Partial<PushTrigger>, proof: Proof, frame: Partial<DeployFrame> = {}) {
  const trigger = pushTrigger('harbor', { secret: 'x'.repeat(24), audience: '' }, over)
  const signed: Trigger = {
    type: 'standard-webhooks',
    stack: 'hello',
    name: 'deploy',
    ttlMs: 1000,
    keys: [SECRET],
  }
  const config = configFor('https://relay.example', [stackConfig('hello', SECRET, [trigger, signed])])
  // As an honest hub would make it of the same push, so that it is nothing but the rule that refuses.
  const rule = { ...(trigger as PushTrigger), tags: ['*'], semver: undefined }
  const { id } = await askedByPush(HOST, rule, proof.kind === 'push' ? proof : TOLD)
  const sent: DeployFrame = {
    type: 'deploy',
    id,
    stack: 'hello',
    trigger: 'push',
    acceptedAt: 1,
    proof,
    ...frame,
  }
  return (await verifyFrame(sent, config, trusted, new Date())).deploy
}
const push = (told: Partial<ToldPush> = {}): Proof => ({ kind: 'push', ...TOLD, ...told })
const UNVERIFIED = { code: 'request-unverified' }

test('a tag that may deploy is deployed from the host’s own repository, as a hint, in its order', async () => {
  expect(await verify({ services: ['app1'] }, push())).toMatchObject({
    trigger: 'push',
    trust: 'hint',
    signedAt: undefined,
    request: {
      image: 'registry.example/acme/hello:v2',
      builtAt: '2026-11-26T09:00:00.000Z',
      services: ['app1'],
    },
  })
  const { request } = await verify({ semver: '>=1', tags: undefined }, push({ tag: '2.0.0' }))
  expect(request).toEqual({ image: 'registry.example/acme/hello:2.0.0', upgradeOnly: true })
  // Of one tag what it means now counts, however old the word of it.
  expect((await verify({ tags: ['stable'] }, push({ tag: 'stable' }))).request).not.toHaveProperty('builtAt')
})

test.each([
  ['a tag that does not fit', {}, { tag: 'nightly' }],
  ['a version out of range', { semver: '^1', tags: undefined }, { tag: '2.0.0' }],
  ['what is no version', { semver: '*', tags: undefined }, { tag: 'latest' }],
])('%s is declined', async (_, over, told) => {
  await expect(verify(over, push(told))).rejects.toMatchObject(UNVERIFIED)
})

test('a tag that is none is malformed', () => {
  expect(proofSchema.safeParse(push()).success).toBe(true)
  for (const tag of ['', '-v2', 'v2@sha256:00', 'v2;rm', 'a/b', 'v'.repeat(129)])
    expect(proofSchema.safeParse(push({ tag })).success).toBe(false)
})

test('of a trigger that signs, a push is declined; of a registry’s all else', async () => {
  await expect(verify({}, push(), { trigger: 'deploy' })).rejects.toMatchObject(UNVERIFIED)
  await expect(verify({}, push(), { trigger: TOKEN_TRIGGER })).rejects.toMatchObject(UNVERIFIED)
  const others: Proof[] = [
    { kind: 'hint', nonce: TOLD.nonce },
    { kind: 'hook', headers: {}, body: btoa('{"image":"registry.example/acme/hello:v9"}') },
    { kind: 'oidc', token: 'a.b.c', body: btoa('{}') },
  ]
  for (const proof of others) await expect(verify({}, proof)).rejects.toMatchObject(UNVERIFIED)
})

test('another id than the push makes is declined: it would run twice', async () => {
  await expect(verify({}, push(), { id: '0123456789abcdef' })).rejects.toMatchObject(UNVERIFIED)
})
