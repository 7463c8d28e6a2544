// Crash at every step: wherever the agent's process ends, the next one finishes the roll or takes it back, and no request has failed. `npm test`
// plays a part of it, by a seed that it prints; `npm run whole` all.

import { afterAll, expect, test, vi } from 'vitest'
import { partOf } from '../../support/part.ts'
import { randomOf } from '../../support/random.ts'
import type { Call, Fault } from '../../support/world/faults.ts'
import {
  Count,
  faultsAt,
  placesOf,
  play,
  record,
  SCENES,
  stage,
  type Scene,
} from '../../support/world/sweep.ts'

vi.mock(import('../../../agent/compose/edit/edit.ts'), async (original) => {
  const [edit, { memoized }] = [await original(), await import('../../support/memo.ts')]
  return { ...edit, editService: memoized(edit.editService), readService: memoized(edit.readService) }
})

const KINDS = ['crash', 'crash-after-effect', 'crash-midway', 'crash-alone'] as const
/** Far above what a sweep takes; it is many rolls. */
const SWEEP_MS_MAX = 120_000
const count = new Count()
const random = randomOf('which places of the sweep')

afterAll(() => console.log(`The agent's end, at each place of a roll and of its way back:\n${count}`))

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
      const { calls, status } = await (await stage(scene)).failAt(failure).roll(scene.request)
      expect(status).toBe('failed')
      const isFailure = ({ method, nth }: Call) => method === failure.method && nth === failure.nth
      const undoing = calls.slice(calls.findIndex(isFailure) + 1)
      expect(await crashAt(scene, placesOf(undoing), failure)).toEqual([])
    },
    SWEEP_MS_MAX,
  )

async function crashAt(scene: Scene, places: readonly Call[], failure?: Fault): Promise<string[]> {
  const bad: (string | undefined)[] = []
  for (const place of partOf(random, places))
    for (const fault of faultsAt(place, KINDS))
      bad.push(await play(scene, [failure ? [failure, fault] : [fault]], count))
  return bad.filter((one) => one !== undefined)
}
