// The way of a request: hook, frame to the agent, the agent's events, viewers, the end.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import {
  acceptedSchema,
  deployDetailsSchema,
  eventsSchema,
  hostSchema,
  stackSchema,
} from '../../shared/api.ts'
import { REQUEST_TTL_MS } from '../../shared/limits.ts'
import { fromBase64, fromHubSchema } from '../../shared/protocol.ts'
import { fingerprint } from '../../shared/triggers/index.ts'
import { ROLL, TestHost, ask, testRelay } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
}, 30_000)
afterAll(() => relay.stop())

test('a hook becomes a frame, its events reach the viewer, and the stream ends with the final one', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const body = '{"env":{"MESSAGE":"{service},v2"},"reason":"because"}'
  const accepted = await host.hook(body, { id: 'msg_1' })
  expect(accepted.status).toBe(202)
  const { deploy } = acceptedSchema.parse(accepted.body)
  expect(accepted.body).toEqual({
    status: 'accepted',
    deploy: {
      id: deploy.id,
      host: host.name,
      stack: 'hello',
      url: `${relay.url}/v1/hosts/${host.name}/deploys/${deploy.id}`,
    },
    agent: 'online',
  })

  const frame = await agent.nextDeploy()
  expect(fromHubSchema.parse(frame)).toEqual(frame)
  expect(frame).toMatchObject({ type: 'deploy', id: deploy.id, stack: 'hello', trigger: 'deploy' })
  expect(Object.keys(frame.proof.kind === 'hook' ? frame.proof.headers : {})).toEqual([
    'webhook-id',
    'webhook-timestamp',
    'webhook-signature',
  ])
  expect(frame.proof.kind === 'hook' && new TextDecoder().decode(fromBase64(frame.proof.body))).toBe(body)

  const viewer = await host.watch(deploy.id)
  expect(viewer.response.headers.get('content-type')).toContain('text/event-stream')
  expect(await viewer.next()).toMatchObject({
    id: '1',
    seq: 1,
    event: { type: 'accepted', trust: 'signed', env: { MESSAGE: '{service},v2' }, reason: 'because' },
  })
  for (const [i, event] of ROLL.entries()) {
    agent.report(deploy.id, i + 1, event)
    expect(await agent.next()).toEqual({ type: 'stored', deploy: deploy.id, seq: i + 1 })
    expect(await viewer.next()).toMatchObject({ id: String(i + 2), seq: i + 2, event })
  }
  expect(await viewer.next()).toBeUndefined()

  const events = eventsSchema.parse((await host.get(`/deploys/${deploy.id}/events`)).body)
  expect(events.deploy.status).toBe('succeeded')
  expect(events.events.map(({ event }) => event).slice(1)).toEqual(ROLL)
  const details = deployDetailsSchema.parse((await host.get(`/deploys/${deploy.id}`)).body)
  expect(details).toMatchObject({
    status: 'succeeded',
    actor: 'deploy',
    request: { env: { MESSAGE: '{service},v2' }, reason: 'because' },
    outcome: ROLL.at(-1),
  })
  expect(details.finishedAt).toBeGreaterThanOrEqual(details.acceptedAt)
  await agent.close()
})

test('a late viewer gets everything, one that resumes gets the rest', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  agent.report(id, 1, ...ROLL.slice(0, 3))
  await agent.next()

  const resumed = await host.watch(id, { 'last-event-id': '3' })
  expect(await resumed.next()).toMatchObject({ id: '4', event: { type: 'planned' } })
  agent.report(id, 4, ...ROLL.slice(3))
  await agent.next()
  expect((await resumed.rest()).map(({ seq }) => seq)).toEqual([5, 6, 7])
  expect((await (await host.watch(id)).rest()).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7])
  expect((await (await host.watch(id, { 'last-event-id': '6' })).rest()).map(({ seq }) => seq)).toEqual([7])
  expect(await (await host.watch(id, { 'last-event-id': '7' })).rest()).toEqual([])
  expect((await (await host.watch(id, { 'last-event-id': 'x' })).rest()).length).toBe(7)
  const json = await host.get(`/deploys/${id}/events`, { headers: { 'last-event-id': '5' } })
  expect(json.body.events.map((event: { seq: number }) => event.seq)).toEqual([6, 7])
  await agent.close()
})

test('a viewer that has seen all there is waits for more', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  const viewer = await host.watch(id, { 'last-event-id': '1' })
  expect(viewer.response.status).toBe(200)
  agent.report(id, 1, { type: 'received' })
  expect(await viewer.next()).toMatchObject({ id: '2', event: { type: 'received' } })
  viewer.close()
  await agent.close()
})

