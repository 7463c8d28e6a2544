// vitest run --config test/vitest.config.ts [test/worker …]

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/*.test.ts', 'test/{shared,worker,agent}/**/*.test.ts'],
    globalSetup: 'test/support/build-worker.ts',
    // `npm run check` runs the fast ones in threads, which start in half the time of processes.
    // More than cores: most of these wait, for a relay's timers and for each other's ends.
    maxWorkers: 4,
    // Against hanging only. A relay takes a second to start; on a machine that is busy with other tests, several.
    testTimeout: 120_000,
    hookTimeout: 60_000,
  },
})
