import { describe, expect, onTestFinished, test } from 'vitest'
import { loadOrCreateKey } from '../../agent/identity.ts'
import type { AgentOptions } from '../../agent/agent.ts'
import { Journal } from '../../agent/journal.ts'
import { REQUEST_TTL_MS } from '../../shared/limits.ts'
import type { DeployFrame } from '../../shared/protocol.ts'
import { verifyToken } from '../../shared/tokens.ts'
import {
  configFor,
  HOST,
  hookFrame,
  OTHER_SECRET,
  runAgent,
  SECRET,
  stackConfig,
  tempDir,
  tokenFrame,
} from '../support/host.ts'
import { startHub, type Behaviour, type Hub } from '../support/hub.ts'
import { until } from '../support/until.ts'

const FINAL = ['succeeded', 'failed', 'stuck', 'superseded', 'cancelled', 'expired']
const nowSeconds = () => Math.floor(Date.now() / 1000)

async function hubFor(behaviour: Partial<Behaviour> = {}): Promise<Hub> {
  const hub = await startHub(behaviour)
  onTestFinished(() => hub.stop())
  return hub
}

async function ended(hub: Hub, id: string): Promise<string[]> {
  await until(`the end of ${id}`, () => FINAL.includes(hub.types(id).at(-1) ?? ''))
  return hub.types(id)
}

/** A roll that waits until it is told to go on, or to stop. */
function heldRoll() {
  const begun: string[] = []
  const releases: (() => void)[] = []
  const roll: AgentOptions['roll'] = async (_stack, request, _ports, { emit, signal }) => {
    emit({ type: 'started' })
    begun.push(request.reason ?? '')
    await new Promise<void>((resolve) => {
      releases.push(resolve)
      signal.addEventListener('abort', () => resolve())
    })
    if (signal.aborted)
      emit({
        type: 'failed',
        ms: 1,
        problem: { code: 'interrupted', message: String(signal.reason.message) },
      })
    else emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
  }
  return { roll, begun, release: () => releases.shift()?.() }
}

test('a signed hook runs: received, started, succeeded, all stored by the hub', async () => {
  const hub = await hubFor()
  const agent = await runAgent(tempDir(), hub.url)
  await until('connected', () => agent.connects.count === 1)
  const frame = await hookFrame()
  hub.deliver(frame)
  expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
  expect(agent.rolls).toEqual(['hello'])
  await until('stored', () => agent.journal.unacked().length === 0)
})

test('it connects with a token of scope agent, for this relay, and pushes its triggers', async () => {
  const hub = await hubFor()
  const dir = tempDir()
  await runAgent(dir, hub.url)
  await until('hello', () => hub.hellos.length === 1)
  const { publicJwk } = await loadOrCreateKey(dir)
  const claims = await verifyToken(hub.tokens[0] ?? '', publicJwk, {
    host: HOST,
    audience: hub.url,
    now: new Date(),
  })
  expect(claims.scopes).toEqual(['agent'])
  expect(hub.hellos[0]).toMatchObject({
    stacks: ['hello'],
    triggers: [{ type: 'standard-webhooks', stack: 'hello', name: 'deploy', secrets: [SECRET] }],
  })
})

