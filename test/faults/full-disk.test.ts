// The disk under the agent's journal, or under the relay, is full. Nothing that was accepted is lost, nothing runs twice, nothing is
// accepted that cannot be stored.

import { describe, expect, test, type TestContext } from 'vitest'
import { OFFER_AGAIN_MS } from '../../shared/limits.ts'
import { until } from '../support/until.ts'
import { faultsIn, gather, logFaults, type Asked } from './evidence.ts'
import { mountSmallDisk, type SmallDisk } from './small-disk.ts'
import { eventually, makeWorld, type World } from './world.ts'

const AGENT_DISK_BYTES = 4 * 1024 * 1024
/** workerd alone takes some hundred KB. */
const RELAY_DISK_BYTES = 8 * 1024 * 1024
/** Often, so that little is to be waited for until the relay has heard again from the agent. */
const PING_MS = 100

async function worldOn(
  context: TestContext,
  whose: 'agentData' | 'relayData',
  bytes: number,
): Promise<{ world: World; disk: SmallDisk }> {
  const world = await makeWorld(context, { timing: { waitMsMax: 200, pingMs: PING_MS } })
  const disk = mountSmallDisk(context, world[whose], bytes)
  await world.startRelay()
  await world.enroll()
  await world.startAgent()
  return { world, disk }
}

/** Waits until two pings more have come from the agent: what it had sent before the second has come too. */
async function heardAgain(world: World): Promise<void> {
  const lastSeen = async () => (await world.hostState()).agent.lastSeen
  for (const ping of ['a ping', 'the next ping']) {
    const before = await lastSeen()
    await eventually(`the relay has heard ${ping}`, async () => (await lastSeen()) !== before)
  }
}

async function faultsAfter(world: World, asked: readonly Asked[]): Promise<string[]> {
  await world.end(world.agent)
  return faultsIn(await gather(world), asked)
}

describe.concurrent('a full disk', () => {
  test('under the agent: a request that cannot be stored does not run, is offered again, and runs once when there is room', async (context) => {
    const { world, disk } = await worldOn(context, 'agentData', AGENT_DISK_BYTES)
    disk.fill()
    const id = await world.send('hello', 'first')
    await world.agent.said('the journal cannot be written')
    expect((await world.deploy(id)).status).toBe('queued')
    expect(world.rolls()).toEqual([])

    disk.free()
    // The connection is up all the time, so it is the hub's alarm that brings it back.
    const events = await world.outcome(id, OFFER_AGAIN_MS + 15_000)
    expect(events.at(-1)?.event.type).toBe('succeeded')
    expect(world.agent.stdout).toEqual(['agent connected'])
    expect(await faultsAfter(world, [{ name: 'first', stack: 'hello', id }])).toEqual([])
  })

  test('under the agent in the middle of a roll: the roll ends, and its events arrive whole when there is room', async (context) => {
    const { world, disk } = await worldOn(context, 'agentData', AGENT_DISK_BYTES)
    const letGo = world.hold('first')
    const id = await world.send('hello', 'first')
    await until('the roll is in its middle', () => world.rolls().includes('start first'))
    disk.fill()
    letGo()
    await until('the roll has ended', () => world.rolls().includes('end first'))
    await world.agent.said(`deploy ${id}: succeeded`)
    await heardAgain(world)
    expect((await world.deploy(id)).finishedAt).toBeNull()

    disk.free()
    const events = await world.outcome(id)
    expect(logFaults(events)).toEqual([])
    expect(events.map(({ event }) => event.type)).toEqual(
      'accepted received started planned step-started step-finished step-started step-finished succeeded'.split(
        ' ',
      ),
    )
    const next = await world.send('hello', 'next')
    await world.outcome(next)
    expect(world.rolls()).toEqual(['start first', 'end first', 'start next', 'end next'])
    const asked = [
      { name: 'first', stack: 'hello', id },
      { name: 'next', stack: 'hello', id: next },
    ]
    expect(await faultsAfter(world, asked)).toEqual([])
  })

  test('under the agent: one that waits for its turn while the disk fills up runs once, even if the agent is killed then', async (context) => {
    const { world, disk } = await worldOn(context, 'agentData', AGENT_DISK_BYTES)
    const letGo = world.hold('first')
    const first = await world.send('hello', 'first')
    await until('the first is in its middle', () => world.rolls().includes('start first'))
    const second = await world.send('hello', 'second')
    await eventually('the agent has the second', async () => (await world.events(second)).length > 1)
    disk.fill()
    letGo()
    await until('the first has ended', () => world.rolls().includes('end first'))
    await world.agent.said(new RegExp(`deploy ${second}: stuck: .*journal cannot be written`))
    expect(world.rolls()).toEqual(['start first', 'end first'])
    await world.kill(world.agent)

    disk.free()
    await world.startAgent()
    const events = await world.outcome(second)
    expect(events.at(-1)?.event.type).toBe('succeeded')
    await world.outcome(first)
    const asked = [
      { name: 'first', stack: 'hello', id: first },
      { name: 'second', stack: 'hello', id: second },
    ]
    expect(await faultsAfter(world, asked)).toEqual([])
  })

  test('under the relay: what cannot be stored is answered 503, and what was stored before is whole', async (context) => {
    const { world, disk } = await worldOn(context, 'relayData', RELAY_DISK_BYTES)
    const asked: Asked[] = []
    const take = async (name: string) => {
      const id = await world.send('hello', name)
      asked.push({ name, stack: 'hello', id })
      return id
    }
    const before = await world.outcome(await take('before'))

    disk.fill()
    // A little may still fit into files that are there already; what is said to be stored then must be.
    const refused = await eventually('the relay has no room', async () => {
      const name = `try-${asked.length}`
      const answer = await world.post('hello', name)
      if (answer.status !== 202) return answer
      asked.push({ name, stack: 'hello', id: await world.idOf('hello', name) })
      return undefined
    })
    expect(refused.status).toBe(503)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(refused.text).toContain('relay-unavailable')
    for (const name of ['again-1', 'again-2', 'again-3'])
      expect((await world.post('hello', name)).status, 'still no room').toBe(503)

    disk.free()
    const after = await take('after')
    for (const name of ['again-1', 'again-2', 'again-3']) await take(name)
    expect((await world.outcome(after)).at(-1)?.event.type).toMatch(/^(succeeded|superseded)$/)
    for (const { id } of asked) await world.outcome(id)
    expect(await world.events(asked[0]?.id ?? '')).toEqual(before)
    expect(await faultsAfter(world, asked)).toEqual([])
  })
})
