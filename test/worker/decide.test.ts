// The hub's decisions, without a hub.

import { describe, expect, test } from 'vitest'
import type { Deploy, Status } from '../../shared/deploy.ts'
import type { Trust } from '../../shared/request.ts'
import type { DeployEvent } from '../../shared/events.ts'
import {
  OFFER_AGAIN_MS,
  OFFER_AGAIN_MS_MAX,
  OFFERS_MAX,
  PENDING_MAX,
  SILENCE_MS_MAX,
} from '../../shared/limits.ts'
import {
  accept,
  cancel,
  deployFrame,
  due,
  isAlive,
  releases,
  takeDeclined,
  takeIn,
  withGaps,
  type AgentPresence,
  type Waiting,
} from '../../worker/hub/decide.ts'
import { rotated } from '../../worker/hub/keys.ts'
import { take } from '../../worker/buckets.ts'
import { Limiter } from '../../worker/hub/limiter.ts'

const EVENTS: Record<string, DeployEvent> = {
  received: { type: 'received' },
  started: { type: 'started' },
  cancelled: { type: 'cancelled' },
}
const incoming = (...events: [number, string][]) =>
  events.map(([seq, name]) => ({ seq, at: 1000 + seq, event: EVENTS[name]! }))

const at = (status: Status, seq: number, agentSeq: number) => ({ status, seq, agentSeq })

test.each<
  [string, Parameters<typeof takeIn>, { stored: number[]; status: Status; upTo: number } | { gap: number }]
>([
  ['the first', [at('queued', 1, 0), incoming([1, 'received'])], { stored: [2], status: 'queued', upTo: 1 }],
  [
    'two in one',
    [at('queued', 1, 0), incoming([1, 'received'], [2, 'started'])],
    { stored: [2, 3], status: 'running', upTo: 2 },
  ],
  [
    'a repetition',
    [at('running', 3, 2), incoming([1, 'received'], [2, 'started'])],
    { stored: [], status: 'running', upTo: 2 },
  ],
  [
    'half a repetition',
    [at('queued', 2, 1), incoming([1, 'received'], [2, 'started'])],
    { stored: [3], status: 'running', upTo: 2 },
  ],
  [
    'one twice in one',
    [at('queued', 1, 0), incoming([1, 'received'], [1, 'received'])],
    { stored: [2], status: 'queued', upTo: 1 },
  ],
  [
    'the hub has more of its own',
    [at('queued', 5, 1), incoming([2, 'started'])],
    { stored: [6], status: 'running', upTo: 2 },
  ],
  ['a hole before', [at('queued', 1, 0), incoming([2, 'started'])], { gap: 1 }],
  ['a hole within', [at('queued', 1, 0), incoming([1, 'received'], [3, 'started'])], { gap: 2 }],
  [
    'the end',
    [at('running', 3, 2), incoming([3, 'cancelled'])],
    { stored: [4], status: 'cancelled', upTo: 3 },
  ],
  [
    'more after the end',
    [at('running', 3, 2), incoming([3, 'cancelled'], [4, 'started'])],
    { stored: [4], status: 'cancelled', upTo: 4 },
  ],
  [
    'after the end',
    [at('cancelled', 4, 3), incoming([9, 'started'])],
    { stored: [], status: 'cancelled', upTo: 9 },
  ],
  [
    'old ones after the end',
    [at('cancelled', 4, 3), incoming([1, 'received'])],
    { stored: [], status: 'cancelled', upTo: 3 },
  ],
  ['of no deploy', [undefined, incoming([4, 'started'])], { stored: [], status: 'failed', upTo: 4 }],
  [
    'begun in time, heard of too late: the hub had only guessed that it expired',
    [at('expired', 2, 0), incoming([1, 'received'], [2, 'started'], [3, 'cancelled'])],
    { stored: [3, 4], status: 'cancelled', upTo: 3 },
  ],
  [
    'the same in two parts',
    [at('running', 3, 2), incoming([1, 'received'], [2, 'started'], [3, 'cancelled'])],
    { stored: [4], status: 'cancelled', upTo: 3 },
  ],
  [
    'received, but not begun, after it had expired',
    [at('expired', 2, 0), incoming([1, 'received'], [2, 'cancelled'])],
    { stored: [], status: 'expired', upTo: 2 },
  ],
  [
    'expired by the agent’s own word',
    [at('expired', 3, 2), incoming([3, 'started'])],
    { stored: [], status: 'expired', upTo: 3 },
  ],
])('events: %s', (_, [place, events], expected) => {
  const intake = takeIn(place, events)
  expect(
    intake.isGap
      ? { gap: intake.expected }
      : { stored: intake.rows.map(({ seq }) => seq), status: intake.status, upTo: intake.storedUpTo },
  ).toEqual(expected)
})

