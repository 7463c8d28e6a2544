// Registries at the real Worker: each in its own form and by its own credential, and everything that must not deploy.

import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import type { RegistryType } from '../../shared/triggers/registries/index.ts'
import { hmacHex, OTHER_FORMS, SENDERS, type Sent } from '../support/notifications.ts'
import { credentialOf, pushScene, pushTrigger } from '../support/push-scene.ts'
import { ask, testRelay } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
})
afterAll(() => relay.stop())

const TYPES = Object.keys(SENDERS) as RegistryType[]
const IGNORED = { status: 200, body: { status: 'ignored', reason: expect.stringMatching(/\w/) } }

describe('a push deploys', () => {
  test.each(TYPES)('%s', async (type) => {
    const { host, agent, send } = await pushScene(relay, type)
    const answer = await send(SENDERS[type].push('v2'))
    expect(answer).toMatchObject({ status: 202, body: { status: 'accepted', agent: 'online' } })
    const frame = await agent.nextDeploy()
    expect(frame).toMatchObject({
      id: answer.body.deploy.id,
      trigger: 'push',
      proof: { kind: 'push', tag: 'v2' },
    })
    expect((await host.get(`/deploys/${frame.id}`)).body).toMatchObject({
      trust: 'hint',
      actor: 'push',
      request: { image: `registry.example/${SENDERS[type].path}:v2` },
    })
  })

  test.each(OTHER_FORMS)('%s: %s', async (type, _, make) => {
    const { agent, send } = await pushScene(relay, type)
    expect((await send(make('v3'))).status).toBe(202)
    expect(await agent.nextDeploy()).toMatchObject({ proof: { kind: 'push', tag: 'v3' } })
  })

  test('the registry’s own time goes along where it tells one, and orders what several tags may deploy', async () => {
    const { host, agent, send } = await pushScene(relay, 'docker-hub')
    const at = new Date('2026-11-26T09:00:00Z')
    await send(SENDERS['docker-hub'].push('v2', at))
    const { id, proof } = await agent.nextDeploy()
    expect(proof).toMatchObject({ at: at.getTime() })
    expect((await host.get(`/deploys/${id}`)).body.request).toMatchObject({ builtAt: at.toISOString() })
  })

  test('of versions the highest counts, and never a lower one than what runs', async () => {
    const { host, agent, push } = await pushScene(relay, 'harbor', { semver: '^1.2', services: ['app1'] })
    expect(await push('2.0.0')).toMatchObject(IGNORED)
    expect(await push('1.3')).toMatchObject(IGNORED)
    expect((await push('1.3.0')).status).toBe(202)
    const { id } = await agent.nextDeploy()
    expect((await host.get(`/deploys/${id}`)).body.request).toEqual({
      image: 'registry.example/acme/hello:1.3.0',
      upgradeOnly: true,
      services: ['app1'],
    })
  })

  test('a body of a GitHub repository that has much to say about itself', async () => {
    const { send } = await pushScene(relay, 'ghcr')
    const { body, ...rest } = SENDERS.ghcr.push('v2')
    const long = JSON.stringify({ ...JSON.parse(body), readme: 'x'.repeat(200_000) })
    expect((await send({ ...rest, body: long })).status).toBe(202)
    const longer = JSON.stringify({ ...JSON.parse(body), readme: 'x'.repeat(300_000) })
    expect((await send({ ...rest, body: longer })).status).toBe(413)
  })
})

