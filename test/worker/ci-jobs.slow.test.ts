// Tokens of CI jobs at the real Worker: who gets in, what their job sees, and everything that must not.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { ISSUER_CLOCK_SECONDS_MAX } from '../../shared/limits.ts'
import { boundAudience, type OidcTrigger } from '../../shared/triggers/oidc.ts'
import { CONFUSED } from '../support/bad-tokens.ts'
import { ciScene } from '../support/ci-scene.ts'
import { signingKey } from '../support/issuer.ts'
import { EventStream, ROLL, testRelay, type TestHost } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
})
afterAll(() => relay.stop())

const SUCCEEDED = { type: 'succeeded', ms: 1, changed: true, services: {} } as const
const scene = (over?: Partial<OidcTrigger>) => ciScene(relay, over)
const stale = async (host: TestHost) =>
  (await host.get('/stacks/hello')).body.triggers.find(({ name }: { name: string }) => name === 'ci').stale

test('a job’s token asks for a deploy, and goes to the agent as it came', async () => {
  const { issuer, agent, send, host } = await scene()
  const token = await issuer.token()
  const answer = await send(token)
  expect(answer).toMatchObject({ status: 202, body: { status: 'accepted' } })
  const frame = await agent.nextDeploy()
  expect(frame).toMatchObject({ id: answer.body.deploy.id, trigger: 'ci', proof: { kind: 'oidc', token } })
  expect((await host.get(`/deploys/${frame.id}`)).body).toMatchObject({
    actor: 'ci:octocat',
    trust: 'signed',
  })
})

