// What a cancel does to the agent's deploys: waiting, running, recovered. And what is no cancel.

import { once } from 'node:events'
import { decodeJwt } from 'jose'
import { expect, test } from 'vitest'
import type { AgentOptions } from '../../../agent/daemon/agent.ts'
import { loadOrCreateKey, type HostKey } from '../../../agent/identity/identity.ts'
import { addRevoked } from '../../../agent/identity/revocation.ts'
import { Intake } from '../../../agent/daemon/intake.ts'
import { Lanes } from '../../../agent/daemon/lane.ts'
import type { Work } from '../../../agent/daemon/runner.ts'
import { Journal } from '../../../agent/daemon/journal/journal.ts'
import type { Writer } from '../../../agent/daemon/journal/writer.ts'
import type { Chat } from '../../../shared/chat/chat.ts'
import { CHAT_TTL_MS } from '../../../shared/limits.ts'
import { reportOf } from '../../../shared/problems.ts'
import { IssuerKeys } from '../../../shared/triggers/issuer-keys.ts'
import {
  cancelFrame,
  configFor,
  hookFrame,
  OTHER_SECRET,
  runAgent,
  SECRET,
  stackConfig,
  takenIn,
  tempDir,
  tokenFrame,
  type CancelParts,
} from '../../support/host.ts'
import { ended, hubFor, type Hub } from '../../support/hub.ts'
import { until } from '../../support/until.ts'

/** A roll that goes on until it is told to stop or to go on, and ends as the core does. */
function heldRoll() {
  const begun: string[] = []
  const heard: unknown[] = []
  const releases: (() => void)[] = []
  const roll: AgentOptions['roll'] = async (_stack, _request, _ports, { deploy, emit, signal }) => {
    emit({ type: 'started' })
    begun.push(deploy.id)
    await new Promise<void>((resolve) => {
      releases.push(resolve)
      signal.addEventListener('abort', () => resolve())
    })
    if (!signal.aborted) return emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
    heard.push(reportOf(signal.reason))
    emit({ type: 'cancelled', ms: 7 })
  }
  return { roll, begun, heard, release: () => releases.at(-1)?.() }
}

async function world() {
  const hub = await hubFor()
  const dir = tempDir()
  const held = heldRoll()
  const config = configFor(hub.url, [stackConfig('hello', SECRET), stackConfig('other', OTHER_SECRET)])
  const agent = await runAgent(dir, hub.url, { roll: held.roll, config })
  await until('connected', () => agent.connects.count === 1)
  const key = await loadOrCreateKey(dir)
  const deliver = async (eventId: string) => {
    const frame = await hookFrame({ eventId })
    hub.deliver(frame)
    await until(`${eventId} is received`, () => hub.types(frame.id).includes('received'))
    return frame.id
  }
  const cancel = async (deploy: string, parts: Partial<CancelParts> = {}, by: HostKey = key) =>
    hub.send(await cancelFrame(by, { relay: hub.url, deploy, ...parts }))
  return { hub, dir, agent, key, deliver, cancel, ...held }
}

const lastOf = (hub: Hub, id: string) => hub.log(id).at(-1)?.event

test('a deploy that waits is taken out and never begins; the one that runs is left alone', async () => {
  const { hub, agent, deliver, cancel, begun, release } = await world()
  const [a, b] = [await deliver('a'), await deliver('b')]
  await until('a runs', () => begun.length === 1)
  await cancel(b)
  expect(await ended(hub, b)).toEqual(['received', 'cancelled'])
  expect(lastOf(hub, b)).toEqual({ type: 'cancelled', by: 'cli:test' })
  release()
  expect((await ended(hub, a)).at(-1)).toBe('succeeded')
  const c = await deliver('c')
  await until('c runs', () => begun.length === 2)
  release()
  await ended(hub, c)
  expect(begun).toEqual([a, c])
  expect(agent.journal.statusOf(b)).toBe('cancelled')
})

