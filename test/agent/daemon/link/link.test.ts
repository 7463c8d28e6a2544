import { describe, expect, onTestFinished, test } from 'vitest'
import {
  nextDelay,
  RESTED,
  type BackoffState,
  type LossReason,
} from '../../../../agent/daemon/link/backoff.ts'
import { Link, type LinkOptions } from '../../../../agent/daemon/link/link.ts'
import type { AgentLoggedEvent } from '../../../../shared/events.ts'
import {
  PROTOCOL_VERSION,
  type DeployFrame,
  type FromAgent,
  type Hello,
} from '../../../../shared/protocol.ts'
import { FRAME_BYTES_MAX, PING_INTERVAL_MS, SILENCE_MS_MAX } from '../../../../shared/limits.ts'
import { Problem } from '../../../../shared/problems.ts'
import { hookFrame } from '../../../support/host.ts'
import { startHub, type Behaviour, type Hub } from '../../../support/hub.ts'
import { until } from '../../../support/until.ts'

describe('the wait before dialling again', () => {
  test.each<[LossReason, number, number, number, number]>([
    // reason, losses before, up for ms, shortest, longest
    ['lost', 0, 0, 0, 500],
    ['lost', 1, 0, 0, 1000],
    ['lost', 3, 1000, 0, 4000],
    ['lost', 6, 0, 0, 30_000],
    ['lost', 500, 0, 0, 30_000],
    ['lost', 500, 59_999, 0, 30_000],
    ['lost', 500, 60_000, 0, 500],
    ['replaced', 0, 0, 30_000, 60_000],
    ['replaced', 9, 100_000, 30_000, 60_000],
    ['unauthorized', 0, 0, 30_000, 60_000],
    ['unauthorized', 1, 0, 30_000, 120_000],
    ['unauthorized', 100, 0, 30_000, 300_000],
  ])('%s after %i losses, up for %i ms: %i to %i ms', (reason, losses, upMs, min, max) => {
    expect(nextDelay({ losses }, { reason, upMs }, 0).delayMs).toBe(min)
    expect(nextDelay({ losses }, { reason, upMs }, 0.999_999).delayMs).toBeCloseTo(max, -2)
  })

  test('losses are counted, and forgotten after a minute up', () => {
    let state: BackoffState = RESTED
    for (let i = 0; i < 5; i += 1) state = nextDelay(state, { reason: 'lost', upMs: 0 }, 0).state
    expect(state).toEqual({ losses: 5 })
    expect(nextDelay(state, { reason: 'lost', upMs: 60_000 }, 0).state).toEqual({ losses: 1 })
  })
})

/** Of the link, when it is told to. The hub's answer to its close takes at most 1 s; whatever else it could wait for, 15 s or more. */
const STOP_MS_MAX = 5000

interface Running {
  readonly hub: Hub
  readonly link: Link
  readonly logs: string[]
  readonly welcomes: { count: number }
  readonly deploys: DeployFrame[]
  readonly waits: { delayMs: number; reason: LossReason }[]
  stop(): Promise<void>
}

const HELLO = {
  type: 'hello',
  v: PROTOCOL_VERSION,
  agent: 'test',
  stacks: ['hello'],
  triggers: [],
  revoked: [],
} satisfies Hello

async function running(
  behaviour: Partial<Behaviour> = {},
  timing: LinkOptions['timing'] = {},
  { hello = async () => HELLO, onDeploy }: Partial<Pick<LinkOptions, 'hello' | 'onDeploy'>> = {},
): Promise<Running> {
  const hub = await startHub(behaviour)
  const stop = new AbortController()
  const logs: string[] = []
  const welcomes = { count: 0 }
  const deploys: DeployFrame[] = []
  const waits: Running['waits'] = []
  let tokens = 0
  const link = new Link({
    relay: hub.url,
    host: 'vps-1',
    token: async () => `token-${(tokens += 1)}`,
    hello,
    log: (level, message) => logs.push(`${level}: ${message}`),
    onWelcome: () => (welcomes.count += 1),
    onDeploy: onDeploy ?? ((frame) => deploys.push(frame)),
    onCancel: () => {},
    onStored: () => {},
    timing: {
      ...timing,
      wait: (delayMs, reason) => {
        waits.push({ delayMs, reason })
        return timing.wait?.(delayMs, reason) ?? 5
      },
    },
  })
  let isEnded = false
  const ended = link.run(stop.signal).then(() => (isEnded = true))
  const result = {
    hub,
    link,
    logs,
    welcomes,
    deploys,
    waits,
    stop: async () => {
      stop.abort()
      await until('the link has ended', () => isEnded, STOP_MS_MAX)
      await ended
    },
  }
  onTestFinished(async () => {
    await result.stop()
    await hub.stop()
  })
  return result
}

