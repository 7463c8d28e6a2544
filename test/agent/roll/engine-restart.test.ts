// The engine restarts in the middle of a roll, and takes all containers with it. No promise is made for requests meanwhile; afterwards the
// services that are rolled, and nginx, are as before.

import { expect, test } from 'vitest'
import { FakeWorld } from '../../support/fake-world.ts'

const AWAY_MS = 2000
const V2 = { image: 'ghcr.io/acme/hello:v2' }

async function undone(ms: number, hasRestartPolicy: boolean): Promise<void> {
  const world = new FakeWorld()
  world.clock.after(ms, () => world.restartEngine(AWAY_MS, { hasRestartPolicy }))
  const { status } = await world.roll(V2)
  expect(status, world.story()).toBe('failed')
  // No business of the roll's.
  for (const cache of world.containers.ofService('cache'))
    if (cache.state !== 'running') world.containers.start(cache)
  expect(await world.faultsAfter('unchanged'), world.story()).toEqual([])
}

test.each([150, 300, 500, 700, 900, 1000, 1500])(
  '%i ms into a roll, with containers that come back',
  async (ms) => await undone(ms, true),
)

test.each([300, 500, 700, 900, 1000])(
  '%i ms into a roll, with containers that stay stopped',
  async (ms) => await undone(ms, false),
)

// As long as the instance that is being recreated does not run, its name is unknown and nginx cannot start.
test.each([
  [1100, true],
  [1200, true],
  [1100, false],
  [1200, false],
  [1500, false],
])(
  '%i ms into a roll, with nginx waiting for the instance that is being recreated',
  async (ms, hasRestartPolicy) => await undone(ms, hasRestartPolicy),
)