test('a deploy that runs is told to stop, and by whom; what waits comes next', async () => {
  const { hub, deliver, cancel, begun, heard, release } = await world()
  const [a, b] = [await deliver('a'), await deliver('b')]
  await until('a runs', () => begun.length === 1)
  await cancel(a)
  expect(await ended(hub, a)).toEqual(['received', 'started', 'cancelled'])
  expect(lastOf(hub, a)).toEqual({ type: 'cancelled', ms: 7, by: 'cli:test' })
  expect(heard).toEqual([{ code: 'cancelled', message: 'cancelled by cli:test' }])
  await until('b runs', () => begun.includes(b))
  release()
  expect((await ended(hub, b)).at(-1)).toBe('succeeded')
})

test('of two who cancel it, the first is named', async () => {
  const { hub, deliver, cancel, begun } = await world()
  const a = await deliver('a')
  await until('a runs', () => begun.length === 1)
  await cancel(a, { actor: 'first' })
  await cancel(a, { actor: 'second' })
  await ended(hub, a)
  expect(lastOf(hub, a)).toMatchObject({ by: 'first' })
})

test('a cancel that comes right behind its deploy does not overtake it', async () => {
  const { hub, cancel, begun } = await world()
  const frame = await hookFrame({ eventId: 'a' })
  const late = await hookFrame({ eventId: 'b' })
  hub.deliver(frame)
  hub.deliver(late)
  await cancel(late.id)
  expect(await ended(hub, late.id)).toEqual(['received', 'cancelled'])
  expect(begun).toEqual([frame.id])
})

test('a request that cannot be verified yet holds up no other stack, and no cancel', async () => {
  const taken: string[] = []
  const cancelled: string[] = []
  const config = configFor('https://relay.example', [
    stackConfig('hello', SECRET),
    stackConfig('other', OTHER_SECRET),
  ])
  const key = await loadOrCreateKey(tempDir())
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  let asks = 0
  const lanes = new Lanes<Work>(config.stacks, {
    run: async ({ stack }) => void taken.push(stack),
    onSuperseded: () => {},
    onExpired: () => {},
    onCancelled: () => {},
  })
  // One that runs, of the stack whose request cannot be verified yet.
  lanes.of('hello')?.recover({ id: RUNNING, stack: 'hello' }, async (stop) => {
    await once(stop, 'abort')
    cancelled.push(RUNNING)
  })
  const intake = new Intake({
    config,
    trusted: {
      // The first that asks for the keys waits for them, as for an issuer that does not answer.
      publicKeys: async () => {
        asks += 1
        if (asks === 1) await held
        return [key.publicJwk]
      },
      revoked: async () => [],
      issuers: new IssuerKeys(),
    },
    journal: { has: () => false, newest: () => undefined } as unknown as Journal,
    writer: { receive: () => true } as unknown as Writer,
    log: () => {},
    onUnacknowledged: () => {},
    lanes,
    send: () => {},
  })
  const relay = config.relay
  intake.consider(await tokenFrame(key, { relay, body: '{}', scopes: ['deploy'] }))
  await until('the first is being verified', () => asks === 1)
  intake.consider(await hookFrame({ eventId: 'x', stack: 'other', secret: OTHER_SECRET }))
  intake.cancel(await cancelFrame(key, { relay, deploy: RUNNING }))
  await until('both went on', () => taken.length === 1 && cancelled.length === 1)
  expect(taken).toEqual(['other'])
  release()
  await intake.end()
  expect(taken).toEqual(['other', 'hello'])
})