test('it says hello, takes deploys, and ends when told to', async () => {
  const { hub, link, welcomes, deploys, stop } = await running()
  await until('welcome', () => welcomes.count === 1)
  expect(hub.hellos).toEqual([HELLO])
  const frame = await hookFrame()
  hub.deliver(frame)
  await until('deploy', () => deploys.length === 1)
  expect(deploys).toEqual([frame])
  expect(link.isUp).toBe(true)
  await stop()
  expect(link.isUp).toBe(false)
  await until('the hub sees it go', () => hub.sockets.size === 0)
})

test('a dropped socket is dialled again, with a fresh token', async () => {
  const { hub, welcomes } = await running()
  for (let round = 1; round <= 3; round += 1) {
    await until(`welcome ${round}`, () => welcomes.count === round)
    hub.drop()
  }
  await until('the last welcome', () => welcomes.count === 4)
  expect(hub.tokens).toEqual(['token-1', 'token-2', 'token-3', 'token-4'])
})

test('a relay that is not there yet is found when it comes', async () => {
  const { hub, welcomes, waits } = await running({ refuseWith: 503 })
  await until('three attempts', () => waits.length >= 3)
  expect(new Set(waits.map(({ reason }) => reason))).toEqual(new Set(['lost']))
  hub.behaviour.refuseWith = undefined
  await until('welcome', () => welcomes.count === 1)
})

test('pings keep a quiet connection up', async () => {
  const { hub, welcomes } = await running({}, { pingMs: 10, silenceMs: 200 })
  await until('many pings', () => hub.pings.count > 50)
  expect(welcomes.count).toBe(1)
})

test('a half-open relay, which takes all and answers nothing, is left', async () => {
  const { hub, welcomes, logs } = await running({ answersPings: false }, { pingMs: 10, silenceMs: 100 })
  await until('a second welcome', () => welcomes.count >= 2)
  expect(hub.pings.count).toBeGreaterThan(0)
  expect(logs.join('\n')).toContain('the relay has gone silent')
})

test('silence is counted from the last thing heard: a minute, of which two pings may be missed', async () => {
  expect(SILENCE_MS_MAX).toBeLessThanOrEqual(60_000)
  expect(SILENCE_MS_MAX).toBeGreaterThan(2 * PING_INTERVAL_MS)
  const { hub, welcomes, logs } = await running({}, { pingMs: 20, silenceMs: 300 })
  await until('welcome', () => welcomes.count === 1)
  await until('pings over more than the limit of silence', () => hub.pings.count > 30)
  expect(welcomes.count).toBe(1)
  hub.behaviour.answersPings = false
  await until('it is left', () => logs.some((line) => line.includes('has gone silent')))
})

test('a relay that never welcomes is left, even if it answers pings', async () => {
  const { hub, welcomes, logs, link } = await running({ welcomes: false }, { pingMs: 5, welcomeMs: 60 })
  await until('a second attempt', () => hub.hellos.length >= 2)
  expect(welcomes.count).toBe(0)
  expect(link.isUp).toBe(false)
  expect(logs.join('\n')).toContain('did not welcome us')
})

test('when another agent took over, it says so loudly and waits long', async () => {
  const { waits, logs } = await running({ closeWith: 4001 })
  await until('a wait', () => waits.length >= 1)
  expect(waits[0]?.reason).toBe('replaced')
  expect(waits[0]?.delayMs).toBeGreaterThanOrEqual(30_000)
  expect(logs[0]).toMatch(/^warn: ANOTHER AGENT has connected as vps-1/)
})

