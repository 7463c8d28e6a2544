import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { decodeJwt } from 'jose'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { loadOrCreateKey, openIdentity } from '../../../agent/identity/identity.ts'
import type { AgentOptions } from '../../../agent/daemon/agent.ts'
import { Journal } from '../../../agent/daemon/journal/journal.ts'
import { PENDING_MAX, REQUEST_TTL_MS } from '../../../shared/limits.ts'
import { Problem } from '../../../shared/problems.ts'
import type { DeployFrame } from '../../../shared/protocol.ts'
import { verifyToken } from '../../../shared/tokens.ts'
import {
  configFor,
  hintFrame,
  HOST,
  hookFrame,
  OTHER_SECRET,
  PRIVATE_KEY,
  PUBLIC_KEY,
  runAgent,
  SECRET,
  stackConfig,
  takenIn,
  tempDir,
  tokenFrame,
  type HookParts,
} from '../../support/host.ts'
import { ended, hubFor, type Hub } from '../../support/hub.ts'
import { until } from '../../support/until.ts'

const nowSeconds = () => Math.floor(Date.now() / 1000)

const signed = (eventId: string, secondsAgo: number, over: HookParts = {}) =>
  hookFrame({ eventId, atSeconds: nowSeconds() - secondsAgo, ...over })

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
  const claims = await verifyToken(hub.tokens[0] ?? '', [publicJwk], {
    host: HOST,
    audience: hub.url,
    now: new Date(),
  })
  expect(claims.scopes).toEqual(['agent'])
  expect(hub.hellos[0]).toMatchObject({
    stacks: ['hello'],
    triggers: [
      { type: 'standard-webhooks', stack: 'hello', name: 'deploy', keys: [SECRET] },
      { type: 'url', name: 'hinted' },
      { type: 'standard-webhooks-v1a', name: 'asymmetric', keys: [PUBLIC_KEY] },
    ],
    revoked: [],
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

/** The agent's answer to a frame of a relay that lies, delivered twice: always the same, and nothing of it is kept. */
async function declined(
  make: (relay: string, dir: string) => Promise<DeployFrame>,
  expected: object = failedBy('request-unverified'),
) {
  const hub = await hubFor()
  const dir = tempDir()
  const config = configFor(hub.url, [stackConfig('hello', SECRET), stackConfig('other', OTHER_SECRET)])
  const agent = await runAgent(dir, hub.url, { config })
  await until('connected', () => agent.connects.count === 1)
  const frame = await make(hub.url, dir)
  hub.deliver(frame)
  hub.deliver(frame)
  await until('two answers', () => hub.declined.length === 2)
  for (const answer of hub.declined)
    expect(answer).toEqual({ deploy: frame.id, event: expect.objectContaining(expected) })
  expect(agent.rolls).toEqual([])
  expect(hub.batches).toEqual([])
  expect(agent.journal.has(frame.id)).toBe(false)
  expect(agent.journal.unfinished()).toEqual([])
  return hub.declined[0]?.event
}
const failedBy = (code: string) => ({ type: 'failed', problem: expect.objectContaining({ code }) })
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
  journal.receive(takenIn({ id: running.id }), Date.now())
  journal.append(running.id, { type: 'started' }, Date.now())
  journal.record(running.id, '{"step":3}')
  journal.receive(takenIn({ id: queued.id }), Date.now())
  journal.close()
  return { running, queued }
}

describe('what nobody signed is never run', () => {
  test('wrong secret', () => declined(() => hookFrame({ secret: OTHER_SECRET })))
  test('altered body', () =>
    declined(async () => withProof(await hookFrame(), { body: btoa('{"reason":"x"}') })))
  test('altered id in the headers', () =>
    declined(async () => {
      const frame = await hookFrame()
      if (frame.proof.kind !== 'hook') throw new Error()
      return withProof(frame, { headers: { ...frame.proof.headers, 'webhook-id': 'msg_2' } })
    }))
  test('signed for another stack', () =>
    declined(async () => ({ ...(await hookFrame({ stack: 'other', secret: SECRET })) })))
  test('moved to another stack', () => declined(async () => ({ ...(await hookFrame()), stack: 'other' })))
  test('under another deploy id, as a replay must be', () =>
    declined(async () => ({ ...(await hookFrame()), id: '0000000000000000' })))
  test('a trigger that the host does not have', () =>
    declined(async () => ({ ...(await hookFrame()), trigger: 'ghost' })))
  test('signed longer ago than the trigger lets requests wait', () =>
    declined(() => hookFrame({ atSeconds: nowSeconds() - REQUEST_TTL_MS / 1000 - 400 }), { type: 'expired' }))
  test('signed in the future, which names the clocks', async () => {
    const event = await declined(
      () => hookFrame({ atSeconds: nowSeconds() + 400 }),
      failedBy('request-stale'),
    )
    expect(JSON.stringify(event)).toMatch(/signed (399|400) s in the future .*clock or the sender's is wrong/)
  })
  test('a stack that the host does not have', () =>
    declined(() => hookFrame({ stack: 'ghost' }), failedBy('stack-unknown')))
  test('signed, but no request', () =>
    declined(() => hookFrame({ body: '{"oops":1}' }), failedBy('request-invalid')))
  test('a hint in the place of a signature', () => declined(() => hintFrame('a', 'deploy')))
  test('a hint in the place of an Ed25519 signature', () => declined(() => hintFrame('a', 'asymmetric')))
  test('a signature for a trigger that may only hint', () =>
    declined(() => hookFrame({ trigger: 'hinted', body: '{"image":"evil:1"}' })))
  test('a hint under another id, as a second run of the first would be', () =>
    declined(async () => ({ ...(await hintFrame('a')), id: '0000000000000000' })))
  test('an HMAC with the text of the public key as its secret', () =>
    declined(() => hookFrame({ trigger: 'asymmetric', secret: PUBLIC_KEY.replace('whpk_', 'whsec_') })))
  test('an HMAC with that text as bytes', () =>
    declined(() => hookFrame({ trigger: 'asymmetric', secret: `whsec_${btoa(PUBLIC_KEY)}` })))
  test('an Ed25519 signature for an HMAC trigger', () => declined(() => hookFrame({ secret: PRIVATE_KEY })))

  test('a token of another key', () =>
    declined(async (relay) => tokenFrame(await loadOrCreateKey(tempDir()), { relay })))
  test('a token for another relay', () =>
    declined(async (_, dir) =>
      tokenFrame(await loadOrCreateKey(dir), { relay: 'https://elsewhere.example' }),
    ))
  test('a token that may only read', () =>
    declined(async (relay, dir) => tokenFrame(await loadOrCreateKey(dir), { relay, scopes: ['read'] })))
  test('a token for another stack', () =>
    declined(async (relay, dir) => tokenFrame(await loadOrCreateKey(dir), { relay, stacks: ['other'] })))
  test('a token for another body', () =>
    declined(async (relay, dir) =>
      tokenFrame(await loadOrCreateKey(dir), { relay, boundTo: '{"reason":"a"}', body: '{"reason":"b"}' }),
    ))
  test('a token that expired longer ago than requests may wait', () =>
    declined(
      async (relay, dir) =>
        tokenFrame(await loadOrCreateKey(dir), {
          relay,
          now: new Date(Date.now() - REQUEST_TTL_MS - 600_000),
        }),
      { type: 'expired' },
    ))
  test('a token from the future, which names the clocks', async () => {
    const event = await declined(
      async (relay, dir) =>
        tokenFrame(await loadOrCreateKey(dir), { relay, now: new Date(Date.now() + 400_000) }),
      failedBy('request-stale'),
    )
    expect(JSON.stringify(event)).toMatch(/signed (398|399|400) s in the future .*clock or the sender's/)
  })
  test('somebody else’s token from the future', () =>
    declined(async (relay) =>
      tokenFrame(await loadOrCreateKey(tempDir()), { relay, now: new Date(Date.now() + 400_000) }),
    ))
  test('no token at all', () =>
    declined(async (relay, dir) =>
      withProof(await tokenFrame(await loadOrCreateKey(dir), { relay }), { token: 'x' }),
    ))
  test('a free token’s request under another key', () =>
    declined(async (relay, dir) =>
      withProof(await tokenFrame(await loadOrCreateKey(dir), { relay }), { idempotencyKey: 'key-2' }),
    ))
})

test('a flood of forged frames leaves nothing in the journal, and a signed one gets through', async () => {
  const hub = await hubFor()
  const dir = tempDir()
  const agent = await runAgent(dir, hub.url)
  await until('connected', () => agent.connects.count === 1)
  const key = await loadOrCreateKey(tempDir())
  const forged = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => [
      await hookFrame({ eventId: `msg_${n}`, secret: OTHER_SECRET, body: `{"reason":"${'x'.repeat(400)}"}` }),
      await tokenFrame(key, { relay: hub.url, idempotencyKey: `key-${n}` }),
    ]),
  )
  for (const frame of forged.flat()) hub.deliver(frame)
  const honest = await hookFrame()
  hub.deliver(honest)
  expect(await ended(hub, honest.id)).toEqual(['received', 'started', 'succeeded'])
  expect(hub.declined).toHaveLength(200)
  expect(agent.rolls).toHaveLength(1)
  await agent.stop()
  const rows = new DatabaseSync(join(dir, 'journal.sqlite'))
  expect(rows.prepare('SELECT id FROM deploys').all()).toEqual([{ id: honest.id }])
  expect(rows.prepare('SELECT count(*) AS events FROM events').get()).toEqual({ events: 3 })
  rows.close()
})

test('a relay that delivers more than it can have waiting is not heard beyond that', async () => {
  const hub = await hubFor()
  const dir = tempDir()
  await loadOrCreateKey(dir)
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  let reads = 0
  const identity = openIdentity(dir)
  const agent = await runAgent(dir, hub.url, {
    identity: {
      ...identity,
      publicKeys: async (now) => {
        reads += 1
        await held
        return identity.publicKeys(now)
      },
    },
  })
  await until('connected', () => agent.connects.count === 1)
  const frame = await tokenFrame(await loadOrCreateKey(tempDir()), { relay: hub.url })
  for (let n = 0; n < PENDING_MAX + 50; n += 1) hub.deliver(frame)
  await until('the first is looked at', () => reads === 1)
  hub.send({ type: 'welcome', v: 1, generation: 2, at: Date.now() })
  await until('all have come', () => agent.connects.count === 2)
  release()
  await until('the answers', () => hub.declined.length === PENDING_MAX)
  const honest = await hookFrame()
  hub.deliver(honest)
  await ended(hub, honest.id)
  expect(hub.declined).toHaveLength(PENDING_MAX)
})

test('neither a proof nor a token is kept', async () => {
  const hub = await hubFor()
  const dir = tempDir()
  const agent = await runAgent(dir, hub.url)
  await until('connected', () => agent.connects.count === 1)
  const hook = await hookFrame()
  const byToken = await tokenFrame(await loadOrCreateKey(dir), { relay: hub.url })
  for (const frame of [hook, byToken]) {
    hub.deliver(frame)
    await ended(hub, frame.id)
  }
  await agent.stop()
  const text = readFileSync(join(dir, 'journal.sqlite'), 'latin1')
  expect(text).toContain(hook.id)
  if (hook.proof.kind !== 'hook' || byToken.proof.kind !== 'token') throw new Error()
  expect(text).not.toContain(hook.proof.headers['webhook-signature'])
  expect(text).not.toContain(byToken.proof.token.slice(0, 40))
})

describe('in the order in which it was signed', () => {
  test('an older request that comes after a newer one is superseded by it, also after a restart', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const first = await runAgent(dir, hub.url)
    await until('connected', () => first.connects.count === 1)
    const newer = await signed('newer', 10)
    hub.deliver(newer)
    await ended(hub, newer.id)
    const older = await signed('older', 30)
    hub.deliver(older)
    await until('an answer', () => hub.declined.length === 1)
    expect(hub.declined[0]).toEqual({ deploy: older.id, event: { type: 'superseded', by: newer.id } })
    await first.stop()

    const second = await runAgent(dir, hub.url)
    await until('connected', () => second.connects.count === 1)
    hub.deliver(older)
    await until('the same answer', () => hub.declined.length === 2)
    expect(hub.declined[1]).toEqual(hub.declined[0])
    expect(second.rolls).toEqual([])
  })

  test('requests of one second, of other triggers and of other stacks are in no order', async () => {
    const hub = await hubFor()
    const config = configFor(hub.url, [stackConfig('hello'), stackConfig('other')])
    const agent = await runAgent(tempDir(), hub.url, { config })
    await until('connected', () => agent.connects.count === 1)
    const frames = [
      await signed('a', 10),
      await signed('b', 10),
      await signed('c', 20, { trigger: 'asymmetric', secret: PRIVATE_KEY }),
      await signed('d', 30, { stack: 'other' }),
      await hintFrame('e'),
    ]
    for (const frame of frames) {
      hub.deliver(frame)
      expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
    }
    expect(hub.declined).toEqual([])
  })

  test('a finished one that is delivered again neither runs nor is told anew', async () => {
    const hub = await hubFor()
    const agent = await runAgent(tempDir(), hub.url)
    await until('connected', () => agent.connects.count === 1)
    const [a, b] = [await signed('a', 20), await signed('b', 10)]
    for (const frame of [a, b]) {
      hub.deliver(frame)
      await ended(hub, frame.id)
    }
    await until('stored', () => agent.journal.unacked().length === 0)
    const told = hub.batches.length
    // It is older than b, but it was taken in: that it ran is all that there is to say.
    hub.deliver(a)
    const marker = await signed('marker', 5)
    hub.deliver(marker)
    await ended(hub, marker.id)
    expect(hub.declined).toEqual([])
    expect(hub.batches.slice(told).every(({ deploy }) => deploy === marker.id)).toBe(true)
    expect(agent.rolls).toHaveLength(3)
  })

  test('a request waits as long as its trigger says', async () => {
    const hub = await hubFor()
    const trigger = { type: 'standard-webhooks', stack: 'hello', name: 'deploy' } as const
    const config = configFor(hub.url, [
      stackConfig('hello', SECRET, [{ ...trigger, ttlMs: 60_000, keys: [SECRET] }]),
    ])
    const agent = await runAgent(tempDir(), hub.url, { config })
    await until('connected', () => agent.connects.count === 1)
    // A minute, and the five that clocks may differ.
    const [late, inTime] = [await signed('late', 365), await signed('in-time', 350)]
    hub.deliver(late)
    hub.deliver(inTime)
    expect(await ended(hub, inTime.id)).toEqual(['received', 'started', 'succeeded'])
    expect(hub.declined).toEqual([{ deploy: late.id, event: { type: 'expired' } }])
  })

  test('what waited here while the agent was away for too long is not begun any more', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const journal = new Journal(dir)
    const [late, inTime, hint] = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb', 'cccccccccccccccc'] as const
    journal.receive(takenIn({ id: late, expiresAt: Date.now() - 1000 }), 1)
    journal.receive(takenIn({ id: inTime, expiresAt: Date.now() + 60_000 }), 2)
    journal.receive(takenIn({ id: hint, trust: 'hint', expiresAt: Infinity }), 3)
    journal.close()
    const agent = await runAgent(dir, hub.url)
    expect(await ended(hub, late)).toEqual(['received', 'expired'])
    expect(await ended(hub, inTime)).toEqual(['received', 'started', 'succeeded'])
    expect(await ended(hub, hint)).toEqual(['received', 'started', 'succeeded'])
    expect(agent.rolls).toHaveLength(2)
  })

  test('what waited here behind a long roll is not begun any more', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const journal = new Journal(dir)
    const [long, late] = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb'] as const
    journal.receive(takenIn({ id: long, expiresAt: Infinity }), 1)
    journal.receive(takenIn({ id: late, expiresAt: Date.now() + 3600_000 }), 2)
    journal.close()
    const { roll, begun, release } = heldRoll()
    await runAgent(dir, hub.url, { roll })
    await until('it runs', () => begun.length === 1)
    const now = Date.now
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => now() + 3601_000)
    release()
    await until('the late one is over or begun', () => hub.types(late).length > 1).finally(() =>
      clock.mockRestore(),
    )
    expect(await ended(hub, late)).toEqual(['received', 'expired'])
    expect(begun).toHaveLength(1)
  })
})

