// vitest run --config test/vitest.e2e.config.ts, with an engine set up by test/machine/setup.sh

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    globalSetup: 'test/support/build-worker.ts',
    // Two cores, and each file loads them fully: one after another.
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
})
