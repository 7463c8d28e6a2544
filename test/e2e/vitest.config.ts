// vitest run --config test/e2e/vitest.config.ts: real engine, real nginx, real compose.

import { defineConfig } from 'vitest/config'

/** What loads the machine on purpose, or has lanes of its own. */
const ALONE = ['test/e2e/load.test.ts', 'test/e2e/kill/kill.test.ts']

const common = {
  globalSetup: 'test/e2e/setup.ts',
  // Against hanging only: every wait inside a test has a limit of its own, and no test is about time.
  testTimeout: 180_000,
  hookTimeout: 180_000,
}

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...common,
          name: 'together',
          include: ['test/e2e/**/*.test.ts'],
          exclude: ALONE,
          // A roll waits for most of its time: three keep two cores busy.
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      { test: { ...common, name: 'alone', include: ALONE, maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
})
