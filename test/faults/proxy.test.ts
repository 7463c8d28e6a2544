// A network that breaks in every way while stacks are rolled. The roll goes on without it, and its events arrive late, but whole, once and
// in order.

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { SILENCE_MS_MAX } from '../../shared/limits.ts'
import type { Passage, Proxy } from '../support/proxy.ts'
import { until } from '../support/until.ts'
import { faultsIn, gather, logFaults, type Asked } from './evidence.ts'
import { randomOf, type Random } from '../support/random.ts'
import { eventually, startWorld } from './world.ts'

const STACKS = ['one', 'two', 'three'] as const
const REQUESTS = 60
const PAUSE_MS_MAX = 300
const FAULTS = 40
const FAULT_MS_MAX = 600
/** A frozen connection shows after 1.5 s instead of after a minute. */
const FAST = { pingMs: 200, silenceMs: 1500, welcomeMs: 1500, waitMsMax: 200 }

/** What can happen to a connection. It heals by itself, or the agent must notice. */
const CHAOS: Record<string, (passage: Passage, proxy: Proxy, random: Random) => void> = {
  reset: (passage) => passage.reset(),
  'half-close up': (passage) => passage.halfClose('up'),
  'half-close down': (passage) => passage.halfClose('down'),
  'freeze for good': (passage) => passage.freeze(),
  'freeze for a while': (passage, _, random) => {
    passage.freeze()
    setTimeout(() => passage.thaw(), random.from(100, 1400))
  },
  'what was on its way up arrives after the next connection': (passage, _, random) => {
    passage.hold('up')
    setTimeout(() => passage.loseClient(), random.from(0, 300))
    setTimeout(() => passage.release('up'), random.from(600, 2000))
  },
  'what was on its way down is lost': (passage, _, random) => {
    passage.hold('down')
    setTimeout(() => passage.reset(), random.from(100, 800))
  },
  'slow for a while': (_, proxy, random) => {
    proxy.delayMs = random.from(20, 300)
    setTimeout(() => (proxy.delayMs = 0), 800)
  },
  'nobody answers for a while': (passage, proxy) => {
    proxy.isRefusing = true
    passage.reset()
    setTimeout(() => (proxy.isRefusing = false), 700)
  },
}