describe('nothing else does, and the registry is answered all the same', () => {
  const others = TYPES.flatMap((type) =>
    Object.entries(SENDERS[type].others).map(([what, make]) => [type, what, make] as const),
  )
  test.each(others)('%s: %s', async (type, _, make) => {
    const { agent, send } = await pushScene(relay, type)
    expect(await send(make('v2'))).toMatchObject(IGNORED)
    expect(await agent.drained()).toEqual([])
  })

  test.each(TYPES)(
    '%s: a tag that does not fit, another repository, and what is no notification',
    async (type) => {
      const { send, agent } = await pushScene(relay, type)
      expect(await send(SENDERS[type].push('nightly'))).toMatchObject(IGNORED)
      for (const body of ['[]', '"text"', '7', 'null', '{}', `{"events":{}}`, `{"__proto__":{"events":[]}}`])
        expect(
          await send({ body, ...(type === 'zot' ? { headers: { 'ce-type': 'x' } } : {}) }),
        ).toMatchObject(IGNORED)
      expect(await send({ body: '['.repeat(100_000) })).toMatchObject({ status: 400 })
      expect(await send({ body: '{' })).toMatchObject({ status: 400 })
      const elsewhere = await pushScene(relay, type, { path: 'acme/another' })
      expect((await elsewhere.push('v2')).body.reason).toMatch(/is not acme\/another/)
      expect(await agent.drained()).toEqual([])
    },
  )
})

