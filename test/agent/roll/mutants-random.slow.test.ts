// The simulation by chance finds bugs that are planted on purpose, and makes a short story of each.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { drain } from '../../../agent/roll/steps/drain.ts'
import { simulate } from '../../support/world/simulate.ts'
import { tell } from '../../support/world/tale.ts'

const planted = vi.hoisted(() => ({ bug: '' }))

vi.mock(import('../../../agent/compose/edit/edit.ts'), async (original) => {
  const [edit, { memoized }] = [await original(), await import('../../support/memo.ts')]
  return { ...edit, editService: memoized(edit.editService), readService: memoized(edit.readService) }
})

vi.mock(import('../../../agent/roll/strategies/in-place.ts'), async (original) => {
  const { inPlace } = await original()
  return {
    inPlace: {
      ...inPlace,
      plan: (facts, standing, goal) => {
        const steps = inPlace.plan(facts, standing, goal)
        if (goal === 'wanted' || planted.bug !== 'a service is left out') return steps
        const left = steps.findLast(({ kind }) => kind === 'update')
        return steps.filter((step) => step !== left)
      },
    },
  }
})

vi.mock(import('../../../agent/roll/record.ts'), async (original) => {
  const record = await original()
  return {
    ...record,
    resumeRoll: async (deployId, stack, progress, ports, signal) => {
      const resumed = await record.resumeRoll(deployId, stack, progress, ports, signal)
      if (planted.bug !== 'the journal is believed') return resumed
      const begun = record.begunSteps(progress)
      const updated = new Set(begun.flatMap((step) => (step.kind === 'update' ? [step.service] : [])))
      vi.spyOn(resumed.state.runtime, 'updated', 'get').mockReturnValue(updated)
      vi.spyOn(resumed.state.proxy, 'isLoaded', 'get').mockReturnValue(true)
      return resumed
    },
  }
})

/** Each is found much sooner. */
const TALES = 1000
const SEED = 4
const MS_MAX = 300_000
/** What a person still reads to the end. */
const LINES_MAX = 120

beforeEach(() => void (planted.bug = ''))
afterEach(() => vi.restoreAllMocks())

async function expectFound(what: RegExp): Promise<void> {
  const { tale, story } = await simulate({ seed: SEED, tales: TALES })
  expect(story).toMatch(what)
  expect(story?.split('\n').length).toBeLessThan(LINES_MAX)
  // It is the bug that is wrong, not the tale.
  planted.bug = ''
  vi.restoreAllMocks()
  expect(tale && (await tell(tale)).wrong).toEqual([])
}

test(
  'a drain that counts nothing',
  async () => {
    vi.spyOn(drain, 'do').mockResolvedValue({ cut: 0 })
    await expectFound(/was stopped while it had a request|refuses a request/)
  },
  MS_MAX,
)

test(
  'a recovery that believes its journal rather than the world',
  async () => {
    planted.bug = 'the journal is believed'
    await expectFound(/FAULT crash[^]*What is wrong:/)
  },
  MS_MAX,
)

test(
  'a way back that leaves a service out',
  async () => {
    planted.bug = 'a service is left out'
    await expectFound(/stuck by|several versions|not as it was/)
  },
  MS_MAX,
)
