// The agent's socket, well behaved and not: who counts as the agent, which events are taken, what closes it.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { FRAME_BYTES_MAX } from '../../shared/limits.ts'
import { ROLL, TestHost, testRelay } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
}, 30_000)
afterAll(() => relay.stop())

/** A host whose agent has just got a deploy. */
async function withDeploy() {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  const seqs = async () =>
    (await host.get(`/deploys/${id}/events`)).body.events.map(({ seq }: { seq: number }) => seq)
  return { host, agent, id, seqs }
}

test('what was accepted while the agent was away comes after its hello, in order', async () => {
  const host = await TestHost.enrolled(relay)
  await (await host.agent(['hello', 'other', 'third'])).close()
  const accepted = [
    await host.hook(),
    await host.hook('{}', { path: host.hookPath('other') }),
    await host.deploy('{}', { stack: 'third' }),
  ]
  expect(accepted.map(({ body }) => body.agent)).toEqual(['offline', 'offline', 'offline'])
  const agent = await host.agent()
  for (const { body } of accepted) expect((await agent.nextDeploy()).id).toBe(body.deploy.id)
  await agent.close()
})

test('before its hello an agent gets nothing, after it everything', async () => {
  const host = await TestHost.enrolled(relay)
  await (await host.agent()).close()
  const agent = await host.silentAgent()
  const { body } = await host.hook()
  expect(body.agent).toBe('online')
  expect(await agent.drained()).toEqual([])
  agent.send({ type: 'hello', v: 1, agent: 'x', stacks: ['hello'], triggers: [], revoked: [] })
  expect(await agent.next()).toMatchObject({ type: 'welcome', v: 2, generation: 2 })
  expect((await agent.nextDeploy()).id).toBe(body.deploy.id)
  await agent.close()
})

test('a running deploy is sent again after a hello, a finished one is not', async () => {
  const { host, agent, id } = await withDeploy()
  agent.report(id, 1, ...ROLL.slice(0, 2))
  await agent.next()
  await agent.close()
  const again = await host.agent()
  expect((await again.nextDeploy()).id).toBe(id)
  again.report(id, 3, ...ROLL.slice(2))
  await again.next()
  await again.close()
  const finished = await host.agent()
  expect(await finished.drained()).toEqual([])
  await finished.close()
})

test('a hello replaces stacks and triggers', async () => {
  const host = await TestHost.enrolled(relay)
  await (await host.agent(['hello', 'other'])).close()
  await (await host.agent(['other'])).close()
  expect((await host.get('')).body.stacks).toEqual(['other'])
  expect((await host.hook()).status).toBe(401)
  expect((await host.hook('{}', { path: host.hookPath('other') })).status).toBe(202)
})

test('39: a second agent replaces the first, whose frames no longer count', async () => {
  const { host, agent, id, seqs } = await withDeploy()
  // The first does not hear that it was replaced, and goes on talking.
  agent.socket.pause()
  const second = await host.agent()
  expect((await second.nextDeploy()).id).toBe(id)
  agent.report(id, 1, ...ROLL)
  await second.drained()
  expect(await seqs()).toEqual([1])
  agent.socket.resume()
  expect(await agent.closed()).toEqual({ code: 4001, reason: 'replaced' })
  expect(await seqs()).toEqual([1])
  second.report(id, 1, { type: 'received' })
  expect(await second.next()).toEqual({ type: 'stored', deploy: id, seq: 1 })
  const after = await host.hook()
  expect(after.body.agent).toBe('online')
  expect((await second.nextDeploy()).id).toBe(after.body.deploy.id)
  await second.close()
})

test('39: replayed events are acknowledged and stored once', async () => {
  const { agent, id, seqs } = await withDeploy()
  agent.report(id, 1, ...ROLL.slice(0, 3))
  agent.report(id, 1, ...ROLL.slice(0, 3))
  agent.report(id, 2, ...ROLL.slice(1, 5))
  agent.report(id, 1, ...ROLL.slice(0, 1))
  for (const seq of [3, 3, 5, 5]) expect(await agent.next()).toEqual({ type: 'stored', deploy: id, seq })
  expect(await seqs()).toEqual([1, 2, 3, 4, 5, 6])
  await agent.close()
})