test.each([401, 403, 404])(
  'an answer of %i is told with its cure, and dialled again slowly',
  async (status) => {
    const { waits, logs } = await running({ refuseWith: status })
    await until('a wait', () => waits.length >= 1)
    expect(waits[0]?.reason).toBe('unauthorized')
    expect(waits[0]?.delayMs).toBeGreaterThanOrEqual(30_000)
    expect(logs[0]).toMatch(/^warn: .*ropeway enroll/)
  },
)

test.each([
  [401, -600_000, 'ahead of'],
  [403, 600_000, 'behind'],
  [404, -31_500, 'ahead of'],
])(
  'an answer of %i by a clock %i ms off ours names the clocks, not the key',
  async (status, clockOffsetMs, words) => {
    const { waits, logs } = await running({ refuseWith: status, clockOffsetMs })
    await until('a wait', () => waits.length >= 1)
    expect(waits[0]?.reason).toBe('unauthorized')
    expect(logs[0]).toMatch(
      new RegExp(`^warn: .*vps-1's clock is (600|599|601|32|31) s ${words} the relay's`),
    )
    expect(logs[0]).not.toContain('enroll')
  },
)

test('a hello that cannot be made is told, and tried again: the agent goes on', async () => {
  let failures = 2
  const { hub, logs, welcomes } = await running(
    {},
    {},
    {
      hello: async () => {
        if (failures > 0) {
          failures -= 1
          throw new Problem('key-unusable', 'revoked.json is damaged')
        }
        return HELLO
      },
    },
  )
  await until('welcome', () => welcomes.count === 1)
  expect(hub.tokens).toHaveLength(1)
  expect(logs).toHaveLength(2)
  expect(logs[0]).toMatch(/^warn: .*revoked.json is damaged/)
})

test('each connection has a hello of its own', async () => {
  let made = 0
  const { hub, welcomes } = await running(
    {},
    {},
    { hello: async () => ({ ...HELLO, revoked: [`t${(made += 1)}`] }) },
  )
  await until('welcome', () => welcomes.count === 1)
  hub.drop()
  await until('a second welcome', () => welcomes.count === 2)
  expect(hub.hellos.map(({ revoked }) => revoked)).toEqual([['t1'], ['t2']])
})

test('whoever cannot deal with a frame neither ends the connection nor the process', async () => {
  let calls = 0
  const { hub, logs, welcomes, link } = await running(
    {},
    {},
    {
      onDeploy: () => {
        calls += 1
        throw new Error('database or disk is full')
      },
    },
  )
  await until('welcome', () => welcomes.count === 1)
  hub.deliver(await hookFrame())
  hub.deliver(await hookFrame())
  await until('both frames', () => calls === 2)
  expect(link.isUp).toBe(true)
  expect(logs.join('\n')).toContain('database or disk is full')
})

const progress = (text: string): FromAgent => ({
  type: 'events',
  deploy: '0123456789abcdef',
  events: [{ seq: 1, at: 1, event: { type: 'step-progress', step: 0, facts: { text } } }],
})

test('a frame of ours that is too long is never sent: the relay would only close the socket again', async () => {
  const { hub, link, logs, welcomes } = await running()
  await until('welcome', () => welcomes.count === 1)
  expect(link.send(progress('→'.repeat(FRAME_BYTES_MAX / 3)))).toBe(false)
  expect(link.send(progress('small'))).toBe(true)
  await until('the small one', () => hub.batches.length === 1)
  expect(welcomes.count).toBe(1)
  expect(logs).toHaveLength(1)
})

test('a frame of a newer relay is passed over, with a word to whoever must update', async () => {
  const { hub, logs, welcomes, deploys } = await running()
  await until('welcome', () => welcomes.count === 1)
  for (const socket of hub.sockets) socket.send('{"type":"brew-coffee"}')
  const frame = await hookFrame()
  hub.deliver(frame)
  await until('the next frame', () => deploys.length === 1)
  expect(welcomes.count).toBe(1)
  expect(logs).toEqual([expect.stringContaining('brew-coffee')])
})

