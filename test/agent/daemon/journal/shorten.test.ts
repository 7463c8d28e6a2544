import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { shorten } from '../../../../agent/daemon/journal/shorten.ts'
import { isFinal, nextStatus } from '../../../../shared/deploy.ts'
import { agentEventSchema, type AgentEvent } from '../../../../shared/events.ts'
import { EVENT_BYTES_MAX } from '../../../../shared/limits.ts'
import { inPlace } from '../../../../agent/roll/strategies/in-place.ts'
import { UNTOUCHED } from '../../../../agent/roll/strategies/strategy.ts'
import type { Route, Step } from '../../../../shared/plan.ts'
import { PROBLEMS, type ProblemCode } from '../../../../shared/problems.ts'

const bytesOf = (event: AgentEvent) => Buffer.byteLength(JSON.stringify(event))
const problem = { code: 'container-exited' as const, message: 'app1 stopped' }
const lines = (count: number, chars: number) =>
  Array.from({ length: count }, (_, n) => `${n} ${'x'.repeat(chars)}`)

/** A plan of so many services, each with an environment of this size. */
function planned(services: number, chars: number): Extract<AgentEvent, { type: 'planned' }> {
  const env = { MESSAGE: 'v'.repeat(chars) }
  const targets = Array.from({ length: services }, (_, n) => ({
    service: `app${n}`,
    members: [`app${n}`],
    from: { image: 'hello:1', env },
    to: { image: 'hello:2', env },
    isLive: true,
  }))
  const steps = inPlace.plan(
    {
      strategy: 'in-place',
      members: targets.map(({ service }) => service),
      targets,
      images: ['hello:2'],
      soakMs: 0,
      force: false,
    },
    UNTOUCHED,
    'wanted',
  )
  const instances = targets.map(({ service }) => service)
  return { type: 'planned', plan: { stack: 'hello', upstream: 'apps', instances, steps } }
}

test('an event that fits is the same event', () => {
  const event = planned(64, 10)
  expect(shorten(event)).toBe(event)
})

test('a log loses its first lines, and only as many as it must', () => {
  const event: AgentEvent = { type: 'failed', ms: 1, problem: { ...problem, log: lines(200, 1000) } }
  const short = shorten(event)
  if (short.type !== 'failed' || !short.problem.log) throw new Error()
  const { log } = short.problem
  expect(log).toEqual(event.problem.log?.slice(-log.length))
  expect(bytesOf(short)).toBeLessThanOrEqual(EVENT_BYTES_MAX)
  expect(bytesOf(short) + 1010).toBeGreaterThan(EVENT_BYTES_MAX)
  expect(short.problem.message).toBe(problem.message)
})

test('long strings are cut as little as will do, and say so', () => {
  const short = shorten({ type: 'step-finished', step: 3, ms: 5, facts: { a: 'a'.repeat(70_000), b: 'b' } })
  expect(short).toEqual({
    type: 'step-finished',
    step: 3,
    ms: 5,
    facts: { a: `${'a'.repeat(1000)}…`, b: 'b' },
  })
})

test('a success keeps its digests whole, or has none', () => {
  const image = `hello@sha256:${'a'.repeat(64)}`
  const services = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`app${n}`, 'hello:v2']))
  const success = { type: 'succeeded', ms: 1, changed: true, services } as const
  const withImages = (text: string) => ({
    ...success,
    images: Object.fromEntries(Object.keys(services).map((service) => [service, text])),
  })
  expect(shorten(withImages(image))).toEqual(withImages(image))
  expect(shorten(withImages(image.replace('hello', 'x'.repeat(200))))).toEqual(success)
})

test('a cut leaves no half of a character', () => {
  const short = shorten({ type: 'step-finished', step: 3, ms: 5, facts: { a: `a${'😀'.repeat(35_000)}` } })
  if (short.type !== 'step-finished') throw new Error()
  expect(String(short.facts['a']).isWellFormed()).toBe(true)
})

const stuck = (repair: string[], message = ''): AgentEvent => ({
  type: 'stuck',
  ms: 1,
  problem: { ...problem, message },
  undo: problem,
  damage: { serving: [], notServing: [], files: [], repair },
})

test('a command that repairs is never cut, and a stuck deploy ends even without its damage', () => {
  const long = [`docker start ${'x'.repeat(2000)}`]
  expect(shorten(stuck(long, 'x'.repeat(70_000)))).toEqual(stuck(long, `${'x'.repeat(1000)}…`))
  const { damage: _, ...rest } = stuck([]) as Extract<AgentEvent, { type: 'stuck' }>
  expect(shorten(stuck(Array<string>(40).fill('x'.repeat(2000))))).toEqual(rest)
})

const names = (steps: readonly Step[]) =>
  steps.map((step) => [step.kind, 'service' in step && step.service, 'out' in step && step.out])

test('a plan with long values keeps every step, its kind and its service', () => {
  const event = planned(64, 4096)
  const short = shorten(event)
  if (short.type !== 'planned') throw new Error(short.type)
  expect(names(short.plan.steps)).toEqual(names(event.plan.steps))
  expect(short.plan.instances).toEqual(event.plan.instances)
  expect(bytesOf(short)).toBeLessThanOrEqual(EVENT_BYTES_MAX)
})

test('a plan of more services than any host has becomes a warning that names it', () => {
  expect(shorten(planned(1000, 4096))).toEqual({
    type: 'warning',
    problem: { code: 'event-too-long', message: expect.stringMatching(/^the event planned was too long/) },
  })
  expect(
    shorten({
      type: 'step-failed',
      step: 7,
      ms: 1,
      problem: { ...problem, code: 'x'.repeat(99_999) as ProblemCode },
    }),
  ).toMatchObject({
    type: 'warning',
    problem: { message: expect.stringContaining('step-failed of step 7') },
  })
})