test('an event keeps the agent’s time and count', () => {
  const intake = takeIn(at('queued', 4, 7), incoming([8, 'started']))
  expect(!intake.isGap && intake.rows).toEqual([
    { seq: 5, at: 1008, agentSeq: 8, event: { type: 'started' } },
  ])
})

const asked = {
  id: '0123456789abcdef',
  actor: 'ci',
  request: { image: 'hello:v2' },
  trust: 'signed' as Trust,
  ttlMs: 5000,
  signedAt: 1000,
  expiresAt: 306_000,
}
const asking = { host: 'vps-1', stack: 'hello', trigger: 'deploy', asked }
const NONE = { count: 0, waiting: [] }
const waits = (id: string, over: Partial<Waiting> = {}): Waiting => ({
  id,
  stack: 'hello',
  trigger: 'deploy',
  trust: 'signed',
  request: { image: 'hello:v1' },
  acceptedAt: 1000,
  offers: 0,
  offeredAt: null,
  settlesAt: null,
  expiresAt: 1_000_000,
  ...over,
})
const offered = (offers: number, offeredAt: number) => ({ offers, offeredAt })

test('a new request is a queued deploy and its first event', () => {
  expect(accept(undefined, NONE, asking, 1234)).toEqual({
    outcome: 'new',
    deploy: {
      id: '0123456789abcdef',
      host: 'vps-1',
      stack: 'hello',
      trigger: 'deploy',
      actor: 'ci',
      trust: 'signed',
      status: 'queued',
      acceptedAt: 1234,
      finishedAt: null,
    },
    event: {
      type: 'accepted',
      stack: 'hello',
      trigger: 'deploy',
      actor: 'ci',
      trust: 'signed',
      image: 'hello:v2',
    },
    expiresAt: 6234,
    settlesAt: null,
    superseded: [],
  })
})

test('a request does not live longer for having come late', () => {
  expect(accept(undefined, NONE, { ...asking, asked: { ...asked, expiresAt: 2000 } }, 1234)).toMatchObject({
    expiresAt: 2000,
  })
})

test('a known request stays what it became', () => {
  const known = { id: asked.id, status: 'failed' } as Deploy
  expect(accept(known, { count: PENDING_MAX, waiting: [] }, asking, 1234)).toEqual({
    outcome: 'known',
    deploy: known,
  })
})

test.each<[string, Trust, Waiting[], string[]]>([
  ['the one that waits', 'signed', [waits('a')], ['a']],
  ['not what it does not cover', 'signed', [waits('a', { request: { image: 'api:v1' } })], []],
  ['not another stack’s', 'signed', [waits('a', { stack: 'other' })], []],
  ['not one that the agent may have', 'signed', [waits('a', offered(1, 5))], []],
  ['all that wait, hints too', 'signed', [waits('a'), waits('b', { trust: 'hint' })], ['a', 'b']],
  ['a hint only hints', 'hint', [waits('a'), waits('b', { trust: 'hint' })], ['b']],
])('a new request supersedes: %s', (_, trust, waiting, superseded) => {
  const pending = { count: waiting.length, waiting }
  expect(accept(undefined, pending, { ...asking, asked: { ...asked, trust } }, 1234)).toMatchObject({
    superseded,
  })
})

test('a host with too many unfinished deploys takes no more, unless one makes room', () => {
  expect(accept(undefined, { count: PENDING_MAX, waiting: [] }, asking, 1)).toEqual({ outcome: 'full' })
  expect(accept(undefined, { count: PENDING_MAX, waiting: [waits('a')] }, asking, 1)).toMatchObject({
    outcome: 'new',
  })
})

const NOW = 500_000
test.each<
  [string, Waiting[], AgentPresence, { offer?: string[]; end?: [string, string][]; nextAt?: number }]
