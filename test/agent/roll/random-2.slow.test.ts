// Rolls by chance, part 2: as part 1, of stacks that are sick before a deploy, apps that flap or hang, and an nginx that refuses its text.

import { expect, test, vi } from 'vitest'
import { partOfRuns } from '../../support/part.ts'
import { seedOf, simulate } from '../../support/world/simulate.ts'

vi.mock(import('../../../agent/compose/edit/edit.ts'), async (original) => {
  const [edit, { memoized }] = [await original(), await import('../../support/memo.ts')]
  return { ...edit, editService: memoized(edit.editService), readService: memoized(edit.readService) }
})

/** Some 2.4 rolls each. */
const TALES = partOfRuns(2150)
const ROLLS_MIN = 2 * TALES
const SEED = 20262
/** Far above what it takes; shrinking takes a minute more. */
const MS_MAX = 600_000

test(
  `whatever happens to ${ROLLS_MIN} rolls, each ends truthfully and none loses a request`,
  async () => {
    const seed = seedOf(SEED)
    const { story, summary, rolls } = await simulate({ ...seed, tales: TALES, isOther: true })
    console.log(summary)
    if (story !== undefined) throw new Error(story)
    if (seed.path === undefined) expect(rolls).toBeGreaterThanOrEqual(ROLLS_MIN)
  },
  MS_MAX,
)