test('a viewer that does not read is cut off, and gets the rest when it comes back', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  const slow = await host.watch(id)
  const count = 900
  const message = 'x'.repeat(60_000)
  for (let seq = 1; seq <= count; seq++) {
    agent.report(id, seq, { type: 'warning', problem: { code: 'deadline', message } })
    // The deploy does not wait for the reader.
    expect(await agent.next()).toEqual({ type: 'stored', deploy: id, seq })
  }
  agent.report(id, count + 1, { type: 'cancelled' })
  await agent.next()

  const seen = (await slow.rest()).map(({ seq }) => seq)
  expect(seen.length).toBeGreaterThan(0)
  expect(seen.length).toBeLessThan(count)
  for (let visits = 0; seen.length < count + 2; visits++) {
    expect(visits).toBeLessThan(count)
    seen.push(
      ...(await (await host.watch(id, { 'last-event-id': String(seen.at(-1)) })).rest()).map(
        ({ seq }) => seq,
      ),
    )
  }
  expect(seen).toEqual(Array.from({ length: count + 2 }, (_, i) => i + 1))
  await agent.close()
}, 60_000)

test('a viewer that goes away does not disturb the others', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  const [gone, stays] = [await host.watch(id), await host.watch(id)]
  await gone.next()
  await stays.next()
  gone.close()
  for (const [i, event] of ROLL.entries()) agent.report(id, i + 1, event)
  expect((await stays.rest()).length).toBe(ROLL.length)
  await agent.close()
})

test('the host, its stacks and its deploys can be read, secrets never', async () => {
  const host = await TestHost.enrolled(relay)
  expect((await host.get('')).body).toEqual({
    host: host.name,
    agent: { status: 'offline', since: null, lastSeen: null, version: null },
    stacks: [],
  })
  const agent = await host.agent(['hello', 'other'])
  const first = (await host.hook()).body.deploy.id
  const second = (await host.hook('{}', { path: host.hookPath('other') })).body.deploy.id
  const third = (await host.hook('{}', { path: host.hookPath('other') })).body.deploy.id

  const state = await host.get('')
  expect(hostSchema.parse(state.body)).toMatchObject({
    agent: { status: 'online', version: '0.0.0-test' },
    stacks: ['hello', 'other'],
  })
  const stack = await host.get('/stacks/other')
  expect(stackSchema.parse(stack.body)).toMatchObject({
    stack: 'other',
    triggers: [
      {
        name: 'deploy',
        type: 'standard-webhooks',
        ttlMs: REQUEST_TTL_MS,
        keys: [{ fingerprint: await fingerprint(host.secret), lastUsed: expect.any(Number) }],
        stale: null,
      },
    ],
    latest: { id: third, status: 'queued' },
  })
  const ids = async (query: string) =>
    (await host.get(`/deploys${query}`)).body.deploys.map((deploy: { id: string }) => deploy.id)
  expect(await ids('')).toEqual([third, second, first])
  expect(await ids('?stack=hello')).toEqual([first])
  expect(await ids('?limit=1')).toEqual([third])
  for (const bad of ['0', '101', 'x', '1.5'])
    expect((await host.get(`/deploys?limit=${bad}`)).status).toBe(400)
  expect((await host.get('/stacks/none')).body.error.code).toBe('stack-unknown')
  expect((await host.get('/deploys/0000000000000000')).body.error.code).toBe('not-found')

  const everything = [state, stack, await host.get('/deploys'), await host.get(`/deploys/${first}`)]
  everything.push(await host.get(`/deploys/${first}/events`))
  expect(JSON.stringify(everything)).not.toContain(host.secret.slice(6))
  await agent.close()
  const offline = (await host.get('')).body.agent
  expect(offline).toMatchObject({ status: 'offline', version: '0.0.0-test' })
  expect(Date.now() - offline.lastSeen).toBeLessThan(5000)
})

test('a token may only see its own stacks', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent(['hello', 'other'])
  const mine = (await host.hook()).body.deploy.id
  const theirs = (await host.hook('{}', { path: host.hookPath('other') })).body.deploy.id
  const token = await host.token(['read'], { stacks: ['hello'] })
  expect((await host.get('', { token })).body.stacks).toEqual(['hello'])
  expect((await host.get('/stacks/other', { token })).status).toBe(404)
  expect((await host.get('/deploys', { token })).body.deploys).toMatchObject([{ id: mine }])
  expect((await host.get('/deploys?stack=other', { token })).body.deploys).toEqual([])
  expect((await host.get(`/deploys/${mine}`, { token })).status).toBe(200)
  expect((await host.get(`/deploys/${theirs}`, { token })).status).toBe(404)
  expect((await host.get(`/deploys/${theirs}/events`, { token })).status).toBe(404)
  const stream = await host.watch(theirs, { authorization: `Bearer ${token}` })
  expect(stream.response.status).toBe(404)
  await agent.close()
})

