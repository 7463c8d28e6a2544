// vitest run --config test/e2e/vitest.config.ts: real engine, real nginx, real compose.

import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What loads the machine on purpose. */
const ALONE = ['test/e2e/load.test.ts']

/** The longest by far: begun last, it would run on when all others are over. */
const FIRST = 'kill/kill.test.ts'

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- not an array's
    const sorted = await super.sort(files)
    return sorted.toSorted((a, b) => Number(b.moduleId.endsWith(FIRST)) - Number(a.moduleId.endsWith(FIRST)))
  }
}

const common = {
  globalSetup: 'test/e2e/setup.ts',
  // Against hanging only: every wait inside a test has a limit of its own, and no test is about time.
  testTimeout: 180_000,
  hookTimeout: 180_000,
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          ...common,
          name: 'together',
          include: ['test/e2e/**/*.test.ts'],
          exclude: ALONE,
          // A roll waits for most of its time. kill.test.ts has two lanes of its own.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      { test: { ...common, name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
})
