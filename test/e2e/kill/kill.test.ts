// The agent is killed at every step boundary, in the middle of its writes, at random instants, and again while it recovers. Nobody
// notices: no request fails, the stack ends on one version, and the deploy says which.
//
//     npm test, or alone: vitest run --config test/e2e/vitest.config.ts test/e2e/kill/kill.test.ts
//
// `npm test` takes KILLS deploys of each test by chance, ROPEWAY_KILLS another number, and `npm run whole` all of them. ROPEWAY_FAULTS_SEED has a
// run's chances again.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { randomOf, shuffled } from '../../support/random.ts'
import { IS_WHOLE } from '../../support/part.ts'
import { endAll } from '../../support/stack.ts'
import { startLane, type Lane, type Round } from './lane.ts'
import {
  boundaryStories,
  composeStories,
  describeStory,
  recoveryStories,
  randomStories,
  writeStories,
  type Story,
} from './story.ts'
import { printTables } from './table.ts'

/** Two cores are busy with these; with more, all of them only get slower. */
const LANES = 2
const RANDOM_STORIES = 8
/** An env roll of two instances by itself, on a machine that does two more at the same time. */
const ROLL_MS = 3000
/** Against hanging only: on a machine that does something else too, each takes its time. */
const TEST_MS_MAX = 600_000
const KILLS = 3
const KILLS_MAX = IS_WHOLE ? Infinity : Number(process.env['ROPEWAY_KILLS'] ?? KILLS)
/** Said in each test's name: a part is not the whole. */
const PART = IS_WHOLE ? '' : ` (${KILLS_MAX} of the deploys, by chance)`

const random = randomOf('the kill suite')
const rounds: Round[] = []
/** Those whose stack was not as it should be after a round. */
const broken = new Set<Lane>()
const lanes: Lane[] = []

beforeAll(async () => {
  for (let n = 0; n < LANES; n += 1) lanes.push(await startLane())
})
afterEach(async (context) => {
  for (const { ropeway } of lanes) await ropeway.explain(context)
})
afterAll(async () => {
  if (rounds.length > 0) printTables(rounds)
  await endAll(...lanes.map((lane) => () => lane.end()))
})

/** The lanes take one story after the other. One whose stack is not as it should be takes no more: what followed would only be noise. */
async function tell(stories: readonly Story[]): Promise<void> {
  const left = shuffled(random, stories).slice(0, KILLS_MAX)
  const faults: string[] = []
  const work = async (lane: Lane) => {
    const mine: Round[] = []
    const loads = await lane.underLoad(async () => {
      for (let story = left.pop(); story; story = left.pop()) {
        const round = await lane.round(story)
        mine.push(round)
        faults.push(...round.faults.map((fault) => `${describeStory(round.story)}: ${fault}`))
        if (round.faults.length > 0) {
          broken.add(lane)
          console.error(JSON.stringify(round, null, 1))
          break
        }
      }
    })
    for (const { begunAt, at, why } of loads.flatMap(({ failures }) => failures)) {
      const during = mine.filter(({ startedAt, endedAt }) => begunAt <= endedAt && at >= startedAt)
      faults.push(`${during.map(({ story }) => describeStory(story)).join(' / ')}: a request failed: ${why}`)
    }
    rounds.push(...mine)
  }
  await Promise.all(lanes.filter((lane) => !broken.has(lane)).map(work))
  expect(faults).toEqual([])
  expect(left).toEqual([])
}

test(
  `killed at every step boundary, there and back${PART}`,
  async () => {
    await tell(boundaryStories())
  },
  TEST_MS_MAX,
)

test(
  `killed in the middle of the writes${PART}`,
  async () => {
    await tell(writeStories())
  },
  TEST_MS_MAX,
)

test(
  `killed in the middle of a compose call${PART}`,
  async () => {
    await tell(composeStories())
  },
  TEST_MS_MAX,
)

test(
  `killed at random instants, and again at some of its recovery${PART}`,
  async () => {
    await tell(randomStories(random, RANDOM_STORIES, ROLL_MS))
  },
  TEST_MS_MAX,
)

test(
  `killed late, and again at every step of its recovery${PART}`,
  async () => {
    await tell(recoveryStories(random))
  },
  TEST_MS_MAX,
)
