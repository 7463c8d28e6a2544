// Fail at every step: wherever a call fails, hangs or the deploy is cancelled, all is as before, and no request has failed. `npm test` plays a
// part of it, by a seed that it prints; `npm run whole` all.

import { afterAll, expect, test, vi } from 'vitest'
import { partOf } from '../../support/part.ts'
import { randomOf } from '../../support/random.ts'
import { Count, faultsAt, placesOf, play, record, SCENES } from '../../support/world/sweep.ts'

vi.mock(import('../../../agent/compose/edit/edit.ts'), async (original) => {
  const [edit, { memoized }] = [await original(), await import('../../support/memo.ts')]
  return { ...edit, editService: memoized(edit.editService), readService: memoized(edit.readService) }
})

const KINDS = ['throw', 'throw-after-effect', 'hang', 'hang-after-effect', 'cancel'] as const
/** Far above what a sweep takes; it is many rolls. */
const SWEEP_MS_MAX = 120_000
const count = new Count()
const random = randomOf('which faults of the sweep')

afterAll(() => console.log(`One fault, at each place of a roll:\n${count}`))

for (const [name, scene] of Object.entries(SCENES))
  test(
    `one fault anywhere: ${name}`,
    async () => {
      const bad: (string | undefined)[] = []
      const all = placesOf(await record(scene)).flatMap((place) => faultsAt(place, KINDS))
      for (const fault of partOf(random, all)) bad.push(await play(scene, [[fault]], count))
      expect(bad.filter(Boolean)).toEqual([])
    },
    SWEEP_MS_MAX,
  )

// From then on the same call always fails, so the way back may meet it too: that is what `stuck` is for, and it loses no request either.
for (const [name, scene] of Object.entries(SCENES))
  test(
    `a fault that stays: ${name}`,
    async () => {
      const bad: (string | undefined)[] = []
      const all = placesOf(await record(scene)).flatMap((place) => faultsAt(place, ['throw']))
      for (const fault of partOf(random, all))
        bad.push(await play(scene, [[{ ...fault, isPersistent: true }]], count))
      expect(bad.filter(Boolean)).toEqual([])
    },
    SWEEP_MS_MAX,
  )