>([
  ['nobody waits', [], 'present', {}],
  ['no agent: only time can end it', [waits('a')], 'absent', { nextAt: 1_000_000 }],
  ['its time is over', [waits('a', { expiresAt: NOW })], 'absent', { end: [['a', 'expired']] }],
  [
    'its time is over before it is offered',
    [waits('a', { expiresAt: NOW })],
    'new',
    { end: [['a', 'expired']] },
  ],
  [
    'the agent is back',
    [waits('a'), waits('b', offered(3, NOW))],
    'new',
    { offer: ['a', 'b'], nextAt: NOW + OFFER_AGAIN_MS },
  ],
  [
    'offered a moment ago',
    [waits('a', offered(1, NOW - 1))],
    'present',
    { nextAt: NOW - 1 + OFFER_AGAIN_MS },
  ],
  [
    'offered, and nothing heard',
    [waits('a', offered(1, NOW - OFFER_AGAIN_MS))],
    'present',
    { offer: ['a'], nextAt: NOW + 2 * OFFER_AGAIN_MS },
  ],
  [
    'offered twice: twice the patience',
    [waits('a', offered(2, NOW - OFFER_AGAIN_MS))],
    'present',
    { nextAt: NOW + OFFER_AGAIN_MS },
  ],
  [
    'the wait has an upper bound',
    [waits('a', { ...offered(OFFERS_MAX - 1, NOW), expiresAt: 1e12 })],
    'present',
    { nextAt: NOW + OFFER_AGAIN_MS_MAX },
  ],
  ['offered too often', [waits('a', offered(OFFERS_MAX, 0))], 'new', { end: [['a', 'failed']] }],
  [
    'several are suspected: an agent that is back gets the one that was offered least',
    [waits('a', offered(4, 0)), waits('b', offered(3, 0)), waits('c', offered(3, 0)), waits('d')],
    'new',
    { offer: ['b', 'd'], nextAt: NOW + OFFER_AGAIN_MS },
  ],
  [
    'of the suspected one whose time is over, or one that was offered too often, does not hold back the others',
    [
      waits('a', { ...offered(3, 0), expiresAt: NOW }),
      waits('b', offered(4, 0)),
      waits('c', offered(OFFERS_MAX, 0)),
    ],
    'new',
    {
      offer: ['b'],
      end: [
        ['a', 'expired'],
        ['c', 'failed'],
      ],
      nextAt: NOW + 16 * OFFER_AGAIN_MS,
    },
  ],
  [
    'an agent that stays gets them all',
    [waits('a', offered(4, 0)), waits('b', offered(3, 0))],
    'present',
    { offer: ['a', 'b'], nextAt: NOW + 8 * OFFER_AGAIN_MS },
  ],
  [
    'it expires before the next offer',
    [waits('a', { ...offered(1, NOW), expiresAt: NOW + 7 })],
    'present',
    { nextAt: NOW + 7 },
  ],
])('due: %s', (_, waiting, agent, expected) => {
  const { offer, end, nextAt } = due(waiting, agent, NOW)
  expect({ offer, end: end.map(({ id, event }) => [id, event.type]), nextAt }).toEqual({
    offer: expected.offer ?? [],
    end: expected.end ?? [],
    nextAt: expected.nextAt,
  })
})

test('a request that the agent never takes ends within a few hours, and sooner if its agent dies of it', () => {
  let [offers, offeredAt, now] = [1, 0, 0]
  for (;;) {
    const { end, nextAt } = due(
      [waits('a', { ...offered(offers, offeredAt), expiresAt: 1e12 })],
      'present',
      now,
    )
    if (end.length > 0) break
    if (nextAt === undefined) throw new Error('it waits for ever')
    if (now === nextAt) throw new Error('it does not wait')
    now = nextAt
    if (
      due([waits('a', { ...offered(offers, offeredAt), expiresAt: 1e12 })], 'present', now).offer.length > 0
    )
      [offers, offeredAt] = [offers + 1, now]
  }
  expect(offers).toBe(OFFERS_MAX)
  expect(now / 3_600_000).toBeGreaterThan(2)
  expect(now / 3_600_000).toBeLessThan(5)
})

const DECLINED = { type: 'superseded', by: 'x' } as const
test.each<[string, Parameters<typeof at> | undefined, number | undefined]>([
  ['one that waits', ['queued', 1, 0], 2],
  ['one that the agent has taken in', ['queued', 2, 1], undefined],
  ['one that is over', ['expired', 2, 0], undefined],
  ['one that is not here', undefined, undefined],
])('declined: %s', (_, place, seq) => {
  expect(takeDeclined(place && at(...place), DECLINED, 9)?.seq).toBe(seq)
})