describe.concurrent('between agent and relay', () => {
  test('a frozen agent is offline for the hub after a minute of silence, and online when it is back', async (context) => {
    const world = await startWorld(context, { hasProxy: true, timing: FAST })
    world.proxy.isRefusing = true
    for (const passage of world.proxy.open()) passage.freeze()
    const frozenAt = Date.now()
    expect((await world.hostState()).agent.status).toBe('online')

    await eventually(
      'the hub takes the agent for gone',
      async () => (await world.hostState()).agent.status === 'offline',
      SILENCE_MS_MAX + 10_000,
    )
    expect(Date.now() - frozenAt).toBeGreaterThan(SILENCE_MS_MAX - FAST.pingMs - 1000)
    // A request of that time waits, and is not lost with the dead connection.
    const id = await world.send('hello', 'while-away')
    expect(world.rolls()).toEqual([])
    world.proxy.isRefusing = false
    expect((await world.outcome(id)).at(-1)?.event.type).toBe('succeeded')
    expect((await world.hostState()).agent.status).toBe('online')
  })

  test('a frozen connection does not hold up the roll, and the agent notices within its silence limit', async (context) => {
    const world = await startWorld(context, { hasProxy: true, timing: FAST })
    const letGo = world.hold('roll')
    const id = await world.send('hello', 'roll')
    await until('the roll is in its middle', () => world.rolls().includes('start roll'))

    world.proxy.isRefusing = true
    for (const passage of world.proxy.open()) passage.freeze()
    letGo()
    await until('the roll has ended', () => world.rolls().includes('end roll'))
    expect((await world.deploy(id)).finishedAt).toBeNull()
    await world.agent.said('the relay has gone silent', { withinMs: FAST.silenceMs + 3000 })

    world.proxy.isRefusing = false
    const events = await world.outcome(id)
    expect(logFaults(events)).toEqual([])
    expect(events.at(-1)?.event.type).toBe('succeeded')
    expect(world.rolls()).toEqual(['start roll', 'end roll'])
  })

  test('the newest connection counts: what arrives late on an older one changes nothing', async (context) => {
    const world = await startWorld(context, { hasProxy: true, timing: { waitMsMax: 100 } })
    const [older] = world.proxy.open()
    if (!older) throw new Error('the agent is not connected')
    const letGo = world.hold('roll')
    const id = await world.send('hello', 'roll')
    await until('the roll is in its middle', () => world.rolls().includes('start roll'))
    older.hold('up')
    letGo()
    await world.agent.said(`${id}: succeeded`)
    await until('its last events are on their way', () => older.sent.up > older.passed.up)

    const heardBefore = older.sent.down
    older.loseClient()
    const events = await world.outcome(id)
    expect(events.at(-1)?.event.type).toBe('succeeded')
    const before = await world.hostState()
    await until('the hub has closed the older connection', () => older.sent.down > heardBefore)

    const heard = older.sent.down
    older.release('up')
    await until('the older connection is done', () => !older.isOpen)
    expect(older.passed.up).toBe(older.sent.up)
    // Not a word in answer.
    expect(older.sent.down).toBe(heard)
    expect(await world.events(id)).toEqual(events)
    expect(await world.outcome(await world.send('hello', 'next'))).toHaveLength(events.length)
    expect((await world.hostState()).agent).toMatchObject({ status: 'online', since: before.agent.since })
    expect(world.proxy.open()).toHaveLength(1)
    expect(world.rolls()).toEqual(['start roll', 'end roll', 'start next', 'end next'])
  })

  test('what the hub has stored is not stored twice when its word on that is lost', async (context) => {
    const world = await startWorld(context, { hasProxy: true, timing: FAST })
    const letGo = [world.hold('roll.0'), world.hold('roll.1')] as const
    const id = await world.send('hello', 'roll')
    const hasEvents = (count: number) => async () => (await world.events(id)).length >= count
    await eventually('the hub knows that the first step has begun', hasEvents(5))
    const [passage] = world.proxy.open()
    passage?.hold('down')
    letGo[0]()
    await eventually('the hub knows of the second step', hasEvents(7))
    passage?.reset()
    await world.agent.said('agent connected', { times: 2 })
    letGo[1]()
    const events = await world.outcome(id)
    expect(logFaults(events)).toEqual([])
    expect(events.map(({ event }) => event.type)).toEqual(
      'accepted received started planned step-started step-finished step-started step-finished succeeded'.split(
        ' ',
      ),
    )
    expect(world.rolls()).toEqual(['start roll', 'end roll'])
  })

  test('whatever happens to connections: events arrive complete, once and in order', async (context) => {
    const random = randomOf('a network that breaks')
    const world = await startWorld(context, { stacks: STACKS, hasProxy: true, timing: FAST })
    const happened: string[] = []
    const chaos = async () => {
      for (let n = 0; n < FAULTS; n += 1) {
        await sleep(random.from(0, FAULT_MS_MAX))
        const what = random.pick(Object.keys(CHAOS))
        const passage = world.proxy.open().at(-1)
        if (passage) CHAOS[what]?.(passage, world.proxy, random)
        if (passage) happened.push(what)
      }
    }
    const send = async () => {
      const sent: Promise<Asked>[] = []
      for (let n = 0; n < REQUESTS; n += 1) {
        const stack = random.pick(STACKS)
        sent.push(world.send(stack, `req-${n}`).then((id) => ({ name: `req-${n}`, stack, id })))
        await sleep(random.from(0, PAUSE_MS_MAX))
      }
      return Promise.all(sent)
    }
    const [asked] = await Promise.all([send(), chaos()])
    console.log(
      JSON.stringify(
        Object.groupBy(happened, (what) => what),
        (_, value: unknown) => (Array.isArray(value) ? value.length : value),
      ),
    )
    for (const stack of STACKS)
      asked.push({ name: `last-${stack}`, stack, id: await world.send(stack, `last-${stack}`) })
    for (const { id } of asked) await world.outcome(id, 60_000)
    await world.end(world.agent)

    const evidence = await gather(world)
    expect(faultsIn(evidence, asked)).toEqual([])
    // Nobody was killed, so whatever began came to its end.
    const names = (fact: string) => evidence.rolls.filter((line) => line.startsWith(fact)).length
    expect(names('end')).toBe(names('start'))
    expect(names('recover')).toBe(0)
    for (const stack of STACKS) expect(evidence.rolls).toContain(`end last-${stack}`)
  })
})
