// A drain waits for the connections of every address that nginx may have used, and spares a machine with a long table of them.

import { expect, test } from 'vitest'
import { FakeWorld } from '../../support/fake-world.ts'
import { overIPv6 } from '../../support/world/ipv6.ts'

const V2 = { env: { MESSAGE: '{service},v2' } }

test.each([
  ['of both families', true],
  ['of IPv6 alone', false],
])('requests that go by IPv6 end before their instance does, in a network %s', async (_what, isDual) => {
  // Longer than nginx's workers need to retire.
  const world = new FakeWorld({ requestMs: 3000 })
  overIPv6(world, isDual)
  expect((await world.roll(V2)).status).toBe('succeeded')
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('a long table is read once for all servers, and most of the time nobody reads it', async () => {
  const TOOK_MS = 200
  const world = new FakeWorld({ requestMs: 2000 })
  const { engine, clock } = world.ports
  const { connections } = engine
  let isReading = false
  let readMs = 0
  Object.assign(engine, {
    connections: async (...args: Parameters<typeof connections>) => {
      expect(isReading).toBe(false)
      isReading = true
      readMs += TOOK_MS
      await clock.sleep(TOOK_MS, args[2])
      isReading = false
      return await connections(...args)
    },
  })
  const life = await world.roll(V2)
  expect(life.status).toBe('succeeded')
  const drainMs = life.events.flatMap((event) =>
    event.type === 'step-finished' && 'cut' in event.facts ? [event.ms] : [],
  )
  expect(readMs).toBeLessThan(0.3 * drainMs.reduce((sum, ms) => sum + ms, 0))
  expect(await world.faultsAfter('changed')).toEqual([])
})