describe('exactly once', () => {
  test('a frame that comes again while it runs, after it ended, and after a restart, runs once', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const first = await runAgent(dir, hub.url)
    await until('connected', () => first.connects.count === 1)
    const frame = await hookFrame()
    for (let i = 0; i < 5; i += 1) hub.deliver(frame)
    await ended(hub, frame.id)
    hub.deliver(frame)
    const marker = await hookFrame({ eventId: 'marker' })
    hub.deliver(marker)
    await ended(hub, marker.id)
    expect(first.rolls).toHaveLength(2)
    await first.stop()

    const second = await runAgent(dir, hub.url)
    await until('connected', () => second.connects.count === 1)
    hub.deliver(frame)
    const last = await hookFrame({ eventId: 'last' })
    hub.deliver(last)
    await ended(hub, last.id)
    expect(second.rolls).toHaveLength(1)
  })

  test('events survive dropped sockets: in order, once, and the roll never waits', async () => {
    const hub = await hubFor()
    const roll: AgentOptions['roll'] = async (_stack, _request, _ports, { emit }) => {
      emit({ type: 'started' })
      for (let step = 0; step < 200; step += 1) {
        emit({ type: 'step-progress', step, facts: {} })
        if (step % 50 === 25) hub.drop()
        if (step % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
    }
    const agent = await runAgent(tempDir(), hub.url, { roll })
    await until('connected', () => agent.connects.count === 1)
    const frame = await hookFrame()
    hub.deliver(frame)
    const types = await ended(hub, frame.id)
    expect(types).toHaveLength(203)
    const steps = hub
      .log(frame.id)
      .flatMap(({ event }) => (event.type === 'step-progress' ? [event.step] : []))
    expect(steps).toEqual(Array.from({ length: 200 }, (_, index) => index))
    expect(agent.connects.count).toBeGreaterThan(1)
    await until('stored', () => agent.journal.unacked().length === 0)
  })

  test('what the hub never stored is there for it after a restart', async () => {
    const hub = await hubFor({ stores: false })
    const dir = tempDir()
    const first = await runAgent(dir, hub.url)
    await until('connected', () => first.connects.count === 1)
    const frame = await hookFrame()
    hub.deliver(frame)
    await ended(hub, frame.id)
    hub.drop()
    await first.stop()
    hub.batches.length = 0
    hub.behaviour.stores = true
    const second = await runAgent(dir, hub.url)
    expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
    await until('stored', () => second.journal.unacked().length === 0)
    expect(second.rolls).toEqual([])
  })
})

async function refused(
  make: (relay: string, dir: string) => Promise<DeployFrame>,
  code = 'request-unverified',
) {
  const hub = await hubFor()
  const dir = tempDir()
  const config = configFor(hub.url, [stackConfig('hello', SECRET), stackConfig('other', OTHER_SECRET)])
  const agent = await runAgent(dir, hub.url, { config })
  await until('connected', () => agent.connects.count === 1)
  const frame = await make(hub.url, dir)
  hub.deliver(frame)
  expect(await ended(hub, frame.id)).toEqual(['received', 'failed'])
  expect(agent.rolls).toEqual([])
  expect(hub.log(frame.id)[1]?.event).toMatchObject({ problem: { code } })
}
const withProof = (frame: DeployFrame, change: Record<string, unknown>): DeployFrame => ({
  ...frame,
  proof: { ...frame.proof, ...change } as DeployFrame['proof'],
})

async function runs(make: (relay: string, dir: string) => Promise<DeployFrame>) {
  const hub = await hubFor()
  const dir = tempDir()
  const agent = await runAgent(dir, hub.url)
  await until('connected', () => agent.connects.count === 1)
  const frame = await make(hub.url, dir)
  hub.deliver(frame)
  expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
}

/** An agent whose process died with one deploy running and one queued. */
async function crashed(dir: string): Promise<{ running: DeployFrame; queued: DeployFrame }> {
  const running = await hookFrame({ eventId: 'running' })
  const queued = await hookFrame({ eventId: 'queued' })
  const journal = new Journal(dir)
  journal.receive(running, Date.now())
  journal.append(running.id, { type: 'started' }, Date.now())
  journal.record(running.id, '{"step":3}')
  journal.receive(queued, Date.now())
  journal.close()
  return { running, queued }
}

describe('what nobody signed is never run', () => {
  test('wrong secret', () => refused(() => hookFrame({ secret: OTHER_SECRET })))
  test('altered body', () =>
    refused(async () => withProof(await hookFrame(), { body: btoa('{"reason":"x"}') })))
  test('altered id in the headers', () =>
    refused(async () => {
      const frame = await hookFrame()
      if (frame.proof.kind !== 'hook') throw new Error()
      return withProof(frame, { headers: { ...frame.proof.headers, 'webhook-id': 'msg_2' } })
    }))
  test('signed for another stack', () =>
    refused(async () => ({ ...(await hookFrame({ stack: 'other', secret: SECRET })) })))
  test('moved to another stack', () => refused(async () => ({ ...(await hookFrame()), stack: 'other' })))
  test('under another deploy id, as a replay must be', () =>
    refused(async () => ({ ...(await hookFrame()), id: '0000000000000000' })))
  test('a trigger that the host does not have', () =>
    refused(async () => ({ ...(await hookFrame()), trigger: 'ghost' })))
  test('signed longer ago than the hub keeps requests', () =>
    refused(() => hookFrame({ atSeconds: nowSeconds() - REQUEST_TTL_MS / 1000 - 400 })))
  test('signed in the future', () => refused(() => hookFrame({ atSeconds: nowSeconds() + 400 })))
  test('a stack that the host does not have', () =>
    refused(() => hookFrame({ stack: 'ghost' }), 'stack-unknown'))
  test('signed, but no request', () => refused(() => hookFrame({ body: '{"oops":1}' }), 'request-invalid'))

  test('a token of another key', () =>
    refused(async (relay) => tokenFrame(await loadOrCreateKey(tempDir()), { relay })))
  test('a token for another relay', () =>
    refused(async (_, dir) => tokenFrame(await loadOrCreateKey(dir), { relay: 'https://elsewhere.example' })))
  test('a token that may only read', () =>
    refused(async (relay, dir) => tokenFrame(await loadOrCreateKey(dir), { relay, scopes: ['read'] })))
  test('a token for another stack', () =>
    refused(async (relay, dir) => tokenFrame(await loadOrCreateKey(dir), { relay, stacks: ['other'] })))
  test('a token for another body', () =>
    refused(async (relay, dir) =>
      tokenFrame(await loadOrCreateKey(dir), { relay, boundTo: '{"reason":"a"}', body: '{"reason":"b"}' }),
    ))
  test('a token that expired longer ago than the hub keeps requests', () =>
    refused(async (relay, dir) =>
      tokenFrame(await loadOrCreateKey(dir), { relay, now: new Date(Date.now() - REQUEST_TTL_MS - 600_000) }),
    ))
  test('no token at all', () =>
    refused(async (relay, dir) =>
      withProof(await tokenFrame(await loadOrCreateKey(dir), { relay }), { token: 'x' }),
    ))
  test('a free token’s request under another key', () =>
    refused(async (relay, dir) =>
      withProof(await tokenFrame(await loadOrCreateKey(dir), { relay }), { idempotencyKey: 'key-2' }),
    ))
})

describe('what was signed runs', () => {
  test('a hook that waited in the hub for most of a day', () =>
    runs(() => hookFrame({ atSeconds: nowSeconds() - REQUEST_TTL_MS / 1000 + 60 })))
  test('a free token', () => runs(async (relay, dir) => tokenFrame(await loadOrCreateKey(dir), { relay })))
  test('a token bound to its body and stack', () =>
    runs(async (relay, dir) =>
      tokenFrame(await loadOrCreateKey(dir), {
        relay,
        stacks: ['hello'],
        boundTo: '{"reason":"a"}',
        body: '{"reason":"a"}',
      }),
    ))
  test('a token that expired while its request waited in the hub', () =>
    runs(async (relay, dir) =>
      tokenFrame(await loadOrCreateKey(dir), {
        relay,
        now: new Date(Date.now() - REQUEST_TTL_MS + 3600_000),
      }),
    ))
})

test('of two that wait, the newer supersedes the older; the one that runs is left alone', async () => {
  const hub = await hubFor()
  const { roll, begun, release } = heldRoll()
  const agent = await runAgent(tempDir(), hub.url, { roll })
  await until('connected', () => agent.connects.count === 1)
  const frames = await Promise.all(
    ['a', 'b', 'c'].map((name) => hookFrame({ eventId: name, body: `{"reason":"${name}"}` })),
  )
  const [a = '', b = '', c = ''] = frames.map(({ id }) => id)
  for (const frame of frames) hub.deliver(frame)
  expect(await ended(hub, b)).toEqual(['received', 'superseded'])
  expect(hub.log(b)[1]?.event).toEqual({ type: 'superseded', by: c })
  expect(begun).toEqual(['a'])
  release()
  await ended(hub, a)
  await until('c begins', () => begun.includes('c'))
  release()
  expect(await ended(hub, c)).toEqual(['received', 'started', 'succeeded'])
  expect(begun).toEqual(['a', 'c'])
})

describe('after a crash', () => {
  test('the interrupted deploy is recovered with its note before the queued one runs', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const { running, queued } = await crashed(dir)
    const order: string[] = []
    const agent = await runAgent(dir, hub.url, {
      recover: async (_stack, _record, _ports, { emit, signal }) => {
        await until('connected meanwhile', () => hub.hellos.length === 1)
        expect(signal.aborted).toBe(false)
        order.push('recovered')
        emit({ type: 'failed', ms: 1, problem: { code: 'interrupted', message: 'undone' } })
      },
      roll: async (_stack, _request, _ports, { emit }) => {
        order.push('rolled')
        emit({ type: 'started' })
        emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
      },
    })
    expect(await ended(hub, running.id)).toEqual(['received', 'started', 'failed'])
    expect(await ended(hub, queued.id)).toEqual(['received', 'started', 'succeeded'])
    expect(agent.recovered).toEqual([{ stack: 'hello', record: '{"step":3}' }])
    expect(order).toEqual(['recovered', 'rolled'])
  })

  test('a stack that is no longer in the config is stuck: only a person can tell what it runs', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const { running, queued } = await crashed(dir)
    await runAgent(dir, hub.url, { config: configFor(hub.url, [stackConfig('other')]) })
    expect((await ended(hub, running.id)).at(-1)).toBe('stuck')
    expect((await ended(hub, queued.id)).at(-1)).toBe('failed')
  })

  test('a roll that breaks its promise and throws, or says nothing, is stuck', async () => {
    const hub = await hubFor()
    const rolls: AgentOptions['roll'][] = [
      async (_stack, _request, _ports, { emit }) => {
        emit({ type: 'started' })
        throw new Error('boom')
      },
      async () => {},
    ]
    const agent = await runAgent(tempDir(), hub.url, {
      roll: async (...args) => rolls.shift()?.(...args),
    })
    await until('connected', () => agent.connects.count === 1)
    for (const eventId of ['a', 'b']) {
      const frame = await hookFrame({ eventId })
      hub.deliver(frame)
      expect((await ended(hub, frame.id)).at(-1)).toBe('stuck')
    }
  })
})