const LOST = { type: 'failed', ms: 0, problem: { code: 'interrupted', message: 'lost' } } as const
test.each<[string, Parameters<typeof at> | undefined, object | undefined]>([
  ['one that the agent has taken in', ['running', 5, 4], { seq: 6, agentSeq: 4 }],
  ['one that is over', ['failed', 5, 4], undefined],
  ['one that is not here', undefined, undefined],
])('lost by the agent: %s', (_, place, row) => {
  const taken = takeDeclined(place && at(...place), LOST, 9)
  if (row) expect(taken).toMatchObject(row)
  else expect(taken).toBeUndefined()
})

test('one that the agent has taken in does not fail by a word of another kind', () => {
  const refused = { ...LOST, problem: { code: 'stack-locked', message: 'no' } } as const
  expect(takeDeclined(at('running', 5, 4), refused, 9)).toBeUndefined()
  expect(takeDeclined(at('queued', 1, 0), refused, 9)?.event).toBe(refused)
})

test.each([
  ['queued', false, false, 'cancelled'],
  ['queued', false, true, 'cancelled'],
  ['queued', true, true, 'cancelling'],
  ['queued', true, false, 'agent-offline'],
  ['running', true, true, 'cancelling'],
  ['running', true, false, 'agent-offline'],
  ['running', false, false, 'agent-offline'],
  ['succeeded', true, true, 'over'],
  ['cancelled', false, true, 'over'],
  ['expired', true, false, 'over'],
] as const)('cancel: %s, offered %s, agent there %s: %s', (status, wasOffered, isAgentThere, expected) => {
  expect(cancel(status, { wasOffered, isAgentThere })).toBe(expected)
})

test('a deploy frame says whether the agent had it', () => {
  const proof = { kind: 'hint', nonce: '0'.repeat(32) } as const
  const deploy = { id: 'a', stack: 's', trigger: 't', acceptedAt: 1 } as Deploy
  const frame = { type: 'deploy', id: 'a', stack: 's', trigger: 't', acceptedAt: 1, proof }
  expect(deployFrame({ deploy, proof }, true)).toEqual({ ...frame, received: true })
  expect(deployFrame({ deploy, proof }, false)).toStrictEqual(frame)
})

const made = (deploy: string, release: number | undefined, of?: number) => ({
  deploy,
  at: 100,
  actor: 'ci',
  reason: undefined,
  outcome: {
    type: 'succeeded' as const,
    ms: 1,
    changed: release !== undefined,
    services: { app1: `hello:${deploy}` },
    ...(release === undefined ? {} : { release }),
    ...(of === undefined ? {} : { of }),
  },
})
const version = (image: string) => ({ image, env: {} })
const PLAN_OF_B = {
  at: 50,
  plan: {
    stack: 'hello',
    upstream: 'apps',
    instances: ['app1'],
    steps: [
      { kind: 'pull' as const, image: 'hello:b' },
      {
        kind: 'update' as const,
        service: 'app1',
        from: version('hello:a'),
        to: version('hello:b'),
        undo: false,
      },
      // Of one that was built here nobody knows an image.
      { kind: 'update' as const, service: 'app2', from: { env: {} }, to: version('hello:b'), undo: false },
    ],
  },
}
const numbers = (list: ReturnType<typeof releases>) => list.map(({ release, deploy }) => [release, deploy])
const noPlan = () => undefined

test('releases: newest first, the first one runs, and a rollback says what it is again', () => {
  const list = releases([made('c', 3, 1), made('n', undefined), made('b', 2), made('a', 1)], 10, noPlan)
  expect(numbers(list)).toEqual([
    [3, 'c'],
    [2, 'b'],
    [1, 'a'],
  ])
  expect(list.map(({ isCurrent, of }) => [isCurrent, of])).toEqual([
    [true, 1],
    [false, undefined],
    [false, undefined],
  ])
})