describe('hints', () => {
  test('a hint runs, and chooses nothing', async () => {
    const hub = await hubFor()
    const requests: object[] = []
    const agent = await runAgent(tempDir(), hub.url, {
      roll: async (_stack, request, _ports, { emit }) => {
        requests.push(request)
        emit({ type: 'started' })
        emit({ type: 'succeeded', ms: 1, changed: false, services: {} })
      },
    })
    await until('connected', () => agent.connects.count === 1)
    const frame = await hintFrame('a')
    hub.deliver(frame)
    expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
    expect(requests).toEqual([{}])
  })

  test('a flood of hints during a roll: one waits, the signed request among them is not replaced', async () => {
    const hub = await hubFor()
    const { roll, begun, release } = heldRoll()
    const agent = await runAgent(tempDir(), hub.url, { roll })
    await until('connected', () => agent.connects.count === 1)
    const running = await hookFrame({ eventId: 'running', body: '{"reason":"running"}' })
    const waiting = await hookFrame({ eventId: 'waiting', body: '{"reason":"waiting"}' })
    hub.deliver(running)
    const hints = await Promise.all(Array.from({ length: 100 }, (_, n) => hintFrame(`n${n}`)))
    for (const hint of hints.slice(0, 50)) hub.deliver(hint)
    hub.deliver(waiting)
    for (const hint of hints.slice(50)) hub.deliver(hint)
    const last = hints.at(-1)?.id ?? ''
    await until('all are taken in', () => hub.types(last).length === 1)
    expect(agent.journal.unfinished().map(({ id }) => id)).toEqual([running.id, waiting.id, last])
    for (const count of [2, 3]) {
      release()
      await until(`${count} begun`, () => begun.length === count)
    }
    release()
    await ended(hub, last)
    expect(begun).toEqual(['running', 'waiting', ''])
  })
})