describe('who is not the registry gets the one answer', () => {
  test.each(TYPES)('%s: no credential, another secret’s, another kind’s', async (type) => {
    const { host, agent, issuer, secret } = await pushScene(relay, type)
    const { body, headers = {} } = SENDERS[type].push('v2')
    const path = host.hookPath('hello', 'push')
    type Shown = Awaited<ReturnType<typeof credentialOf>>
    const post = (over: Shown) =>
      ask(`${relay.url}${path}${over.path ?? ''}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers, ...over.headers },
        body,
      })
    const bad: Shown[] = [{}, { path: `/${'x'.repeat(32)}` }, { headers: { authorization: 'Bearer x' } }]
    const other = await credentialOf(type, { secret: 'another-secret-of-24-chars', body })
    if (type !== 'artifact-registry') bad.push(other)
    for (const as of ['docker-hub', 'ghcr', 'harbor', 'gitlab'] as const) {
      const kind = await credentialOf(as, { secret, body })
      const own = await credentialOf(type, { secret, body, issuer })
      const isAnother =
        JSON.stringify(Object.keys(kind.headers ?? {})) !== JSON.stringify(Object.keys(own.headers ?? {}))
      if (isAnother) bad.push(kind)
    }
    const answers = await Promise.all(bad.map(post))
    const [first] = answers
    expect(first?.status).toBe(401)
    for (const answer of answers) expect([answer.status, answer.body]).toEqual([401, first?.body])
    expect(await agent.drained()).toEqual([])
  })

  test.each([
    ['no prefix', (mac: string) => mac],
    ['an empty signature, as without a secret', () => 'sha256='],
    ['nothing', () => ''],
    ['capitals', (mac: string) => `sha256=${mac.toUpperCase()}`],
    ['another prefix', (mac: string) => `SHA256=${mac}`],
    ['too short', (mac: string) => `sha256=${mac.slice(0, 62)}`],
    ['odd', (mac: string) => `sha256=${mac.slice(0, 63)}`],
    ['too long', (mac: string) => `sha256=${mac}00`],
    ['with separators', (mac: string) => `sha256=${mac.match(/../g)?.join(':')}`],
    ['twice', (mac: string) => `sha256=${mac}, sha256=${mac}`],
    ['one that is none', () => `sha256=${'z'.repeat(64)}`],
  ])('a signature in hex: %s', async (_, make) => {
    const { send, secret } = await pushScene(relay, 'ghcr')
    const sent = SENDERS.ghcr.push('v2')
    const header = make(hmacHex(secret, sent.body))
    expect((await send(sent, { headers: { 'x-hub-signature-256': header } })).status).toBe(401)
    expect(
      (await send(sent, { headers: { 'x-hub-signature-256': `sha256=${hmacHex(secret, sent.body)}` } }))
        .status,
    ).toBe(202)
  })

  test('SHA-1 alone, and the signature of another body', async () => {
    const { send, secret } = await pushScene(relay, 'ghcr')
    const sent = SENDERS.ghcr.push('v2')
    const sha1 = createHash('sha1')
      .update(secret + sent.body)
      .digest('hex')
    const headers = { 'x-hub-signature-256': '', 'x-hub-signature': `sha1=${sha1}` }
    expect((await send(sent, { headers })).status).toBe(401)
    const other = { 'x-hub-signature-256': `sha256=${hmacHex(secret, `${sent.body} `)}` }
    expect((await send(sent, { headers: other })).status).toBe(401)
  })

  test('what GitHub publishes as an example of its signature is one', async () => {
    // https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    const { fittingKey } = await import('../../shared/triggers/credentials.ts')
    const secret = "It's a Secret to Everybody"
    const headers = {
      'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17',
    }
    const credential = { header: 'x-hub-signature-256', prefix: 'sha256=' }
    const verify = (text: string) =>
      fittingKey(credential, [secret], { headers, body: new TextEncoder().encode(text) }, undefined, 0)
    expect(await verify('Hello, World!')).toBe(secret)
    expect(await verify('Hello, World?')).toBeUndefined()
  })

  test.each([
    ['bare', (secret: string) => secret],
    ['as Bearer', (secret: string) => `bearer ${secret}`],
    ['as the password of Basic', (secret: string) => `Basic ${btoa(`octo:${secret}`)}`],
  ])('a secret in a header counts %s', async (_, make) => {
    const { send, secret } = await pushScene(relay, 'distribution')
    const as = (authorization: string) =>
      send(SENDERS.distribution.push('v2'), { headers: { authorization } })
    expect((await as(make(secret))).status).toBe(202)
    expect((await as(`${make(secret)}, ${make(secret)}`)).status).toBe(401)
    expect((await as(make(`${secret}x`))).status).toBe(401)
    expect((await as(make(''))).status).toBe(401)
  })

  test('GitLab: a signature counts by itself, and its token only where none is sent', async () => {
    const secret = `whsec_${btoa('0123456789abcdefghijklmnopqrstuv')}`
    const { send, agent, host } = await pushScene(relay, 'gitlab')
    await agent.close()
    const trigger = pushTrigger('gitlab', { secret, audience: '' })
    await host.agent(['hello'], [trigger])
    const sent = SENDERS.gitlab.push('v2')
    const signed = async (with_: string) =>
      signStandardWebhook(with_, {
        id: 'msg_1',
        timestampSeconds: Math.floor(Date.now() / 1000),
        body: new TextEncoder().encode(sent.body),
      })
    const other = `whsec_${btoa('x123456789abcdefghijklmnopqrstuv')}`
    expect(
      (await send(sent, { headers: { ...(await signed(other)), 'x-gitlab-token': secret } })).status,
    ).toBe(401)
    expect((await send(sent, { headers: { 'x-gitlab-token': secret } })).status).toBe(401)
    expect((await send(sent, { headers: { ...(await signed(secret)), 'x-gitlab-token': '' } })).status).toBe(
      202,
    )
  })

  test.each([
    ['another account', { email: 'mallory@evil.iam.gserviceaccount.com' }],
    ['an address that nobody has verified', { email_verified: false }],
    ['a verified address by a text', { email_verified: 'true' }],
    ['another trigger', { aud: 'https://relay.example/hooks/vps-1/hello/push' }],
    ['another issuer', { iss: 'https://accounts.google.example' }],
    ['yesterday', { iat: 1_700_000_000, exp: 1_700_003_600 }],
  ])('Google’s token for %s', async (_, claims) => {
    const { send, issuer } = await pushScene(relay, 'artifact-registry')
    const good = { email: 'ropeway@acme.iam.gserviceaccount.com', email_verified: true }
    const as = async (said: object) => ({
      headers: { authorization: `Bearer ${await issuer?.token({ ...good, ...said })}` },
    })
    expect((await send(SENDERS['artifact-registry'].push('v2'), await as(claims))).status).toBe(401)
    expect((await send(SENDERS['artifact-registry'].push('v2'), await as({}))).status).toBe(202)
  })

  test('a registry’s credential is none at a trigger of another type, nor a signed request at a registry’s', async () => {
    const { host, send } = await pushScene(relay, 'quay')
    expect((await send(SENDERS.quay.push('v2'), { path: host.hookPath() })).status).toBe(401)
    expect((await host.hook('{}', { path: host.hookPath('hello', 'push') })).status).toBe(401)
  })

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=utf-16', ''])(
    'the type %j is none of theirs',
    async (type) => {
      const { send } = await pushScene(relay, 'harbor')
      expect((await send(SENDERS.harbor.push('v2'), { headers: { 'content-type': type } })).status).toBe(415)
    },
  )
})

describe('one push is many events', () => {
  const settleMs = 500

  test('of a burst of 100 comes one deploy', async () => {
    const limited = await testRelay({ limits: { requests: 1e6, failures: 1e6, perTrigger: 2, perHost: 2 } })
    try {
      const { host, agent, push } = await pushScene(limited, 'quay', { settleMs })
      const answers = await Promise.all(Array.from({ length: 100 }, () => push('v2')))
      const ids = new Set(answers.map(({ body }) => body.deploy.id))
      expect(ids.size).toBe(1)
      expect(answers.map(({ status }) => status).toSorted()).toEqual([...Array(99).fill(200), 202])
      expect(await agent.drained()).toEqual([])
      expect(await agent.nextDeploy()).toMatchObject({ id: [...ids][0] })
      expect(await agent.drained()).toEqual([])
      expect((await host.get('/deploys')).body.deploys).toHaveLength(1)
    } finally {
      await limited.stop()
    }
  })

  test('an agent that comes while it settles gets it once, when it has settled', async () => {
    const { host, agent, push } = await pushScene(relay, 'quay', { settleMs })
    await agent.close()
    const acceptedAt = Date.now()
    const { body } = await push('v2')
    expect(body).toMatchObject({ status: 'accepted', agent: 'offline' })
    const next = await host.agent(['hello'])
    const frame = await next.nextDeploy()
    expect(frame.id).toBe(body.deploy.id)
    expect(Date.now() - acceptedAt).toBeGreaterThanOrEqual(settleMs)
    expect(await next.drained()).toEqual([])
  })

  test('another tag’s push takes its place; what says less does not', async () => {
    const { host, push, agent } = await pushScene(relay, 'quay', { settleMs })
    const first = await push('v2')
    const second = await push('v3')
    expect((await host.get(`/deploys/${first.body.deploy.id}`)).body).toMatchObject({ status: 'superseded' })
    await host.hook('{"env":{"A":"b"}}')
    const frames = [await agent.nextDeploy(), await agent.nextDeploy()]
    expect(frames.map(({ trigger }) => trigger)).toEqual(['deploy', 'push'])
    expect(frames[1]?.id).toBe(second.body.deploy.id)
  })
})

describe('the same again', () => {
  test('what is signed is one request, whatever is sent beside it', async () => {
    const { send } = await pushScene(relay, 'ghcr')
    const sent = SENDERS.ghcr.push('v2')
    const first = await send(sent)
    const again = await send(sent, { headers: { 'x-github-delivery': 'another' } })
    expect(again).toMatchObject({ status: 200, body: { status: 'duplicate', deploy: first.body.deploy } })
  })

  test('the second try of an event is the first, by the id that the registry gave it', async () => {
    const { send } = await pushScene(relay, 'distribution')
    const sent = SENDERS.distribution.push('v2')
    const spaced: Sent = { ...sent, body: JSON.stringify(JSON.parse(sent.body), null, 2) }
    expect([(await send(sent)).status, (await send(spaced)).status]).toEqual([202, 200])
  })

  test('two pushes that look alike are two: what the tag means then is for the agent to see', async () => {
    const { send, agent } = await pushScene(relay, 'quay')
    const sent = SENDERS.quay.push('v2')
    const ids = new Set<string>()
    for (let n = 0; n < 2; n += 1) {
      ids.add((await send(sent)).body.deploy.id)
      await agent.nextDeploy()
    }
    expect(ids.size).toBe(2)
  })
})
