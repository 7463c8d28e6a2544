// vitest run --config test/faults/vitest.config.ts: relay and agent as processes of their own, and everything that can go wrong between,
// below and beside them. No Docker engine is needed: what is rolled is a script (agent.ts).

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    globalSetup: 'test/support/build-worker.ts',
    // Most of the time is the relay's own minute of silence and half minute until the next offer.
    maxWorkers: 2,
    taskTitleValueFormatTruncate: 0,
    // Against hanging only: every wait inside a test has a limit of its own, and no test is about time.
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
})