test('with ?wait the job sees every event to the end, and only of its own stack', async () => {
  const { issuer, agent, audience } = await scene()
  const stream = await EventStream.open(`${audience}?wait`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await issuer.token()}`, 'content-type': 'application/json' },
    body: '{}',
  })
  const { id } = await agent.nextDeploy()
  agent.report(id, 1, ...ROLL)
  const types = (await stream.rest()).map(({ event }) => event.type)
  expect(types).toEqual(['accepted', ...ROLL.map(({ type }) => type)])
})

test('a signed webhook can wait as well', async () => {
  const { host, agent } = await scene()
  const { signStandardWebhook } = await import('../../shared/triggers/standard-webhooks.ts')
  const headers = await signStandardWebhook(host.secret, {
    id: 'msg_wait',
    timestampSeconds: Math.floor(Date.now() / 1000),
    body: new TextEncoder().encode('{}'),
  })
  const stream = await EventStream.open(`${relay.url}${host.hookPath()}?wait`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: '{}',
  })
  const { id } = await agent.nextDeploy()
  agent.report(id, 1, ...ROLL)
  expect((await stream.rest()).at(-1)?.event.type).toBe('succeeded')
})

test('a token that has expired asks for nothing, but still follows what it had asked for', async () => {
  const { issuer, send, agent, audience } = await scene()
  // Good for three seconds more, by the grace that an issuer's clock has.
  const exp = Math.floor(Date.now() / 1000) - ISSUER_CLOCK_SECONDS_MAX + 3
  const times = { iat: exp - 300, nbf: exp - 300, exp }
  const [used, other] = [await issuer.token(times), await issuer.token(times)]
  const first = await send(used)
  expect(first.status).toBe(202)
  while (Date.now() < (exp + ISSUER_CLOCK_SECONDS_MAX + 1) * 1000)
    await new Promise((resolve) => setTimeout(resolve, 200))
  expect((await send(other)).status).toBe(401)
  expect((await send(used, '{"reason":"another"}')).status).toBe(403)
  expect(await send(used)).toMatchObject({
    status: 200,
    body: { status: 'duplicate', deploy: first.body.deploy },
  })
  const { id } = await agent.nextDeploy()
  const stream = await EventStream.open(`${audience}?wait`, {
    method: 'POST',
    headers: { authorization: `Bearer ${used}`, 'content-type': 'application/json' },
    body: '{"reason":"ci"}',
  })
  expect(await agent.drained()).toEqual([])
  agent.report(id, 1, ...ROLL)
  expect((await stream.rest()).at(-1)?.event.type).toBe('succeeded')
})

describe('a token is used once', () => {
  test('the same again is the same deploy; with another body it is refused', async () => {
    const { issuer, send, agent } = await scene()
    const token = await issuer.token()
    const first = await send(token)
    expect(await send(token)).toMatchObject({
      status: 200,
      body: { status: 'duplicate', deploy: first.body.deploy },
    })
    expect((await send(token, '{"reason":"another"}')).status).toBe(403)
    expect(await agent.drained()).toHaveLength(1)
  })

  test('the same again is what names the same tag and digest', async () => {
    const { issuer, send, agent, host } = await scene()
    const token = await issuer.token()
    const request = { tag: 'v2', digest: `sha256:${'a'.repeat(64)}` }
    expect((await send(token, JSON.stringify(request))).status).toBe(202)
    expect((await send(token, JSON.stringify(request))).status).toBe(200)
    expect((await send(token, JSON.stringify({ ...request, tag: 'v3' }))).status).toBe(403)
    const { id } = await agent.nextDeploy()
    const images = { app2: `ghcr.io/acme/hello:v2@${request.digest}` }
    agent.report(id, 1, ...ROLL.slice(0, -1), { ...SUCCEEDED, images })
    const stream = await host.watch(id)
    await stream.rest()
    expect((await host.get(`/deploys/${id}`)).body).toMatchObject({ request, outcome: { images } })
  })

  test('GitLab’s serve for a job: once for each idempotency key, or for each body', async () => {
    const claims = { project_id: ['7'], ref_protected: ['true'] }
    const { issuer, send } = await scene({ type: 'gitlab-ci', claims })
    const token = await issuer.token({ project_id: '7', ref_protected: 'true' })
    const ids = new Set<string>()
    for (const [body, headers] of [
      ['{"reason":"a"}', {}],
      ['{"reason":"a"}', {}],
      ['{"reason":"b"}', {}],
      ['{"reason":"a"}', { 'idempotency-key': 'one' }],
      ['{"reason":"a"}', { 'idempotency-key': 'one' }],
    ] as const)
      ids.add((await send(token, body, headers)).body.deploy.id)
    expect(ids.size).toBe(3)
    expect((await send(token, '{"reason":"b"}', { 'idempotency-key': 'one' })).status).toBe(403)
    expect((await send(token, '{}', { 'idempotency-key': 'no, not this' })).status).toBe(401)
  })

  test('where the trigger says bind, a token for any body is nobody’s', async () => {
    const { issuer, send, audience } = await scene({ bind: true })
    expect((await send(await issuer.token())).status).toBe(401)
    const body = '{"reason":"bound"}'
    const token = await issuer.token({ aud: await boundAudience(audience, new TextEncoder().encode(body)) })
    expect((await send(token, `${body} `)).status).toBe(401)
    expect((await send(token, body)).status).toBe(202)
  })
})

describe('whatever is wrong, the answer is the same', () => {
  test('two Authorizations, a gate of another type, and none', async () => {
    const { issuer, send, host } = await scene()
    const token = await issuer.token()
    expect((await send(`${token}, Bearer ${token}`)).status).toBe(401)
    const elsewhere = { authorization: `Bearer ${token}` }
    expect(
      (await host.hook('{}', { secret: `whsec_${btoa('x'.repeat(32))}`, headers: elsewhere })).status,
    ).toBe(401)
    expect((await host.hook('{}', { path: host.hookPath('hello', 'ci') })).status).toBe(401)
  })

  test.each(['a fork', 'pull_request_target, whose ref is the base’s'])(
    'the host’s people see why: %s',
    async (name) => {
      const { issuer, host, send, audience } = await scene()
      await send(await CONFUSED[name]!(issuer, audience))
      expect((await stale(host)).message).toMatch(
        /genuine, but (repository_id is "5"|event_name is "pull_request_target")/,
      )
    },
  )
})

describe('the issuer', () => {
  test('signs with another key: what it publishes counts, not what the trigger was made with', async () => {
    const { issuer, send } = await scene()
    issuer.key = await signingKey('two')
    issuer.published = [issuer.key.publicJwk]
    expect((await send(await issuer.token())).status).toBe(202)
  })

  test('is out: known keys go on counting', async () => {
    const { issuer, send } = await scene()
    await send(await issuer.token())
    issuer.status = 500
    expect((await send(await issuer.token())).status).toBe(202)
  })

  test('is asked once, however many unknown keys come', async () => {
    const { issuer, send } = await scene()
    const key = await signingKey('flood')
    const tokens = await Promise.all(Array.from({ length: 20 }, () => issuer.token({}, { key })))
    const answers = await Promise.all(tokens.map((token) => send(token)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]))
    expect(issuer.asked.count).toBe(1)
  })

  test('is never asked for a token that is not for this trigger', async () => {
    const { issuer, send } = await scene()
    await send(await issuer.token({ iss: 'https://other.example' }))
    expect(issuer.asked.count).toBe(0)
  })
})
