// The simulation by chance: tales are told until one goes wrong, and that one is made as short as it can be.

import fc from 'fast-check'
import { otherTale, tale } from './chance.ts'
import { storyOf } from './story.ts'
import { tell, withoutIdle, type Tale } from './tale.ts'

/** Shrinking tells hundreds of tales; by then it is short enough to be read. */
const SHRINK_MS_MAX = 60_000

export interface Simulated {
  /** The shortest tale that was found to go wrong. */
  readonly tale: Tale | undefined
  /** In words, with what it takes to tell it again. */
  readonly story: string | undefined
  readonly summary: string
  readonly rolls: number
}

export interface SimulateOptions {
  readonly seed: number
  readonly tales: number
  /** Of stacks that are sick before a deploy, and have more about them. */
  readonly isOther?: boolean
  /** Where to begin, of a simulation that was had before. */
  readonly path?: string | undefined
  readonly isShrunk?: boolean
}

export async function simulate({
  seed,
  tales,
  path,
  isOther = false,
  isShrunk = true,
}: SimulateOptions): Promise<Simulated> {
  const startedAt = performance.now()
  const ends = new Map<string, number>()
  let [rolls, transitions, shrinksUntil] = [0, 0, Infinity]
  const property = fc.asyncProperty(isOther ? otherTale : tale, async (one) => {
    if (performance.now() > shrinksUntil) return
    const told = await tell(one)
    if (shrinksUntil === Infinity) {
      rolls += told.deploys.length
      transitions += told.world.moments.count
      for (const { status } of told.deploys) ends.set(status, (ends.get(status) ?? 0) + 1)
    }
    if (told.wrong.length === 0) return
    if (shrinksUntil === Infinity) shrinksUntil = performance.now() + SHRINK_MS_MAX
    throw new Error(told.wrong.join('\n'))
  })
  const found = await fc.check(property, {
    seed,
    numRuns: tales,
    endOnFailure: !isShrunk,
    ...(path === undefined ? {} : { path }),
  })
  const seconds = (performance.now() - startedAt) / 1000
  const summary = `${rolls} rolls (${[...ends].map(([end, count]) => `${count} ${end}`).join(', ')}), ${transitions} transitions checked: ${Math.round(rolls / seconds)} rolls/s, ${Math.round(transitions / seconds)} transitions/s, seed ${seed}`
  const [shrunk] = found.counterexample ?? []
  if (!shrunk) return { tale: undefined, story: undefined, summary, rolls }
  const shortest = withoutIdle(shrunk, await tell(shrunk))
  const again = `To have it again: ROPEWAY_SIMULATION_SEED=${seed} ROPEWAY_SIMULATION_PATH=${found.counterexamplePath}`
  return { tale: shortest, story: `${storyOf(shortest, await tell(shortest))}\n${again}`, summary, rolls }
}

/** Fixed, so that a build is as good as the last one; the environment has others. */
export function seedOf(fixed: number): Pick<SimulateOptions, 'seed' | 'path'> {
  const { ROPEWAY_SIMULATION_SEED: seed, ROPEWAY_SIMULATION_PATH: path } = process.env
  return { seed: Number(seed ?? fixed), path }
}