const code = fc.constantFrom(...(Object.keys(PROBLEMS) as ProblemCode[]))
// Few and short, or enough to be too long: one of them, or all together; with characters of one to six bytes in JSON.
const text = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  fc
    .tuple(fc.constantFrom('x', '→', '\u0000', '"', '\ud800', '😀'), fc.nat(80_000))
    .map(([unit, length]) => unit.repeat(length)),
)
/** So often as to be some times too long, and no more. */
const often = (one: unknown, count: number) =>
  Math.min(count, Math.ceil(300_000 / (JSON.stringify(one).length + 40)))
const many = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.array(arbitrary, { maxLength: 3 }) },
    fc.tuple(arbitrary, fc.nat(3000)).map(([one, count]) => Array<T>(often(one, count)).fill(one)),
  )
const record = <T>(value: fc.Arbitrary<T>) =>
  fc.oneof(
    fc.dictionary(fc.string({ maxLength: 20 }), value, { maxKeys: 5 }),
    fc
      .tuple(value, fc.nat(3000))
      .map(([one, count]) =>
        Object.fromEntries(
          Array.from({ length: often(one, count) }, (_, n) => [`key-${n}-${'k'.repeat(30)}`, one]),
        ),
      ),
  )
const report = fc.record(
  { code, message: text, cure: text, log: many(text) },
  { requiredKeys: ['code', 'message'] },
)
const version = fc.record({ image: text, env: record(fc.option(text)) }, { requiredKeys: ['env'] })
const route: fc.Arbitrary<Route> = fc.oneof(
  fc.record({ kind: fc.constant('as-written' as const) }),
  fc.record({ kind: fc.constant('members' as const), serving: many(text), out: many(text) }),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('pull' as const), image: text }),
  fc.record(
    { kind: fc.constant('switch' as const), out: text, back: text, route },
    { requiredKeys: ['kind', 'route'] },
  ),
  fc.record({ kind: fc.constant('drain' as const), service: text }),
  fc.record({
    kind: fc.constant('update' as const),
    service: text,
    from: version,
    to: version,
    undo: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('soak' as const), service: text, ms: fc.nat() }),
  fc.record({ kind: fc.constant('verify' as const) }),
  fc.record({
    kind: fc.constant('command' as const),
    when: fc.constantFrom('before' as const, 'after' as const),
    service: text,
    command: many(text),
  }),
)
const facts = record(fc.oneof(text, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean()))
const damage = fc.record({
  serving: many(text),
  notServing: many(fc.record({ service: text, why: text })),
  files: many(fc.record({ path: text, state: fc.constantFrom('as-before' as const, 'unreadable' as const) })),
  repair: many(text),
})
const type = <T extends string>(name: T) => fc.constant(name)
const event: fc.Arbitrary<AgentEvent> = fc.oneof(
  fc.record({
    type: fc.constantFrom('received' as const, 'started' as const, 'cancelled' as const, 'expired' as const),
  }),
  fc.record({
    type: type('warning'),
    problem: fc.record({ code: text, message: text, cure: text }, { requiredKeys: ['code', 'message'] }),
  }),
  fc.record({
    type: type('planned'),
    plan: fc.record({ stack: text, upstream: text, instances: many(text), steps: many(step) }),
  }),
  fc.record({ type: type('step-started'), step: fc.nat() }),
  fc.record({ type: type('step-progress'), step: fc.nat(), facts }),
  fc.record({ type: type('step-finished'), step: fc.nat(), ms: fc.nat(), facts }),
  fc.record({ type: type('step-failed'), step: fc.nat(), ms: fc.nat(), problem: report }),
  fc.record({ type: type('undoing'), steps: many(step) }),
  fc.record(
    {
      type: type('succeeded'),
      ms: fc.nat(),
      changed: fc.boolean(),
      services: record(text),
      images: record(text),
    },
    { requiredKeys: ['type', 'ms', 'changed', 'services'] },
  ),
  fc.record({ type: type('failed'), ms: fc.nat(), problem: report }),
  fc.record(
    { type: type('stuck'), ms: fc.nat(), problem: report, undo: report, damage },
    { requiredKeys: ['type', 'ms', 'problem', 'undo'] },
  ),
  fc.record({
    type: type('recovering'),
    way: fc.constantFrom('again' as const, 'forward' as const, 'back' as const),
  }),
  fc.record({ type: type('resuming'), steps: many(step) }),
  fc.record({ type: type('superseded'), by: text }),
)

describe('whatever the event', () => {
  test(
    'what comes out fits, parses, and is the same event or a warning in the place of one that is not final',
    { timeout: 60_000 },
    () => {
      let shortened = 0
      fc.assert(
        fc.property(event, (before) => {
          const after = shorten(before)
          expect(bytesOf(after)).toBeLessThanOrEqual(EVENT_BYTES_MAX)
          expect(agentEventSchema.safeParse(JSON.parse(JSON.stringify(after))).success).toBe(true)
          if (after !== before) shortened += 1
          else expect(bytesOf(before)).toBeLessThanOrEqual(EVENT_BYTES_MAX)
          if (isFinal(nextStatus('queued', before))) expect(after.type).toBe(before.type)
          else expect([before.type, 'warning']).toContain(after.type)
          if ('problem' in before && 'problem' in after && after.problem.code !== 'event-too-long')
            expect(after.problem.code).toBe(before.problem.code)
        }),
        { numRuns: 300 },
      )
      expect(shortened).toBeGreaterThan(50)
    },
  )
})
