// Requests on their way to the agent, in a real hub: waiting, superseded, expired, declined; and what is left of old logs.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import type { AgentEvent, DeployEvent } from '../../shared/events.ts'
import { EVENTS_KEPT_MAX } from '../../shared/limits.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { ROLL, TestHost, testRelay } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
}, 90_000)
afterAll(() => relay.stop())

const URL_SECRET = 'an-address-nobody-knows_123'

/** A host whose agent has told its triggers and gone. */
async function offline({ ttlMs = 3_600_000 } = {}): Promise<TestHost> {
  const host = await TestHost.enrolled(relay)
  const keys = [await sha256Hex(new TextEncoder().encode(URL_SECRET))]
  const stacks = ['hello', 'other']
  const triggers = stacks.flatMap((stack) => [
    { ...host.trigger(stack), ttlMs },
    { type: 'url' as const, stack, name: 'push', ttlMs, keys },
  ])
  await (await host.agent(stacks, triggers)).close()
  return host
}

const typesOf = async (host: TestHost, id: string): Promise<string[]> =>
  (await host.get(`/deploys/${id}/events`)).body.events.map(({ event }: { event: DeployEvent }) => event.type)
const statusOf = async (host: TestHost, id: string): Promise<string> =>
  (await host.get(`/deploys/${id}`)).body.status

test('of those that wait for a stack, only the newest is delivered; the others say what took their place', async () => {
  const host = await offline()
  const ids: string[] = []
  for (let i = 0; i < 3; i++) ids.push((await host.hook()).body.deploy.id)
  const other = (await host.hook('{}', { path: host.hookPath('other') })).body.deploy.id
  const [first, second, third] = ids
  expect((await host.get(`/deploys/${first}`)).body).toMatchObject({
    status: 'superseded',
    outcome: { type: 'superseded', by: second },
  })
  expect((await host.get(`/deploys/${second}`)).body.outcome).toEqual({ type: 'superseded', by: third })
  const agent = await host.agent(['hello', 'other'])
  expect((await agent.drained()).map((frame) => frame.type === 'deploy' && frame.id)).toEqual([third, other])
  await agent.close()
})

test('one that the agent was offered is the agent’s to supersede', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const offered = (await host.hook()).body.deploy.id
  await agent.close()
  const later = (await host.hook()).body.deploy.id
  expect(await statusOf(host, offered)).toBe('queued')
  const back = await host.agent()
  expect((await back.nextDeploy()).id).toBe(offered)
  expect((await back.nextDeploy()).id).toBe(later)
  back.send({ type: 'declined', deploy: offered, event: { type: 'superseded', by: later } })
  await back.drained()
  expect(await typesOf(host, offered)).toEqual(['accepted', 'superseded'])
  await back.close()
})

test('a hint waits beside what was signed, and takes the place of no more than a hint', async () => {
  const host = await offline()
  const hint = () => host.hook('', { path: `${host.hookPath('hello', 'push')}/${URL_SECRET}` })
  const signed = (await host.hook('{"reason":"v2"}')).body.deploy.id
  const first = await hint()
  const second = await hint()
  expect([first.status, second.status]).toEqual([202, 202])
  expect(await statusOf(host, first.body.deploy.id)).toBe('superseded')
  expect(await statusOf(host, signed)).toBe('queued')
  expect((await host.get(`/deploys/${second.body.deploy.id}`)).body).toMatchObject({
    trust: 'hint',
    trigger: 'push',
    request: {},
  })
  const agent = await host.agent()
  expect((await agent.nextDeploy()).id).toBe(signed)
  expect(await agent.nextDeploy()).toMatchObject({
    id: second.body.deploy.id,
    trigger: 'push',
    proof: { kind: 'hint', nonce: expect.stringMatching(/^[0-9a-f]{32}$/) },
  })
  await agent.close()
})

test('a request expires when its trigger’s time is over, and whoever watches is told', async () => {
  const host = await offline({ ttlMs: 1500 })
  const { id } = (await host.hook()).body.deploy
  const viewer = await host.watch(id)
  expect((await viewer.rest()).map(({ event }) => event.type)).toEqual(['accepted', 'expired'])
  expect((await host.get(`/deploys/${id}`)).body).toMatchObject({
    status: 'expired',
    finishedAt: expect.any(Number),
  })
  const agent = await host.agent()
  expect(await agent.drained()).toEqual([])
  await agent.close()
})

test('one that was offered and never taken expires too; the agent’s word that it ran counts more', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent(['hello'], [{ ...host.trigger(), ttlMs: 1500 }])
  const { id } = (await host.hook()).body.deploy
  await expect.poll(() => statusOf(host, id), { timeout: 10_000 }).toBe('expired')
  agent.report(id, 1, ...ROLL)
  await expect.poll(async () => (await agent.next()).type).toBe('stored')
  expect(await typesOf(host, id)).toEqual([
    'accepted',
    'expired',
    ...ROLL.slice(1).map((event) => event.type),
  ])
  expect(await statusOf(host, id)).toBe('succeeded')
  await agent.close()
})

test('a declined request ends as the agent says, and a viewer sees it', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  const viewer = await host.watch(id)
  const problem = { code: 'request-unverified' as const, message: 'no signature matches' }
  agent.send({ type: 'declined', deploy: id, event: { type: 'failed', ms: 0, problem } })
  expect((await viewer.rest()).at(-1)?.event).toEqual({ type: 'failed', ms: 0, problem })
  // Said again, as it is when it was offered again: nothing changes.
  agent.send({ type: 'declined', deploy: id, event: { type: 'expired' } })
  await agent.drained()
  expect(await typesOf(host, id)).toEqual(['accepted', 'failed'])
  await agent.close()
})