/**
 * Waits until the agent has said all that it has to say so far; gives the id of what it declines then. It deals in order with what comes for
 * a stack, and nobody has signed this.
 */
async function drained(hub: Hub): Promise<string> {
  const forged = await hookFrame({ eventId: 'forged', secret: OTHER_SECRET })
  hub.deliver(forged)
  await until('it is declined', () => hub.declined.some(({ deploy }) => deploy === forged.id))
  return forged.id
}

describe('a full disk', () => {
  const FULL = new Error('database or disk is full')
  const full = () => {
    throw FULL
  }

  test('what cannot be stored is not received: it is told once, and taken in when it is offered again', async () => {
    const hub = await hubFor()
    const agent = await runAgent(tempDir(), hub.url)
    await until('connected', () => agent.connects.count === 1)
    const broken = vi.spyOn(agent.journal, 'receive').mockImplementation(full)
    const frame = await hookFrame()
    for (let n = 0; n < 5; n += 1) hub.deliver(frame)
    await until('five attempts', () => broken.mock.calls.length === 5)
    const forged = await drained(hub)
    const warnings = () => agent.logs.filter((line) => line.includes('disk is full'))
    expect(warnings()).toHaveLength(1)
    expect(hub.batches).toEqual([])
    expect(hub.declined.map(({ deploy }) => deploy)).toEqual([forged])
    broken.mockRestore()
    hub.deliver(frame)
    expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
    expect(agent.logs).toContain('warn: the journal can be written again')
    expect(agent.rolls).toHaveLength(1)
  })

  test('a roll ends although its events cannot be stored; they come in order, once there is room', async () => {
    const hub = await hubFor()
    let broken: { mockRestore(): void } | undefined
    const agent = await runAgent(tempDir(), hub.url, {
      roll: async (_stack, _request, _ports, { emit }) => {
        emit({ type: 'started' })
        broken = vi.spyOn(agent.journal, 'append').mockImplementation(full)
        for (let step = 0; step < 3; step += 1) emit({ type: 'step-progress', step, facts: {} })
        emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
      },
    })
    await until('connected', () => agent.connects.count === 1)
    const frame = await hookFrame()
    hub.deliver(frame)
    await until('it is over', () => agent.logs.some((line) => line.includes('succeeded in')))
    await drained(hub)
    expect(hub.types(frame.id)).toEqual(['received', 'started'])
    expect(agent.logs.filter((line) => line.includes('disk is full'))).toHaveLength(1)
    broken?.mockRestore()
    expect(await ended(hub, frame.id)).toEqual([
      'received',
      'started',
      ...Array(3).fill('step-progress'),
      'succeeded',
    ])
    expect(hub.log(frame.id).flatMap(({ event }) => ('step' in event ? [event.step] : []))).toEqual([0, 1, 2])
    await until('told', () => agent.logs.includes('warn: the journal can be written again'))
  })

  test.each(['disk', 'connection'])(
    'the connection drops while events wait for the disk, and the %s is back first: the log is whole, in order, once',
    async (first) => {
      const hub = await hubFor()
      let broken: { mockRestore(): void } | undefined
      const goesOn = Promise.withResolvers<void>()
      const agent = await runAgent(tempDir(), hub.url, {
        roll: async (_stack, _request, _ports, { emit }) => {
          emit({ type: 'started' })
          await until('the hub has that', () => agent.journal.unacked().length === 0)
          broken = vi.spyOn(agent.journal, 'append').mockImplementation(full)
          emit({ type: 'step-progress', step: 0, facts: {} })
          await goesOn.promise
          emit({ type: 'step-progress', step: 1, facts: {} })
          emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
        },
      })
      await until('connected', () => agent.connects.count === 1)
      const frame = await hookFrame()
      const { id } = frame
      hub.deliver(frame)
      await until('one waits', () => broken !== undefined)
      hub.behaviour.refuseWith = 503
      hub.drop()
      await until('the connection is gone', () => hub.tokens.length > 1)
      goesOn.resolve()
      await until('the roll is over', () => agent.logs.some((line) => line.includes('succeeded in')))

      const disk = async () => {
        broken?.mockRestore()
        await until('all is in the journal', () => agent.journal.eventsAfter(id, 0, 9).length === 5)
      }
      const connection = async () => {
        hub.behaviour.refuseWith = undefined
        await until('connected again', () => agent.connects.count === 2)
        await drained(hub)
      }
      const [one, other] = first === 'disk' ? [disk, connection] : [connection, disk]
      await one()
      expect(hub.types(id)).toEqual(['received', 'started'])
      await other()
      expect(await ended(hub, id)).toEqual([
        'received',
        'started',
        'step-progress',
        'step-progress',
        'succeeded',
      ])
      expect(hub.batches.flatMap(({ events }) => events.map(({ seq }) => seq))).toEqual([1, 2, 3, 4, 5])
      await until('the hub has all', () => agent.journal.unacked().length === 0)
      expect(agent.rolls).toHaveLength(1)
    },
  )

  test('what waits at the end is stored at the end', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    let broken: { mockRestore(): void } | undefined
    const agent = await runAgent(dir, hub.url, {
      roll: async (_stack, _request, _ports, { emit }) => {
        emit({ type: 'started' })
        broken = vi.spyOn(agent.journal, 'append').mockImplementation(full)
        emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
      },
    })
    await until('connected', () => agent.connects.count === 1)
    const frame = await hookFrame()
    hub.deliver(frame)
    await until('it is over', () => agent.logs.some((line) => line.includes('succeeded in')))
    broken?.mockRestore()
    await agent.stop()
    expect(hub.types(frame.id)).toEqual(['received', 'started', 'succeeded'])
  })

  test('a note that cannot be kept is told to its roll', async () => {
    const hub = await hubFor()
    const thrown: unknown[] = []
    const agent = await runAgent(tempDir(), hub.url, {
      roll: async (_stack, _request, _ports, { emit, remember }) => {
        emit({ type: 'started' })
        vi.spyOn(agent.journal, 'record').mockImplementation(full)
        try {
          remember('there')
        } catch (error) {
          thrown.push(error)
        }
        emit({ type: 'failed', ms: 1, problem: { code: 'internal', message: 'undone' } })
      },
    })
    await until('connected', () => agent.connects.count === 1)
    const frame = await hookFrame()
    hub.deliver(frame)
    expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'failed'])
    expect(thrown).toMatchObject([
      { message: expect.stringContaining('disk is full'), cure: expect.any(String) },
    ])
  })

  test('a note is not kept before the events that it follows: its deploy must be known to have begun', async () => {
    const hub = await hubFor()
    const kept = vi.fn()
    const agent = await runAgent(tempDir(), hub.url, {
      roll: async (_stack, _request, _ports, { emit, remember }) => {
        vi.spyOn(agent.journal, 'append').mockImplementationOnce(full).mockImplementationOnce(full)
        vi.spyOn(agent.journal, 'record').mockImplementation(kept)
        emit({ type: 'started' })
        expect(() => remember('there')).toThrow('disk is full')
        expect(kept).not.toHaveBeenCalled()
        remember('there')
        expect(kept).toHaveBeenCalledOnce()
        emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
      },
    })
    await until('connected', () => agent.connects.count === 1)
    const frame = await hookFrame()
    hub.deliver(frame)
    expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
  })

  test('an agent that starts on a full disk, and cannot even forget, starts all the same', async () => {
    const hub = await hubFor()
    const trim = vi.spyOn(Journal.prototype, 'trim').mockImplementation(full)
    onTestFinished(() => trim.mockRestore())
    const agent = await runAgent(tempDir(), hub.url)
    await until('connected', () => agent.connects.count === 1)
    expect(trim).toHaveBeenCalledOnce()
    const frame = await hookFrame()
    hub.deliver(frame)
    expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
  })

  test('an acknowledgement that cannot be kept is asked for again', async () => {
    const hub = await hubFor()
    const agent = await runAgent(tempDir(), hub.url)
    await until('connected', () => agent.connects.count === 1)
    const broken = vi.spyOn(agent.journal, 'acknowledge').mockImplementation(full)
    const frame = await hookFrame()
    hub.deliver(frame)
    await ended(hub, frame.id)
    await until('acknowledged', () => broken.mock.calls.length > 1)
    expect(agent.logs.filter((line) => line.startsWith('warn'))).toEqual([
      expect.stringContaining('the journal cannot be written (database or disk is full)'),
    ])
    broken.mockRestore()
    hub.drop()
    await until('stored', () => agent.journal.unacked().length === 0)
    expect(agent.rolls).toHaveLength(1)
  })
})