test('39: a hole in the events closes the socket and stores nothing of the frame', async () => {
  const { agent, id, seqs } = await withDeploy()
  agent.report(id, 1, ...ROLL.slice(0, 1))
  await agent.next()
  agent.send({
    type: 'events',
    deploy: id,
    events: [
      { seq: 2, at: 1, event: { type: 'started' } },
      { seq: 4, at: 1, event: { type: 'cancelled' } },
    ],
  })
  expect((await agent.closed()).code).toBe(4400)
  expect(await seqs()).toEqual([1, 2])
})

test('events after the final one are acknowledged and dropped', async () => {
  const { host, agent, id, seqs } = await withDeploy()
  agent.report(id, 1, ...ROLL, { type: 'cancelled' })
  expect(await agent.next()).toMatchObject({ type: 'stored', seq: ROLL.length + 1 })
  agent.report(id, 20, { type: 'expired' })
  expect(await agent.next()).toMatchObject({ type: 'stored', seq: 20 })
  expect((await seqs()).length).toBe(ROLL.length + 1)
  expect((await host.get(`/deploys/${id}`)).body).toMatchObject({
    status: 'succeeded',
    outcome: { type: 'succeeded' },
  })
  await agent.close()
})

test('39: events of another host’s deploy, or of none, are acknowledged and change nothing', async () => {
  const { host, agent, id, seqs } = await withDeploy()
  const stranger = await (await TestHost.enrolled(relay)).agent()
  for (const deploy of [id, '0000000000000000']) {
    stranger.report(deploy, 1, { type: 'cancelled' })
    expect(await stranger.next()).toEqual({ type: 'stored', deploy, seq: 1 })
  }
  expect(await seqs()).toEqual([1])
  expect((await host.get(`/deploys/${id}`)).body.status).toBe('queued')
  await agent.close()
  await stranger.close()
})

test.each<[string, string | Buffer, number]>([
  ['binary', Buffer.from('{}'), 4400],
  ['no JSON', 'x', 4400],
  ['deep JSON', '['.repeat(50_000), 4400],
  ['a type that is no word', '{"type":"re boot"}', 4400],
  ['no type', '{}', 4400],
  ['events without any', '{"type":"events","deploy":"0000000000000000","events":[]}', 4400],
  [
    'an event without a type',
    '{"type":"events","deploy":"0000000000000000","events":[{"seq":1,"at":1,"event":{"text":"x"}}]}',
    4400,
  ],
  [
    'a deploy id that is none',
    '{"type":"events","deploy":"../x","events":[{"seq":1,"at":1,"event":{"type":"started"}}]}',
    4400,
  ],
  [
    'wrong at a place with a long name that is not ASCII',
    JSON.stringify({
      type: 'events',
      deploy: '0000000000000000',
      events: [{ seq: 1, at: 1, event: { type: 'step-progress', step: 0, facts: { ['é'.repeat(90)]: [] } } }],
    }),
    4400,
  ],
  ['over 64 KiB', ' '.repeat(FRAME_BYTES_MAX + 1), 1009],
])('39: a frame that is %s closes the socket', async (_, frame, code) => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  agent.socket.send(frame)
  expect((await agent.closed()).code).toBe(code)
})

