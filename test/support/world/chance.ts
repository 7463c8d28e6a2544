// Tales by chance: stacks, requests, faults and people, of which each is likely enough to matter and unlikely enough to leave the rest to show.

import fc from 'fast-check'
import type { CommandConfig } from '../../../agent/config/config.ts'
import type { AnyRequest } from '../../../shared/request.ts'
import type { Hurt } from './containers.ts'
import type { Fault, FaultKind, Method } from './faults.ts'
import type { Deed } from './people.ts'
import type { Tale, TaleStack } from './tale.ts'
import type { Trial } from './trial.ts'

const often = <T>(value: T, other: T) =>
  fc.oneof({ arbitrary: fc.constant(value), weight: 3 }, fc.constant(other))

// Most stacks have none, and most commands do what they should.
const command = (word: string): fc.Arbitrary<CommandConfig | undefined> =>
  fc.option(
    fc.record({
      service: fc.constant(undefined),
      command: often([word], ['false']),
      timeoutMs: fc.constant(5000),
      onRetry: fc.constantFrom('run', 'skip', 'fail'),
    }),
    { freq: 1, nil: undefined },
  )

const stack: fc.Arbitrary<TaleStack> = fc.record({
  instances: fc.constantFrom(2, 3, 4),
  mount: fc.constantFrom('file', 'directory'),
  image: fc.constantFrom('ghcr.io/acme/hello:v1', 'hello:v1'),
  hasHealthcheck: often(false, true),
  keepaliveMinTimeoutMs: fc.constantFrom(200, 0),
  hasDown: often(false, true),
  hasOverride: often(false, true),
  requestMs: fc.constantFrom(30, 300),
  config: fc.record({
    soakMs: often(0, 300),
    deadlineMs: often(3600_000, 6000),
    releasesKept: often(5, 2),
    before: command('migrate'),
    after: command('warm-up'),
  }),
})

const IMAGES = [
  'ghcr.io/acme/hello:v2',
  'ghcr.io/acme/hello:v1',
  'ghcr.io/acme/hello:v3',
  'hello:v2',
  'hello:v1',
]
const ODD_IMAGES = ['exits', 'sick', 'never-listens', 'crashes', 'restarts', 'v9'].map(
  (tag) => `ghcr.io/acme/hello:${tag}`,
)
const env = fc.constantFrom(2, 3, 1).map((version) => ({ MESSAGE: `{service},v${version}` }))
const builtAt = fc.constantFrom(...[1, 2, 3].map((day) => `2023-11-0${day}T00:00:00Z`))

const request: fc.Arbitrary<AnyRequest> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ env }) },
  { weight: 6, arbitrary: fc.record({ image: fc.constantFrom(...IMAGES) }) },
  { weight: 3, arbitrary: fc.record({ image: fc.constantFrom(...IMAGES), env }) },
  { weight: 2, arbitrary: fc.record({ env, builtAt }) },
  { weight: 2, arbitrary: fc.record({ image: fc.constantFrom(...ODD_IMAGES) }) },
  { weight: 1, arbitrary: fc.record({ env, force: fc.constant(true) }) },
  { weight: 1, arbitrary: fc.constant({}) },
  { weight: 2, arbitrary: fc.record({ release: fc.constantFrom('previous' as const, 1, 2, 3) }) },
)

const EFFECTS: readonly Method[] = [
  'compose.up',
  'compose.run',
  'files.write',
  'engine.hangUp',
  'journal.remember',
  'journal.emit',
]
const KINDS: readonly FaultKind[] = [
  'throw',
  'throw-after-effect',
  'hang',
  'hang-after-effect',
  'cancel',
  'crash',
  'crash-after-effect',
  'crash-midway',
  'crash-alone',
]
/** About as many calls as a roll of four instances makes. */
const CALLS_MAX = 400

const fault = (kinds: readonly FaultKind[]): fc.Arbitrary<Fault> =>
  fc.oneof(
    fc.record({
      kind: fc.constantFrom(...kinds),
      method: fc.constantFrom(...EFFECTS),
      nth: fc.integer({ min: 1, max: 12 }),
      isPersistent: fc.integer({ min: 0, max: 19 }).map((n) => n === 19),
    }),
    fc.record({
      kind: fc.constantFrom(...kinds),
      method: fc.constant('any' as const),
      nth: fc.integer({ min: 1, max: CALLS_MAX }),
    }),
  )