describe('told to stop', () => {
  test('the running roll is aborted and ends by itself; its last events reach the hub; what waits runs after the next start', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const { roll, begun } = heldRoll()
    const first = await runAgent(dir, hub.url, { roll })
    await until('connected', () => first.connects.count === 1)
    const [a, b] = [await hookFrame({ eventId: 'a' }), await hookFrame({ eventId: 'b' })]
    hub.deliver(a)
    hub.deliver(b)
    await until('one runs, one waits', () => begun.length === 1 && hub.types(b.id).includes('received'))
    await first.stop()
    expect(hub.types(a.id)).toEqual(['received', 'started', 'failed'])
    expect(hub.log(a.id)[2]?.event).toMatchObject({ problem: { message: 'the agent was told to stop' } })
    expect(hub.types(b.id)).toEqual(['received'])

    const second = await runAgent(dir, hub.url)
    expect(await ended(hub, b.id)).toEqual(['received', 'started', 'succeeded'])
    expect(second.recovered).toEqual([])
  })

  test('a recovery is not broken off, and what waits for it does not begin', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const { running, queued } = await crashed(dir)
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    const agent = await runAgent(dir, hub.url, {
      recover: async (_stack, _record, _ports, { emit, signal }) => {
        await held
        expect(signal.aborted).toBe(false)
        emit({ type: 'failed', ms: 1, problem: { code: 'interrupted', message: 'undone' } })
      },
    })
    await until('the recovery runs', () => agent.recovered.length === 1 && agent.connects.count === 1)
    const stopped = agent.stop()
    // Whatever the signal sets off at once has happened by then.
    await new Promise((resolve) => setImmediate(resolve))
    release()
    await stopped
    expect(hub.types(running.id).at(-1)).toBe('failed')
    expect(hub.types(queued.id)).toEqual(['received'])
    expect(agent.rolls).toEqual([])
  })

  test('a hub that stores nothing delays the end by seconds, not for ever', async () => {
    const hub = await hubFor({ stores: false })
    const agent = await runAgent(tempDir(), hub.url)
    await until('connected', () => agent.connects.count === 1)
    const frame = await hookFrame()
    hub.deliver(frame)
    await ended(hub, frame.id)
    const startedAt = Date.now()
    await agent.stop()
    expect(Date.now() - startedAt).toBeLessThan(4500)
  })

  test('without a relay it ends at once', async () => {
    const agent = await runAgent(tempDir(), 'http://127.0.0.1:9')
    await until('an attempt', () => agent.logs.length > 0)
    const startedAt = Date.now()
    await agent.stop()
    expect(Date.now() - startedAt).toBeLessThan(1500)
  })
})