test('keys that cannot be read are this host’s fault: the request stays with the relay', async () => {
  const hub = await hubFor()
  const dir = tempDir()
  const key = await loadOrCreateKey(dir)
  const identity = openIdentity(dir)
  let isDamaged = true
  const agent = await runAgent(dir, hub.url, {
    identity: {
      ...identity,
      publicKeys: async (now) => {
        if (isDamaged) throw new Problem('key-unusable', 'host-key.json is damaged')
        return identity.publicKeys(now)
      },
    },
  })
  await until('connected', () => agent.connects.count === 1)
  const frame = await tokenFrame(key, { relay: hub.url })
  hub.deliver(frame)
  await until('a word', () => agent.logs.some((line) => line.includes('stays with the relay')))
  isDamaged = false
  hub.deliver(frame)
  expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
  expect(hub.declined).toEqual([])
})

test('a revoked token counts no more, at once', async () => {
  const hub = await hubFor()
  const dir = tempDir()
  const key = await loadOrCreateKey(dir)
  const ids: string[] = []
  const agent = await runAgent(dir, hub.url, {
    identity: { ...openIdentity(dir), revoked: async () => ids },
  })
  await until('connected', () => agent.connects.count === 1)
  const good = await tokenFrame(key, { relay: hub.url })
  hub.deliver(good)
  await ended(hub, good.id)
  const revoked = await tokenFrame(key, { relay: hub.url })
  if (revoked.proof.kind !== 'token') throw new Error()
  ids.push(String(decodeJwt(revoked.proof.token).jti))
  hub.deliver(revoked)
  await until('an answer', () => hub.declined.length === 1)
  expect(hub.declined[0]).toMatchObject({
    deploy: revoked.id,
    event: { problem: { code: 'request-unverified', message: expect.stringContaining('revoked') } },
  })
  hub.drop()
  await until('it dials again', () => hub.hellos.length === 2)
  expect(hub.hellos.map((hello) => hello.revoked)).toEqual([[], ids])
})

