// Crash at every step: wherever the agent's process ends, the next one takes the stack back, and no request has failed.

import { expect, test, vi } from 'vitest'
import { FakeWorld } from '../../support/fake-world.ts'
import type { Call, Fault } from '../../support/world/faults.ts'
import { faultsAt, judge, placesOf, record, SCENES, tellOf, type Scene } from '../../support/world/sweep.ts'

vi.mock(import('../../../agent/compose/edit.ts'), async (original) => {
  const [edit, { memoized }] = [await original(), await import('../../support/memo.ts')]
  return { ...edit, editService: memoized(edit.editService), readService: memoized(edit.readService) }
})

const KINDS = ['crash', 'crash-after-effect', 'crash-midway'] as const
/** Far above what a sweep takes; it is many rolls. */
const SWEEP_MS_MAX = 60_000

for (const [name, scene] of Object.entries(SCENES))
  test(
    `the agent ends anywhere: ${name}`,
    async () => {
      expect(await crashAt(scene, placesOf(await record(scene)))).toEqual([])
    },
    SWEEP_MS_MAX,
  )

for (const [name, scene] of Object.entries(SCENES))
  test(
    `the agent ends anywhere on the way back: ${name}`,
    async () => {
      // The last recreation fails, so that every instance is to be taken back.
      const last = (await record(scene)).findLast(({ method }) => method === 'compose.up')
      const failure: Fault = { method: 'compose.up', nth: last?.nth ?? 0, kind: 'throw-after-effect' }
      const { calls, status } = await new FakeWorld(scene.world).failAt(failure).roll(scene.request)
      expect(status).toBe('failed')
      const isFailure = ({ method, nth }: Call) => method === failure.method && nth === failure.nth
      const undoing = calls.slice(calls.findIndex(isFailure) + 1)
      expect(await crashAt(scene, placesOf(undoing), failure)).toEqual([])
    },
    SWEEP_MS_MAX,
  )

async function crashAt(scene: Scene, places: readonly Call[], failure?: Fault): Promise<string[]> {
  const bad: string[] = []
  for (const place of places)
    for (const fault of faultsAt(place, KINDS)) {
      const world = new FakeWorld(scene.world).failAt(fault)
      if (failure) world.failAt(failure)
      const first = await world.roll(scene.request)
      const second = await world.recover(first.record)
      const wrong = await judge(world, second)
      if (!first.hasCrashed) wrong.push('the agent did not end')
      if (second.status !== 'failed') wrong.push(`recovery ends ${second.status}`)
      if (wrong.length > 0) bad.push(tellOf(fault, place.step, wrong, world))
    }
  return bad
}
