// `npm run mutate [FOLDER or FILE …]`: breaks the pure core in each small way that Stryker knows, one at a time, and asks whether a test fails.

import { Stryker } from '@stryker-mutator/core'

/** What is broken: all that decides without touching anything. */
const CORE = [
  'agent/nginx/config/*.ts',
  'agent/nginx/{command,render}.ts',
  'agent/compose/edit/*.ts',
  'agent/compose/{check-edit,drift,unset}.ts',
  'agent/roll/{judge,order,route}.ts',
  'agent/roll/gates/{door,healthcheck}.ts',
  'agent/roll/strategies/in-place.ts',
  'shared/{deploy,image,plan,request,supersede,version}.ts',
  'worker/hub/decide.ts',
]

/** Of a hundred mutants so many must make a test fail. The others change nothing that anybody could see. */
const KILLED_MIN_PERCENT = 90

/** A mutant that never ends is killed after this, on top of one and a half times what its tests need. */
const ENDLESS_MS = 30_000

const folder = 'dist/mutate'
const asked = process.argv.slice(2)
const results = await new Stryker({
  mutate: asked.length > 0 ? asked.map((path) => (path.endsWith('.ts') ? path : `${path}/**/*.ts`)) : CORE,
  // Stryker would read tsconfig.json by an interface that TypeScript no longer has.
  ignorePatterns: ['dist', 'tsconfig.json'],
  testRunner: 'vitest',
  vitest: { configFile: 'test/mutate/vitest.config.ts', related: false },
  plugins: ['@stryker-mutator/vitest-runner'],
  coverageAnalysis: 'perTest',
  // What runs once, as a module is loaded, needs a new process for each mutant.
  ignoreStatic: true,
  concurrency: 2,
  timeoutMS: ENDLESS_MS,
  incremental: true,
  incrementalFile: `${folder}/results.json`,
  tempDirName: `${folder}/sandbox`,
  reporters: ['clear-text', 'progress'],
  clearTextReporter: { reportTests: false, allowEmojis: false, allowColor: false },
  thresholds: { high: 95, low: KILLED_MIN_PERCENT, break: KILLED_MIN_PERCENT },
  disableTypeChecks: true,
  packageManager: 'npm',
}).runMutationTest()

// A runner that does not find the tests of a mutant (as Stryker 10.0 with vitest 5) calls it survived.
const untried = results.filter(
  ({ status, testsCompleted = 0, coveredBy = [] }) =>
    status === 'Survived' && (testsCompleted === 0 || testsCompleted < coveredBy.length),
)
for (const { fileName, location, testsCompleted = 0, coveredBy = [] } of untried)
  console.error(
    `${fileName}:${location.start.line}: a mutant was tried on ${testsCompleted} of its ${coveredBy.length} tests`,
  )
if (untried.length > 0 || results.length === 0) process.exitCode = 1