test('a token of the former key counts as long as that key does', async () => {
  const hub = await hubFor()
  const dir = tempDir()
  const former = await loadOrCreateKey(tempDir())
  const present = await loadOrCreateKey(dir)
  const keys = [present.publicJwk, former.publicJwk]
  const agent = await runAgent(dir, hub.url, {
    identity: { ...openIdentity(dir), publicKeys: async () => keys },
  })
  await until('connected', () => agent.connects.count === 1)
  for (const key of [former, present]) {
    const frame = await tokenFrame(key, { relay: hub.url })
    hub.deliver(frame)
    expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
  }
  keys.pop()
  hub.deliver(await tokenFrame(former, { relay: hub.url }))
  await until('an answer', () => hub.declined.length === 1)
  expect(hub.declined[0]?.event).toMatchObject({ problem: { code: 'request-unverified' } })
})

describe('what was signed runs', () => {
  test('an Ed25519 signature, of which the relay has the public key only', () =>
    runs(() => hookFrame({ trigger: 'asymmetric', secret: PRIVATE_KEY })))
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

test('stacks of one compose file wait for each other; one of another file does not', async () => {
  const hub = await hubFor()
  const { roll, begun, release } = heldRoll()
  const apart = { ...stackConfig('apart'), compose: ['/elsewhere/docker-compose.yml'] }
  const config = configFor(hub.url, [stackConfig('hello'), stackConfig('other'), apart])
  const agent = await runAgent(tempDir(), hub.url, { config, roll })
  await until('connected', () => agent.connects.count === 1)
  const stacks = ['hello', 'other', 'apart']
  const frames = await Promise.all(stacks.map((stack) => hookFrame({ stack, body: `{"reason":"${stack}"}` })))
  for (const frame of frames) {
    hub.deliver(frame)
    await until('it is taken in', () => hub.types(frame.id).includes('received'))
  }
  await until('the one apart begins', () => begun.includes('apart'))
  expect(begun).toEqual(['hello', 'apart'])
  release()
  await until('the other begins', () => begun.includes('other'))
  release()
  release()
  for (const frame of frames) expect(await ended(hub, frame.id)).toEqual(['received', 'started', 'succeeded'])
})

describe('after a crash', () => {
  test('the interrupted deploy is recovered with its note before the queued one runs', async () => {
    const hub = await hubFor()
    const dir = tempDir()
    const { running, queued } = await crashed(dir)
    const order: string[] = []
    const agent = await runAgent(dir, hub.url, {
      recover: async (_stack, _request, _record, _ports, { emit, signal }) => {
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
      recover: async (_stack, _request, _record, _ports, { emit, signal }) => {
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