test.each([
  ['chat:ops', false],
  ['@token', false],
  ['deploy', true],
])('what %s asks for is automatic: %s', async (trigger, expected) => {
  const hub = await hubFor()
  const dir = tempDir()
  const journal = new Journal(dir)
  journal.receive(takenIn({ id: QUEUED, trigger, expiresAt: Infinity }), 1)
  journal.close()
  const seen: boolean[] = []
  const roll: AgentOptions['roll'] = async (_stack, _request, _ports, { deploy, emit }) => {
    seen.push(deploy.isAutomatic)
    emit({ type: 'started' })
    emit({ type: 'succeeded', ms: 1, changed: true, services: {} })
  }
  const chat: Chat = {
    type: 'slack',
    name: 'ops',
    ttlMs: CHAT_TTL_MS,
    keys: [SECRET],
    teams: ['T1'],
    channels: ['C1'],
    stacks: [{ name: 'hello', image: 'ghcr.io/acme/hello', deploy: [] }],
  }
  await runAgent(dir, hub.url, { roll, config: configFor(hub.url, [stackConfig()], [chat]) })
  await ended(hub, QUEUED)
  expect(seen).toEqual([expected])
})

test('what is not known, or over, is told in the log and changes nothing', async () => {
  const { hub, agent, deliver, cancel, begun, release } = await world()
  const a = await deliver('a')
  await until('a runs', () => begun.length === 1)
  release()
  await ended(hub, a)
  await cancel(a)
  await cancel('0000000000000000')
  await until(
    'both are told',
    () => agent.logs.filter((line) => line.includes('is not cancelled')).length === 2,
  )
  expect(hub.types(a)).toEqual(['received', 'started', 'succeeded'])
  expect(agent.journal.has('0000000000000000')).toBe(false)
})

test('no forged, altered, borrowed or expired cancel stops anything', async () => {
  const { hub, agent, key, dir, deliver, cancel, begun, heard } = await world()
  const stranger = await loadOrCreateKey(tempDir())
  const [a, b] = [await deliver('a'), await deliver('b')]
  await until('a runs', () => begun.length === 1)
  const revoked = await cancelFrame(key, { relay: hub.url, deploy: a })
  const { jti = '', exp = 0 } = decodeJwt(revoked.proof.token)
  await addRevoked(dir, [{ id: jti, expiresAt: exp * 1000 }], {
    now: new Date(),
    signal: AbortSignal.timeout(5000),
  })
  const deployToken = await tokenFrame(key, { relay: hub.url, body: '{}', boundTo: '{}' })
  const lies: (() => Promise<void>)[] = [
    () => cancel(a, {}, stranger),
    () => cancel(a, { relay: 'https://elsewhere.example' }),
    () => cancel(a, { scopes: ['read'] }),
    () => cancel(a, { scopes: ['rollback'] }),
    () => cancel(a, { scopes: ['agent'] }),
    () => cancel(a, { stacks: ['other'] }),
    () => cancel(a, { now: new Date(Date.now() - 3_600_000) }),
    () => cancel(a, { now: new Date(Date.now() + 3_600_000) }),
    // One that was bound to another deploy's cancel.
    async () => hub.send({ ...(await cancelFrame(key, { relay: hub.url, deploy: b })), deploy: a }),
    () => cancel(a, { body: `{"cancel":"${b}"}`, isBound: false }),
    () => cancel(a, { body: '{}', isBound: false }),
    // What was signed for a deploy.
    async () => {
      if (deployToken.proof.kind !== 'token') throw new Error()
      const { token } = deployToken.proof
      hub.send({ type: 'cancel', deploy: a, proof: { token, body: btoa(`{"cancel":"${a}"}`) } })
    },
    async () => hub.send({ type: 'cancel', deploy: a, proof: { token: 'x', body: '' } }),
    // The token that the agent dialled with.
    async () =>
      hub.send({
        type: 'cancel',
        deploy: a,
        proof: { token: hub.tokens[0] ?? '', body: btoa(`{"cancel":"${a}"}`) },
      }),
    async () => hub.send(revoked),
  ]
  for (const lie of lies) await lie()
  await until(
    'all are refused',
    () => agent.logs.filter((line) => line.includes(`deploy ${a} is not cancelled`)).length === lies.length,
  )
  expect(agent.logs.join('\n')).not.toContain('eyJ')
  expect(heard).toEqual([])
  expect(hub.types(a)).toEqual(['received', 'started'])
  expect(hub.types(b)).toEqual(['received'])
  await cancel(a)
  expect((await ended(hub, a)).at(-1)).toBe('cancelled')
})

