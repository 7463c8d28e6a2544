// vitest run --config test/e2e/vitest.config.ts: real engine, real nginx, real compose. One file after the other, since each loads the
// machine on purpose.

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    globalSetup: 'test/e2e/setup.ts',
    fileParallelism: false,
    // Against hanging only: every wait inside a test has a limit of its own, and no test is about time.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
})