test('a deploy that the agent has taken in cannot be declined any more', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  agent.report(id, 1, { type: 'received' })
  agent.send({ type: 'declined', deploy: id, event: { type: 'expired' } })
  await agent.drained()
  expect(await statusOf(host, id)).toBe('queued')
  await agent.close()
})

test('an agent that talks before its hello, or says hello twice, is cut off', async () => {
  const host = await TestHost.enrolled(relay)
  const early = await host.silentAgent()
  early.report('0000000000000000', 1, { type: 'received' })
  expect(await early.closed()).toMatchObject({ code: 4400, reason: 'hello comes first, and once' })
  const twice = await host.agent()
  twice.send({ type: 'hello', v: 1, agent: 'x', stacks: [], triggers: [], revoked: [] })
  expect((await twice.closed()).code).toBe(4400)
})

test('a log that is too long loses its oldest events but the first, and says so to whoever asks for them', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  const progress: AgentEvent = { type: 'step-progress', step: 0, facts: {} }
  const batch = Array.from({ length: 250 }, () => progress)
  agent.report(id, 1, { type: 'started' })
  const count = EVENTS_KEPT_MAX + 250
  for (let seq = 2; seq < count; seq += batch.length) agent.report(id, seq, ...batch)
  const last = count + 2
  await expect.poll(async () => JSON.stringify(await agent.next())).toContain(`"seq":${last - 1}`)

  const all = (await host.get(`/deploys/${id}/events`)).body.events
  const gap = { type: 'gap', from: 2, to: last - EVENTS_KEPT_MAX + 1 }
  expect(all[0]).toMatchObject({ seq: 1, event: { type: 'accepted' } })
  expect(all[1]).toMatchObject({ seq: gap.to, event: gap })
  expect(all.length).toBe(EVENTS_KEPT_MAX + 1)

  const viewer = await host.watch(id, { 'last-event-id': '5' })
  expect(await viewer.next()).toMatchObject({ seq: gap.to, id: String(gap.to), event: { ...gap, from: 6 } })
  expect((await viewer.next())?.seq).toBe(gap.to + 1)
  viewer.close()
  await agent.close()
})

const rotate = (by: TestHost, publicKey: object, keepSeconds: number) =>
  by.put('/keys', { publicKey, keepSeconds }, { method: 'POST' })

test('a new key counts beside the old one for as long as was asked', async () => {
  const host = await offline()
  const next = await TestHost.unknown(relay, host.name)
  expect((await next.get('')).status).toBe(401)
  expect(await rotate(host, next.publicKey, 3600)).toMatchObject({ status: 200, body: { keys: 2 } })
  expect([(await host.get('')).status, (await next.get('')).status]).toEqual([200, 200])
  // The answer may have been lost: asking again is safe, with the new key as well.
  expect(await rotate(next, next.publicKey, 3600)).toMatchObject({ status: 200, body: { keys: 2 } })
  // The old one still reads and deploys, but it vouches for nobody.
  expect((await rotate(host, host.publicKey, 0)).status).toBe(401)
  const third = await TestHost.unknown(relay, host.name)
  expect(await rotate(next, third.publicKey, 0)).toMatchObject({ status: 200, body: { keys: 1 } })
  expect([(await host.get('')).status, (await next.get('')).status]).toEqual([401, 401])
  expect((await third.get('')).status).toBe(200)
})

test('a revoked token is refused like any other bad one, whoever told the relay of it', async () => {
  const host = await offline()
  const token = await host.token(['read'])
  const { jti } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
  expect((await host.get('', { token })).status).toBe(200)
  expect(await host.put('/revoked', { ids: [jti] })).toMatchObject({ status: 200, body: { revoked: 1 } })
  const refused = await host.get('', { token })
  expect(refused.status).toBe(401)
  expect(refused.body).toEqual((await host.get('', { token: 'x.y.z' })).body)
  // A list replaces the one before: the host's file is the truth.
  await (await host.agent(['hello'], undefined, [])).close()
  expect((await host.get('', { token })).status).toBe(200)
  await (await host.agent(['hello'], undefined, [jti])).close()
  expect((await host.get('', { token })).status).toBe(401)
})

test('whoever watches by a token that does not count any more is sent away', async () => {
  const host = await offline()
  const { id } = (await host.hook()).body.deploy
  const token = await host.token(['read'])
  const { jti } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())
  const [revoked, stays] = [await host.watch(id, { authorization: `Bearer ${token}` }), await host.watch(id)]
  for (const viewer of [revoked, stays]) await viewer.next()
  await host.put('/revoked', { ids: [jti] })
  expect(await revoked.rest()).toEqual([])
  const agent = await host.agent()
  await agent.nextDeploy()
  agent.report(id, 1, { type: 'received' })
  expect((await stays.next())?.event.type).toBe('received')

  const next = await TestHost.unknown(relay, host.name)
  await rotate(host, next.publicKey, 0)
  expect(await stays.rest()).toEqual([])
  await agent.close()
})

test('a session ends with the key of the token that it was made from', async () => {
  const host = await offline()
  const made = await host.put('/session', {}, { method: 'POST', scopes: ['read'] })
  const cookie = made.headers.get('set-cookie')?.split(';')[0] ?? ''
  const status = async () =>
    (await fetch(`${relay.url}/v1/hosts/${host.name}`, { headers: { cookie } })).status
  expect(await status()).toBe(200)
  const next = await TestHost.unknown(relay, host.name)
  await rotate(host, next.publicKey, 3600)
  expect(await status()).toBe(200)
  const third = await TestHost.unknown(relay, host.name)
  await rotate(next, third.publicKey, 0)
  expect(await status()).toBe(401)
})