/** An agent whose process died with a deploy that ran and another behind it. */
function crashed(dir: string): void {
  const journal = new Journal(dir)
  journal.receive(takenIn({ id: RUNNING }), Date.now())
  journal.append(RUNNING, { type: 'started' }, Date.now())
  journal.receive(takenIn({ id: QUEUED }), Date.now())
  journal.close()
}
const RUNNING = '0123456789abcdef'
const QUEUED = 'fedcba9876543210'

test('a recovery is told of a cancel; what waits for its end is cancelled without having begun', async () => {
  const hub = await hubFor()
  const dir = tempDir()
  crashed(dir)
  const heard: unknown[] = []
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  const agent = await runAgent(dir, hub.url, {
    recover: async (_stack, _request, _record, _ports, { emit, signal }) => {
      signal.addEventListener('abort', () => heard.push(reportOf(signal.reason)))
      await held
      // On its way back it has not listened.
      emit({ type: 'failed', ms: 1, problem: { code: 'interrupted', message: 'undone' } })
    },
  })
  await until('the recovery runs', () => agent.recovered.length === 1 && agent.connects.count === 1)
  const key = await loadOrCreateKey(dir)
  hub.send(await cancelFrame(key, { relay: hub.url, deploy: QUEUED }))
  hub.send(await cancelFrame(key, { relay: hub.url, deploy: RUNNING }))
  await until('it is told', () => heard.length === 1)
  expect(heard).toEqual([{ code: 'cancelled', message: 'cancelled by cli:test' }])
  release()
  expect((await ended(hub, RUNNING)).at(-1)).toBe('failed')
  expect(await ended(hub, QUEUED)).toEqual(['received', 'cancelled'])
  expect(agent.rolls).toEqual([])
})

test('a deploy that the agent had, by the relay’s word, and does not know is not begun', async () => {
  const { hub, agent, begun } = await world()
  const frame = await hookFrame({ eventId: 'lost' })
  hub.deliver({ ...frame, received: true })
  await until('an answer', () => hub.declined.length === 1)
  expect(hub.declined).toEqual([
    {
      deploy: frame.id,
      event: { type: 'failed', ms: 0, problem: expect.objectContaining({ code: 'interrupted' }) },
    },
  ])
  expect(agent.journal.has(frame.id)).toBe(false)
  expect(begun).toEqual([])
})

test('one that it knows goes on, whatever the relay says', async () => {
  const { hub, begun, release } = await world()
  const frame = await hookFrame({ eventId: 'known' })
  hub.deliver(frame)
  await until('it runs', () => begun.length === 1)
  hub.deliver({ ...frame, received: true })
  release()
  expect((await ended(hub, frame.id)).at(-1)).toBe('succeeded')
  expect(hub.declined).toEqual([])
})

test('a deploy token’s request that a relay turns into a rollback is declined, and the other way round', async () => {
  const { hub, key, begun } = await world()
  const relay = hub.url
  const release = '{"release":"previous"}'
  hub.deliver(await tokenFrame(key, { relay, body: release, scopes: ['deploy'] }))
  hub.deliver(await tokenFrame(key, { relay, body: '{}', scopes: ['rollback'] }))
  await until('two answers', () => hub.declined.length === 2)
  for (const { event } of hub.declined)
    expect(event).toMatchObject({ type: 'failed', problem: { code: 'request-unverified' } })
  expect(begun).toEqual([])
  const honest = await tokenFrame(key, { relay, body: release, scopes: ['rollback'] })
  hub.deliver(honest)
  await until('it runs', () => begun.includes(honest.id))
})
