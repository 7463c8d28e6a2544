// Fail at every step: wherever a call fails, hangs or the deploy is cancelled, the world is as before and no request has failed.

import { expect, test, vi } from 'vitest'
import { FakeWorld } from '../../support/fake-world.ts'
import { faultsAt, judge, placesOf, record, SCENES, tellOf } from '../../support/world/sweep.ts'

vi.mock(import('../../../agent/compose/edit.ts'), async (original) => {
  const [edit, { memoized }] = [await original(), await import('../../support/memo.ts')]
  return { ...edit, editService: memoized(edit.editService), readService: memoized(edit.readService) }
})

const KINDS = ['throw', 'throw-after-effect', 'hang', 'hang-after-effect', 'cancel'] as const
/** Far above what a sweep takes; it is many rolls. */
const SWEEP_MS_MAX = 60_000

for (const [name, scene] of Object.entries(SCENES))
  test(
    `one fault anywhere: ${name}`,
    async () => {
      const bad: string[] = []
      for (const place of placesOf(await record(scene)))
        for (const fault of faultsAt(place, KINDS)) {
          const world = new FakeWorld(scene.world).failAt(fault)
          const life = await world.roll(scene.request)
          const wrong = await judge(world, life)
          if (!life.wasMet) wrong.push('the fault was not met')
          if (wrong.length > 0) bad.push(tellOf(fault, place.step, wrong, world))
        }
      expect(bad).toEqual([])
    },
    SWEEP_MS_MAX,
  )

// From then on the same call always fails, so the way back may meet it too: that is what `stuck` is for, and it loses no request either.
for (const [name, scene] of Object.entries(SCENES))
  test(
    `a fault that stays: ${name}`,
    async () => {
      const bad: string[] = []
      for (const place of placesOf(await record(scene)))
        for (const fault of faultsAt(place, ['throw'])) {
          const world = new FakeWorld(scene.world).failAt({ ...fault, isPersistent: true })
          const life = await world.roll(scene.request)
          await world.settle()
          const { end } = life
          const wrong = end?.type === 'stuck' ? [...world.traffic.failures.keys()] : await judge(world, life)
          if (
            end?.type === 'stuck' &&
            !`${end.undo.message} ${end.undo.code}`.match(/injected|nginx-|compose-/)
          )
            wrong.push(`stuck says ${end.undo.message}`)
          if (wrong.length > 0) bad.push(tellOf(fault, place.step, wrong, world))
        }
      expect(bad).toEqual([])
    },
    SWEEP_MS_MAX,
  )