test('a deploy by token, followed to its end on the same request', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const accepted = await host.deploy('{"image":"hello:v2"}', { headers: { 'idempotency-key': 'k1' } })
  expect(accepted.status).toBe(202)
  const { id } = accepted.body.deploy
  expect(await agent.nextDeploy()).toMatchObject({
    id,
    trigger: 'api',
    proof: { kind: 'token', idempotencyKey: 'k1' },
  })

  const waiting = fetch(`${relay.url}/v1/hosts/${host.name}/stacks/hello/deploys?wait`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await host.token(['deploy'])}`, 'content-type': 'application/json' },
    body: '{}',
  })
  const next = await agent.nextDeploy()
  expect(next.proof).toMatchObject({
    kind: 'token',
    idempotencyKey: expect.stringMatching(/^[0-9a-f-]{36}$/),
  })
  agent.report(next.id, 1, ...ROLL)
  const text = await (await waiting).text()
  expect(text.match(/"type":"[a-z-]+"/g)).toEqual(
    expect.arrayContaining(['"type":"accepted"', '"type":"succeeded"']),
  )
  expect(text.match(/^id: /gm)?.length).toBe(ROLL.length + 1)
  await agent.close()
})

test('the same request by token has the same id, another has another', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const token = await host.token(['deploy'])
  const key = { 'idempotency-key': randomUUID() }
  const first = await host.deploy('{}', { token, headers: key })
  const again = await host.deploy('{}', { token, headers: key })
  expect([first.status, again.status]).toEqual([202, 200])
  expect(again.body).toMatchObject({ status: 'duplicate', deploy: { id: first.body.deploy.id } })
  expect((await host.deploy('{"reason":"x"}', { token, headers: key })).status).toBe(202)
  expect((await host.deploy('{}', { token })).status).toBe(202)
  expect((await host.deploy('{}', { token, headers: { 'idempotency-key': 'a b' } })).status).toBe(400)
  await agent.close()
})

test('enrolment binds a name to the first key', async () => {
  const host = await TestHost.unknown(relay)
  expect(await host.enroll()).toMatchObject({ status: 201, body: { status: 'enrolled', host: host.name } })
  expect(await host.enroll({ ...host.publicKey, use: 'sig', kid: 'x' })).toMatchObject({
    status: 200,
    body: { status: 'known' },
  })
  const other = await TestHost.unknown(relay, host.name)
  expect(await other.enroll()).toMatchObject({ status: 409, body: { error: { code: 'host-taken' } } })
  expect((await host.get('')).status).toBe(200)
  expect((await other.get('')).status).toBe(401)
})

test.each([
  ['no key type', { crv: 'Ed25519', x: 'A'.repeat(43) }],
  ['another curve', { kty: 'OKP', crv: 'X25519', x: 'A'.repeat(43) }],
  ['another key type', { kty: 'RSA', n: 'AQAB', e: 'AQAB' }],
  ['31 bytes', { kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(42) }],
  ['bits beyond the 32 bytes', { kty: 'OKP', crv: 'Ed25519', x: `${'A'.repeat(42)}B` }],
  ['a list', []],
])('enrolment refuses a public key with %s', async (_, publicKey) => {
  const host = await TestHost.unknown(relay)
  expect(await host.enroll(publicKey)).toMatchObject({
    status: 400,
    body: { error: { code: 'request-invalid' } },
  })
})

test('enrolment refuses a wrong enrolment key, an empty one, a bad name and a bad body', async () => {
  const host = await TestHost.unknown(relay)
  expect((await host.enroll(host.publicKey, 'wrong')).status).toBe(401)
  expect((await host.enroll(host.publicKey, '')).status).toBe(401)
  expect((await (await TestHost.unknown(relay, 'Not-A-Name')).enroll()).status).toBe(400)
  const notJson = await ask(`${relay.url}/v1/hosts/${host.name}/enroll`, {
    method: 'POST',
    headers: { authorization: 'Bearer test-enrolment-key', 'content-type': 'application/json' },
    body: '{',
  })
  expect(notJson.status).toBe(400)
})

test('health, the OpenAPI document, and a route that is not there', async () => {
  expect((await ask(`${relay.url}/healthz`)).body).toEqual({ status: 'ok' })
  const missing = await ask(`${relay.url}/nothing`, { method: 'POST', body: 'x' })
  expect(missing).toMatchObject({ status: 404, body: { error: { code: 'not-found' } } })
  const { body } = await ask(`${relay.url}/openapi.json`)
  expect(body.openapi).toBe('3.1.0')
  expect(Object.keys(body.paths).length).toBe(20)
  const references = JSON.stringify(body).match(/#\/components\/schemas\/\w+/g) ?? []
  for (const reference of references)
    expect(body.components.schemas).toHaveProperty(reference.split('/').at(-1)!)
  for (const [path, methods] of Object.entries<object>(body.paths))
    for (const method of Object.keys(methods)) {
      const url = relay.url + path.replace('{host}', 'nobody').replaceAll(/\{\w+\}/g, 'x')
      const text = await (await fetch(url, { method })).text()
      expect.soft(text, `${method} ${path}`).not.toContain('there is no such route')
    }
})