test('releases: what ran before the first deploy is told by that deploy’s plan', () => {
  const list = releases([made('b', 2)], 10, (deploy) => (deploy === 'b' ? PLAN_OF_B : undefined))
  expect(list[1]).toEqual({
    release: 1,
    deploy: null,
    at: 50,
    actor: null,
    reason: null,
    services: { app1: 'hello:a' },
    isCurrent: false,
  })
  expect(numbers(releases([made('b', 2)], 10, noPlan))).toEqual([[2, 'b']])
  expect(numbers(releases([made('b', 2)], 1, () => PLAN_OF_B))).toEqual([[2, 'b']])
  expect(numbers(releases([made('a', 1)], 10, () => PLAN_OF_B))).toEqual([[1, 'a']])
  expect(numbers(releases([made('c', 3), made('b', 2)], 10, () => PLAN_OF_B))).toEqual([
    [3, 'c'],
    [2, 'b'],
    [1, null],
  ])
})

test('releases: an agent that counts anew takes the numbers of the older ones, and no more than asked are listed', () => {
  expect(numbers(releases([made('x', 2), made('b', 2), made('a', 1)], 10, noPlan))).toEqual([
    [2, 'x'],
    [1, 'a'],
  ])
  expect(numbers(releases([made('c', 3), made('b', 2), made('a', 1)], 2, noPlan)).length).toBe(2)
})

const logged = (...seqs: number[]) =>
  seqs.map((seq) => ({ seq, at: seq, event: { type: 'received' } as const }))
test.each<[string, number, number[], (number | [number, number])[]]>([
  ['all there', 0, [1, 2, 3], [1, 2, 3]],
  ['nothing new', 3, [], []],
  ['the middle is gone', 0, [1, 9], [1, [2, 8], 9]],
  ['it had seen part of what is gone', 5, [9], [[6, 8], 9]],
  ['the gap ends where it stopped', 8, [9], [9]],
])('gaps: %s', (_, after, kept, seen) => {
  const shown = withGaps(after, logged(...kept)).map(({ seq, event }) => {
    if (event.type !== 'gap') return seq
    expect(seq).toBe(event.to)
    return [event.from, event.to]
  })
  expect(shown).toEqual(seen)
})

test('a trigger may use its minute at once, then waits for each', () => {
  let { bucket, retryAfterSeconds } = take(undefined, 60, 0)
  for (let i = 1; i < 60; i++) ({ bucket, retryAfterSeconds } = take(bucket, 60, 0))
  expect(retryAfterSeconds).toBeUndefined()
  expect(take(bucket, 60, 0).retryAfterSeconds).toBe(1)
  expect(take(bucket, 60, 999).retryAfterSeconds).toBe(1)
  expect(take(bucket, 60, 1000).retryAfterSeconds).toBeUndefined()
  expect(take(take(bucket, 60, 1000).bucket, 60, 1000).retryAfterSeconds).toBe(1)
  expect(take(bucket, 60, 1e9).bucket.left).toBe(59)
})

test('a clock that is set back fills no bucket and breaks none', () => {
  const { bucket } = take({ left: 0, at: 5000 }, 60, 0)
  expect(bucket).toEqual({ left: 0, at: 0 })
})

test('one trigger’s requests leave another’s alone, a host’s are counted together', () => {
  const limiter = new Limiter({ perTrigger: 2, perHost: 3 })
  const asks = ['a', 'a', 'a', 'b', 'b'].map((name) => limiter.take('hello', name, 0) === undefined)
  expect(asks).toEqual([true, true, false, true, false])
})

const key = (x: string) => ({ kty: 'OKP' as const, crv: 'Ed25519' as const, x })
test('a new key takes the place of the newest, which counts for a while; asked again, it counts no longer for that', () => {
  const first = { host: 'h', keys: [{ publicKey: key('a'), until: null }] }
  const second = rotated(first, { publicKey: key('b'), keepSeconds: 10 }, 1000)!
  expect(second.keys).toEqual([
    { publicKey: key('b'), until: null },
    { publicKey: key('a'), until: 11_000 },
  ])
  expect(rotated(second, { publicKey: key('b'), keepSeconds: 99 }, 2000)).toEqual(second)
  expect(rotated(second, { publicKey: key('b'), keepSeconds: 0 }, 2000)!.keys.length).toBe(1)
  const third = rotated(second, { publicKey: key('c'), keepSeconds: 100 }, 5000)!
  expect(third.keys.map(({ publicKey, until }) => [publicKey.x, until])).toEqual([
    ['c', null],
    ['b', 105_000],
    ['a', 11_000],
  ])
  expect(rotated(third, { publicKey: key('d'), keepSeconds: 0 }, 6000)!.keys.length).toBe(1)
  expect(rotated(third, { publicKey: key('d'), keepSeconds: 1 }, 50_000)!.keys.length).toBe(3)
})

