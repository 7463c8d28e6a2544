// A strategy that is planted: a file, here this one, and a line in strategies/index.ts, here a mock. All else rolls, undoes and recovers by it.

import { expect, test, vi } from 'vitest'
import { inPlace } from '../../../../agent/roll/strategies/in-place.ts'
import type { RollFacts, Strategy } from '../../../../agent/roll/strategies/strategy.ts'
import { FakeWorld } from '../../../support/fake-world.ts'

const reversed = (facts: RollFacts) => ({ ...facts, targets: facts.targets.toReversed() })

/** First to last. */
const firstToLast: Strategy = {
  check: inPlace.check,
  routes: inPlace.routes,
  plan: (facts, standing, goal) => inPlace.plan(reversed(facts), standing, goal),
}

vi.mock(import('../../../../agent/roll/strategies/index.ts'), async () => ({
  strategyFor: () => 'first-to-last',
  strategyOf: () => firstToLast,
}))

const V2 = { env: { MESSAGE: '{service},v2' } }

test('it rolls, first to last', async () => {
  const world = new FakeWorld({ instances: 3 })
  const { status, events } = await world.roll(V2)
  expect(status).toBe('succeeded')
  const planned = events.find((event) => event.type === 'planned')
  const updates = planned?.plan.steps.flatMap((step) => (step.kind === 'update' ? [step.service] : []))
  expect(updates).toEqual(['app1', 'app2', 'app3'])
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('what fails is undone by it', async () => {
  const world = new FakeWorld({ instances: 3 })
  world.failAt({ method: 'compose.up', nth: 3, kind: 'throw' })
  expect(await world.roll(V2)).toMatchObject({ status: 'failed' })
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test.each([1, 2, 3])('a crash at the update of service %i is recovered from by it', async (nth) => {
  for (const kind of ['crash', 'crash-after-effect', 'crash-midway'] as const) {
    const world = new FakeWorld({ instances: 3 })
    world.failAt({ method: 'compose.up', nth, kind })
    const crashed = await world.roll(V2)
    expect(crashed.hasCrashed).toBe(true)
    const { status } = await world.recover()
    expect(['succeeded', 'failed']).toContain(status)
    expect(await world.faultsAfter(status === 'succeeded' ? 'changed' : 'unchanged')).toEqual([])
  }
})