test('what a newer agent says is kept, and shown to who watches; what it cannot verify by, it refuses', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.silentAgent()
  const newer = { type: 'brewed', stack: 'hello', name: 'pot', ttlMs: 60_000, keys: [host.secret] }
  const hello = { type: 'hello', v: 3, agent: 'x', stacks: ['hello'], triggers: [newer, host.trigger()] }
  agent.socket.send(JSON.stringify({ ...hello, chats: [{ type: 'brewed', name: 'cafe' }] }))
  expect(await agent.next()).toMatchObject({
    type: 'welcome',
    unknown: ['hello/pot (brewed)', 'chat cafe (brewed)'],
  })
  expect((await host.hook('{}', { path: host.hookPath('hello', 'pot') })).status).toBe(401)
  expect((await host.hook('{}', { path: host.hookPath('hello', 'nobody') })).status).toBe(401)
  expect((await host.get('/stacks/hello')).body.triggers).toMatchObject([
    { name: 'pot', type: 'brewed', keys: [], fault: expect.stringContaining('update the relay') },
    { name: 'deploy' },
  ])
  const id = (await host.hook()).body.deploy.id
  await agent.nextDeploy()
  const said = [
    { type: 'brewed', text: 'brewed it', more: [1] },
    { type: 'undoing', steps: [{ kind: 'brew', text: 'brew it', more: 1 }] },
    { type: 'step-failed', step: 0, ms: 1, problem: { code: 'too-hot', message: 'it is' } },
  ]
  const events = said.map((event, i) => ({ seq: i + 1, at: 1, event }))
  for (const frame of [
    { type: 'brew' },
    { type: 'declined', deploy: id, event: { type: 'brewed' } },
    { type: 'events', deploy: id, events: events.slice(0, 1) },
  ])
    agent.socket.send(JSON.stringify(frame))
  expect(await agent.next()).toEqual({ type: 'stored', deploy: id, seq: 1 })
  // It changes no status.
  expect((await host.get(`/deploys/${id}`)).body.status).toBe('queued')
  agent.socket.send(JSON.stringify({ type: 'events', deploy: id, events: events.slice(1) }))
  expect(await agent.next()).toEqual({ type: 'stored', deploy: id, seq: 3 })
  const { body } = await host.get(`/deploys/${id}/events`)
  expect(body.events.slice(1).map(({ event }: { event: object }) => event)).toEqual(said)
  await agent.close()
})

test('39: a frame of 33 MiB ends the connection and nothing else', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  agent.socket.send(' '.repeat(33 * 1024 * 1024))
  await expect.poll(async () => (await host.get('')).body.agent.status).toBe('offline')
  agent.socket.terminate()
  const again = await host.agent()
  expect((await host.hook()).body.agent).toBe('online')
  await again.close()
})

test('fields that a newer agent may send are ignored', async () => {
  const { agent, id } = await withDeploy()
  agent.socket.send(
    JSON.stringify({
      type: 'events',
      deploy: id,
      new: 1,
      events: [{ seq: 1, at: 1, event: { type: 'received', new: 1 }, new: 1 }],
    }),
  )
  expect(await agent.next()).toEqual({ type: 'stored', deploy: id, seq: 1 })
  await agent.close()
})

test('the hub sleeps, agent and viewer stay connected, and events flow', async () => {
  const { host, agent, id } = await withDeploy()
  const viewer = await host.watch(id)
  expect((await viewer.next())?.event.type).toBe('accepted')
  const sleep = () =>
    relay.miniflare.unsafeEvictDurableObject('ropeway', 'Hub', { name: host.name, webSockets: 'hibernate' })

  await sleep()
  agent.report(id, 1, ...ROLL.slice(0, 2))
  expect(await agent.next()).toEqual({ type: 'stored', deploy: id, seq: 2 })
  expect((await viewer.next())?.event.type).toBe('received')
  await sleep()
  const second = await host.hook()
  expect(second.body.agent).toBe('online')
  expect((await agent.nextDeploy()).id).toBe(second.body.deploy.id)
  await sleep()
  agent.report(id, 3, ...ROLL.slice(2))
  expect((await viewer.rest()).at(-1)).toMatchObject({ event: { type: 'succeeded' } })
  await agent.close()
})

test('a close is answered, so that whoever closes need not wait and cut the connection', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  agent.socket.close(4321, 'done')
  // Without an answer it is 1006.
  expect(await agent.closed()).toEqual({ code: 4321, reason: 'done' })
})

test('a plain request where the agent should connect', async () => {
  const host = await TestHost.enrolled(relay)
  const response = await fetch(`${relay.url}/agent/${host.name}`, {
    headers: { authorization: `Bearer ${await host.token(['agent'])}` },
  })
  expect(response.status).toBe(400)
  await response.text()
})