test('a host has no more keys than are allowed', () => {
  let enrolment = { host: 'h', keys: [{ publicKey: key('0'), until: null as number | null }] }
  for (const x of ['1', '2', '3'])
    enrolment = rotated(enrolment, { publicKey: key(x), keepSeconds: 1000 }, 0)! as typeof enrolment
  expect(rotated(enrolment, { publicKey: key('4'), keepSeconds: 1000 }, 0)).toBeUndefined()
  expect(rotated(enrolment, { publicKey: key('4'), keepSeconds: 0 }, 0)!.keys.length).toBe(1)
})

test.each([
  ['just connected', { isOpen: true, connectedAt: 100_000, pingedAt: undefined }, true],
  [
    'long connected, never pinged',
    { isOpen: true, connectedAt: 100_000 - SILENCE_MS_MAX, pingedAt: undefined },
    false,
  ],
  ['long connected, pinged', { isOpen: true, connectedAt: 0, pingedAt: 99_000 }, true],
  ['a ping too old', { isOpen: true, connectedAt: 0, pingedAt: 100_000 - SILENCE_MS_MAX }, false],
  ['a ping just young enough', { isOpen: true, connectedAt: 0, pingedAt: 100_001 - SILENCE_MS_MAX }, true],
  ['closed', { isOpen: false, connectedAt: 100_000, pingedAt: 100_000 }, false],
])('alive: %s', (_, socket, expected) => {
  expect(isAlive(socket, 100_000)).toBe(expected)
})

const pushed = { ...asked, trust: 'hint' as Trust, signedAt: undefined, expiresAt: Infinity }
const pushing = { ...asking, trigger: 'push', asked: pushed, settleMs: 2000 }
const settling = (over: Partial<Waiting> = {}) =>
  waits('b', { trigger: 'push', trust: 'hint', request: pushed.request, settlesAt: 3000, ...over })
const push = (now: number, ...waiting: Waiting[]) =>
  accept(undefined, { count: waiting.length, waiting }, pushing, now)

describe('a push waits for its other events', () => {
  test('a first one settles, and is offered to nobody before', () => {
    expect(push(1000)).toMatchObject({ outcome: 'new', settlesAt: 3000 })
    for (const agent of ['present', 'new'] as const) {
      expect(due([settling()], agent, 2999)).toMatchObject({ offer: [], nextAt: 3000 })
      expect(due([settling()], agent, 3000)).toMatchObject({ offer: ['b'] })
    }
    // It has settled: another offer waits as any other's does.
    expect(due([settling({ offers: 1, offeredAt: 3000 })], 'present', 3001)).toMatchObject({
      offer: [],
      nextAt: 3000 + OFFER_AGAIN_MS,
    })
  })

  test('one more event joins, and the quiet begins anew, up to the cap', () => {
    expect(push(2500, settling())).toEqual({ outcome: 'joined', id: 'b', settlesAt: 4500, expiresAt: 7500 })
    expect(push(30_000, settling({ settlesAt: 30_500 }))).toMatchObject({ settlesAt: 31_000 })
    // Settled long ago, and the agent away.
    expect(push(500_000, settling())).toMatchObject({ outcome: 'joined', settlesAt: 31_000 })
  })

  test.each([
    ['was offered', settling({ offers: 1, offeredAt: 3000 })],
    ['is another trigger’s', settling({ trigger: 'other' })],
    ['is another stack’s', settling({ stack: 'other' })],
    ['has another tag', settling({ request: { image: 'hello:v1' } })],
    ['is a rollback', settling({ request: { release: 1 } })],
  ])('it joins none that %s', (_, waiting) => {
    expect(push(2500, waiting).outcome).toBe('new')
  })

  test('what is full is full for others: a joined event takes no room', () => {
    const many = Array.from({ length: PENDING_MAX }, (_, n) => waits(String(n), { stack: `s${n}` }))
    const full = { count: PENDING_MAX + 1, waiting: [...many, settling()] }
    expect(accept(undefined, full, pushing, 2500).outcome).toBe('joined')
    expect(accept(undefined, { ...full, waiting: many }, pushing, 2500).outcome).toBe('full')
  })
})