const NEWER = JSON.parse(
  `[{"type":"brewed","text":"brewed it"},
    {"type":"planned","plan":{"stack":"s","upstream":"u","instances":[],"steps":[{"kind":"brew","text":"brew it"}]}},
    {"type":"recovering","way":"sideways"},
    {"type":"failed","ms":1,"problem":{"code":"too-hot","message":"it is too hot"}}]`,
) as AgentLoggedEvent['event'][]
const newerTrigger = {
  type: 'brewed',
  stack: 'hello',
  name: 'pot',
  ttlMs: 1,
} as unknown as Hello['triggers'][number]
const newerChat = { type: 'brewed', name: 'cafe' } as unknown as NonNullable<Hello['chats']>[number]

test.each([
  [2, [newerTrigger], [newerChat], NEWER],
  [
    1,
    [],
    [],
    [
      { type: 'warning', problem: { code: 'brewed', message: 'brewed it' } },
      {
        type: 'planned',
        plan: {
          stack: 's',
          upstream: 'u',
          instances: [],
          steps: [{ kind: 'command', when: 'before', service: 'the stack', command: ['brew it'] }],
        },
      },
      { type: 'warning', problem: { code: 'recovering', message: 'sideways' } },
      { type: 'failed', ms: 1, problem: { code: 'internal', message: 'it is too hot (too-hot)' } },
    ],
  ],
])(
  'to a relay of version %i new words are said so that it can read them',
  async (version, triggers, chats, told) => {
    const hello = async () => ({ ...HELLO, triggers: [newerTrigger], chats: [newerChat] })
    const { hub, link, logs, welcomes } = await running({ version }, {}, { hello })
    await until('welcome', () => welcomes.count === 1)
    expect(hub.hellos).toEqual([{ ...HELLO, triggers, chats }])
    expect(logs.filter((line) => line.includes('hello/pot (brewed), chat cafe (brewed)'))).toHaveLength(
      version === 1 ? 1 : 0,
    )
    link.send({
      type: 'events',
      deploy: '0123456789abcdef',
      events: NEWER.map((event, i) => ({ seq: i + 1, at: 1, event })),
    })
    await until('events', () => hub.batches.length === 1)
    expect(hub.batches[0]?.events.map(({ event }) => event)).toEqual(told)
  },
)

test('a close with 4401 is one too', async () => {
  const { waits } = await running({ closeWith: 4401 })
  await until('a wait', () => waits.length >= 1)
  expect(waits[0]?.reason).toBe('unauthorized')
})

test.each(['not JSON', '{"kind":"no-type"}', 'x'.repeat(1024 * 1024 + 1)])(
  'a malformed frame ends the connection, and nothing else',
  async (text) => {
    const { hub, welcomes, deploys } = await running()
    await until('welcome', () => welcomes.count === 1)
    for (const socket of hub.sockets) socket.send(text)
    await until('the next welcome', () => welcomes.count === 2)
    expect(deploys).toEqual([])
  },
)

test.each([
  [45_000, 'ahead of'],
  [-45_000, 'behind'],
])('a clock that differs by %i ms is told', async (clockOffsetMs, words) => {
  const { logs, welcomes } = await running({ clockOffsetMs })
  await until('welcome', () => welcomes.count === 1)
  expect(logs).toEqual([expect.stringContaining(`the relay's clock is 45 s ${words}`)])
})

test('a clock that is right is not', async () => {
  const { logs, welcomes } = await running()
  await until('welcome', () => welcomes.count === 1)
  expect(logs).toEqual([])
})

test('stopping while it waits ends the wait', async () => {
  const { waits, stop } = await running({ refuseWith: 503 }, { wait: () => 3_600_000 })
  await until('a wait', () => waits.length === 1)
  await stop()
})

test('stopping while it dials ends the dialling: the relay may never answer', async () => {
  const { hub, waits, stop } = await running({ answersUpgrades: false })
  await until('an attempt', () => hub.tokens.length === 1)
  await stop()
  expect(hub.tokens.length).toBe(1)
  expect(waits).toEqual([])
})

test('stopping before it dials leaves it at that', async () => {
  const { promise, resolve } = Promise.withResolvers<Hello>()
  const hellos = { count: 0 }
  const { hub, stop } = await running({}, {}, { hello: () => ((hellos.count += 1), promise) })
  await until('it makes its hello', () => hellos.count === 1)
  const stopped = stop()
  resolve(HELLO)
  await stopped
  expect(hub.tokens).toEqual([])
})