const services = fc.constantFrom('app1', 'app2', 'app3')
const deed: fc.Arbitrary<Deed> = fc.oneof(
  fc.record({
    kind: fc.constantFrom(
      'reloads nginx',
      'comments nginx',
      'tunes nginx',
      'comments compose',
      'tunes compose',
    ),
  }),
  fc.record({ kind: fc.constantFrom('recreates', 'restarts', 'stops', 'scales'), service: services }),
  fc.record({ kind: fc.constant('pushes' as const), image: fc.constantFrom(...IMAGES.slice(0, 3)) }),
  fc.record({ kind: fc.constant('holds the lock' as const), ms: fc.integer({ min: 100, max: 3000 }) }),
)
/** A roll of four instances takes about that long. */
const ROLL_MS = 5000
const deeds = fc.array(fc.record({ atMs: fc.integer({ min: 0, max: ROLL_MS }), deed }), {
  minLength: 1,
  maxLength: 2,
})

const quiet: fc.Arbitrary<Pick<Trial, 'lives' | 'deeds'>> = fc.constant({ lives: [], deeds: [] })
const faulty = fc.record({
  lives: fc.array(fc.array(fault(KINDS), { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 3 }),
  deeds: fc.constant([]),
})
const crashing = fc.record({
  lives: fc.array(fc.array(fault(KINDS.slice(5)), { minLength: 1, maxLength: 1 }), {
    minLength: 1,
    maxLength: 3,
  }),
  deeds: fc.constant([]),
})
const peopled = fc.record({ lives: fc.constant([]), deeds })
const wild = fc.record({
  lives: fc.array(fc.array(fault(KINDS), { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 3 }),
  deeds,
})

const deploy: fc.Arbitrary<Trial> = fc
  .record({
    request,
    isAutomatic: fc.boolean(),
    awayMs: fc.constantFrom(50, 1000, 20_000),
    trouble: fc.oneof(
      { weight: 2, arbitrary: quiet },
      { weight: 4, arbitrary: faulty },
      { weight: 4, arbitrary: crashing },
      { weight: 3, arbitrary: peopled },
      { weight: 3, arbitrary: wild },
    ),
  })
  .map(({ trouble, ...rest }) => ({ ...rest, ...trouble }))

export const tale: fc.Arbitrary<Tale> = fc.record({
  stack,
  deploys: fc.array(deploy, { minLength: 1, maxLength: 4 }),
})

// What else may be of a stack, and happen to it.
const hurt = fc.constantFrom<Hurt[]>(
  { mode: 'sick' },
  { mode: 'flaps' },
  { mode: 'hangs' },
  { pages: { '/': 404 } },
  'refuses',
)
const otherRequest: fc.Arbitrary<AnyRequest> = fc.oneof(
  fc.record({ image: fc.constantFrom('flaps', 'hangs').map((tag) => `ghcr.io/acme/hello:${tag}`) }),
  fc.record({ image: fc.constantFrom(...IMAGES), force: fc.constant(true) }),
)
const spoiled = fc.record({
  atMs: fc.integer({ min: 0, max: ROLL_MS }),
  deed: fc.record({ kind: fc.constant('spoils nginx' as const), ms: fc.constantFrom(500, 5000) }),
})
const otherDeploy: fc.Arbitrary<Trial> = fc
  .record({
    deploy,
    other: fc.option(otherRequest, { freq: 1 }),
    sick: fc.option(hurt, { freq: 1, nil: undefined }),
    spoiled: fc.option(spoiled, { freq: 1 }),
  })
  .map(({ deploy: usual, other, sick, spoiled: more }) => ({
    ...usual,
    request: other ?? usual.request,
    sick,
    deeds: [...(usual.deeds ?? []), ...(more ? [more] : [])],
  }))

/** As `tale`, of stacks that are sick before a deploy, and have more about them. */
export const otherTale: fc.Arbitrary<Tale> = fc.record({
  stack: fc
    .record({ stack, isDualStack: fc.boolean(), isTls: fc.boolean() })
    .map(({ stack: usual, ...more }) => ({ ...usual, ...more })),
  deploys: fc.array(otherDeploy, { minLength: 1, maxLength: 4 }),
})
