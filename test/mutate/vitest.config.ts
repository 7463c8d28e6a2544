// The tests that `npm run mutate` tries each mutant on: the pure core's own, without the slow ones. A core's mutant that only a whole roll
// would notice has no test that says what is wrong.

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: [
      'test/agent/{nginx,compose}/**/*.test.ts',
      'test/agent/roll/{healthcheck,judge,order}.test.ts',
      'test/agent/roll/strategies/in-place.test.ts',
      'test/shared/*.test.ts',
      'test/worker/decide.test.ts',
    ],
    exclude: ['**/*.slow.test.ts'],
    // Mutants differ by a variable that is read while they run, so a file's modules may be loaded once for all of them.
    isolate: false,
    // Against hanging only: on a busy machine a slow test is not to be taken for a mutant's end.
    testTimeout: 120_000,
  },
})
