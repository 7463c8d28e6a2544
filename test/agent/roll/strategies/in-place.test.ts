// The steps of a roll in place: from its start, from half way, and back.

import { expect, test } from 'vitest'
import type { Step } from '../../../../shared/plan.ts'
import { outOf } from '../../../../agent/roll/route.ts'
import { inPlace } from '../../../../agent/roll/strategies/in-place.ts'
import type { ProxySeen } from '../../../../agent/roll/proxy.ts'
import {
  UNTOUCHED,
  type RollFacts,
  type Standing,
  type Target,
} from '../../../../agent/roll/strategies/strategy.ts'

const FROM = { image: 'hello:v1', env: {} }
const TO = { image: 'hello:v2', env: { MESSAGE: 'new' } }
const target = (service: string, isLive = true): Target => ({
  service,
  members: [service],
  from: FROM,
  to: TO,
  isLive,
})
const live = (...services: string[]) => services.map((service) => target(service))
/** Of services as they stand in the upstream: the last is rolled first. */
const factsOf = (targets: readonly Target[], over: Partial<RollFacts> = {}): RollFacts => ({
  strategy: 'in-place',
  members: targets.filter(({ isLive }) => isLive).map(({ service }) => service),
  targets: targets.toReversed(),
  images: [],
  soakMs: 0,
  force: false,
  ...over,
})
const planThere = (facts: RollFacts) => inPlace.plan(facts, UNTOUCHED, 'wanted')
const planBack = (facts: RollFacts, standing: Partial<Standing>) =>
  inPlace.plan(facts, { ...UNTOUCHED, ...standing }, 'former')

/** A plan in one line: `-a` takes a out, `+a` puts it back, `~a` drains, `*a` updates, `?a` awaits, `.a` soaks, `>x` runs x, `=` reloads, `!` verifies. */
const short = (steps: readonly Step[]) =>
  steps
    .map((step) => {
      switch (step.kind) {
        case 'pull':
          return `pull`
        case 'switch':
          return (
            `${step.back === undefined ? '' : `+${step.back}`}${step.out === undefined ? '' : `-${step.out}`}` ||
            '='
          )
        case 'drain':
          return `~${step.service}`
        case 'update':
          return `*${step.service}`
        case 'await-healthy':
          return `?${step.service}`
        case 'soak':
          return `.${step.service}`
        case 'verify':
          return '!'
        case 'command':
          return `>${step.command.join()}`
        default:
          throw new Error(`${String(step)} is no step`)
      }
    })
    .join(' ')

test.each([
  ['two, last to first, three reloads', live('a', 'b'), {}, '-b ~b *b ?b +b-a ~a *a ?a +a !'],
  [
    'an image is pulled before anything',
    live('a', 'b'),
    { images: ['x'] },
    'pull -b ~b *b ?b +b-a ~a *a ?a +a !',
  ],
  ['three', live('a', 'b', 'c'), {}, '-c ~c *c ?c +c-b ~b *b ?b +b-a ~a *a ?a +a !'],
  ['a soak watches each in traffic', live('a', 'b'), { soakMs: 5 }, '-b ~b *b ?b +b .b -a ~a *a ?a +a .a !'],
  [
    'one that is down stays out',
    [target('a'), target('b', false), target('c')],
    {},
    '-c ~c *c ?c *b ?b +c-a ~a *a ?a +a !',
  ],
  [
    'commands before and after',
    live('a'),
    { images: ['x'], before: { service: 'a', command: ['m', '1'] }, after: { service: 'a', command: ['n'] } },
    'pull >m,1 -a ~a *a ?a +a ! >n',
  ],
  ['all are down', [target('a', false)], {}, '*a ?a !'],
  ['nothing', [], {}, '!'],
])('plan: %s', (_, targets, options, expected) => {
  expect(short(planThere(factsOf(targets, options)))).toBe(expected)
})

/** Where a roll stands whose last step may be half done: an update that was begun may have happened. */
function standingAfter(begun: readonly Step[]): Partial<Standing> {
  const out = new Set<string>()
  for (const step of begun) {
    if (step.kind !== 'switch') continue
    if (step.back !== undefined) out.delete(step.back)
    if (step.out !== undefined) out.add(step.out)
  }
  return { updated: new Set(updates(begun).map(({ service }) => service)), out }
}

test.each([
  [0, ''],
  [1, '+b !'],
  [2, '+b !'],
  [3, '*b ?b +b !'],
  [4, '*b ?b +b !'],
  [5, '+a-b ~b *b ?b +b !'],
  [7, '*a ?a +a-b ~b *b ?b +b !'],
  [9, '-a ~a *a ?a +a-b ~b *b ?b +b !'],
  [10, '-a ~a *a ?a +a-b ~b *b ?b +b !'],
])('undo after %i steps of a roll of two', (count, expected) => {
  const facts = factsOf(live('a', 'b'))
  expect(short(planBack(facts, standingAfter(planThere(facts).slice(0, count))))).toBe(expected)
})

test.each<[string, Partial<Standing>, string]>([
  ['everybody is in and updated', { updated: new Set(['a', 'b']) }, '-a ~a *a ?a +a-b ~b *b ?b +b !'],
  ['one is out and nobody updated', { out: new Set(['a']) }, '+a !'],
  ['nothing, but for a reload in doubt', { isLoaded: false }, '= !'],
  [
    'one is out and updated, and a reload in doubt',
    { out: new Set(['b']), updated: new Set(['b']), isLoaded: false },
    '-b ~b *b ?b +b !',
  ],
  ['nothing at all', {}, ''],
])('the way back where %s', (_, standing, expected) => {
  expect(short(planBack(factsOf(live('a', 'b')), standing))).toBe(expected)
})

test.each<[string, Partial<Standing>, Partial<RollFacts>, string]>([
  ['all are updated and in', { updated: new Set(['a', 'b']) }, {}, '?b ?a !'],
  [
    'all are updated, the last is out',
    { updated: new Set(['a', 'b']), out: new Set(['a']) },
    {},
    '?b ?a +a !',
  ],
  ['a reload is in doubt', { updated: new Set(['a', 'b']), isLoaded: false }, {}, '?b ?a = !'],
  [
    'the last is still to be watched',
    { updated: new Set(['a', 'b']), isLoaded: false },
    { soakMs: 5 },
    '?b ?a = .a !',
  ],
  ['one is left', { updated: new Set(['b']), out: new Set(['b']) }, {}, '?b +b -a ~a *a ?a +a !'],
  [
    'commands and pulls are over',
    { updated: new Set(['a', 'b']) },
    { images: ['x'], before: { service: 'a', command: ['m'] }, after: { service: 'a', command: ['n'] } },
    '?b ?a !',
  ],
])('the way on where %s', (_, standing, over, expected) => {
  const facts = factsOf(live('a', 'b'), over)
  expect(short(inPlace.plan(facts, { ...UNTOUCHED, ...standing }, 'wanted'))).toBe(expected)
})

test('what is dead is recreated before anything else on the way back', () => {
  const standing = { updated: new Set(['a', 'b', 'c']), out: new Set(['a']) }
  const facts = factsOf(live('a', 'b', 'c'))
  expect(short(planBack(facts, { ...standing, dead: ['b', 'c'] }))).toBe(
    '*b *c ?b ?c *a ?a +a-b ~b +b-c ~c +c !',
  )
})

// The promise itself, on every plan and from every step of it: never two out at once, and back to exactly what was.
const MANY: [string, Target[]][] = [
  ['two', live('a', 'b')],
  ['five', live('a', 'b', 'c', 'd', 'e')],
  ['some down', [target('a'), target('b', false), target('c'), target('d', false), target('e')]],
]
for (const soakMs of [0, 5])
  test.each(MANY)(`a roll and its undo keep all but one in traffic: %s, soak ${soakMs}`, (_, targets) => {
    const facts = factsOf(targets, { images: ['x'], soakMs })
    const steps = planThere(facts)
    for (let count = 0; count <= steps.length; count++) {
      const world = { out: new Set<string>(), updated: new Set<string>() }
      const run = (step: Step) => {
        if (step.kind === 'switch') {
          const out = new Set(outOf(step.route))
          // Whole, and told as the difference that it makes.
          if (step.route.kind === 'members')
            expect(step.route.serving).toEqual(facts.members.filter((name) => !out.has(name)))
          expect([...out.difference(world.out)]).toEqual(step.out === undefined ? [] : [step.out])
          expect([...world.out.difference(out)]).toEqual(step.back === undefined ? [] : [step.back])
          expect(inPlace.routes(facts)).toContainEqual(step.route)
          world.out = out
        }
        if (step.kind === 'update') {
          const { isLive } = targets.find(({ service }) => service === step.service)!
          expect(world.out.has(step.service)).toBe(isLive)
          if (step.to === TO) world.updated.add(step.service)
          else world.updated.delete(step.service)
        }
        expect(world.out.size).toBeLessThanOrEqual(1)
      }
      steps.slice(0, count).forEach(run)
      if (count === steps.length) expect([world.out.size, world.updated.size]).toEqual([0, targets.length])
      planBack(facts, { updated: new Set(world.updated), out: new Set(world.out) }).forEach(run)
      expect([world.out.size, world.updated.size]).toEqual([0, 0])
    }
  })

const updates = (steps: readonly Step[]) => steps.filter((step) => step.kind === 'update')

test('an undo is marked as one, so that it writes what was there before', () => {
  const facts = factsOf(live('a'))
  const steps = planThere(facts)
  expect(updates(steps)).toEqual([{ kind: 'update', service: 'a', from: FROM, to: TO, undo: false }])
  expect(updates(planBack(facts, standingAfter(steps)))).toEqual([
    { kind: 'update', service: 'a', from: TO, to: FROM, undo: true },
  ])
})

test('a step says no more than it means', () => {
  const command = { service: 'a', command: ['m'] }
  const facts = factsOf(live('a'), { force: true, before: command, after: command })
  const steps = planThere(facts)
  expect(steps).toStrictEqual([
    { kind: 'command', when: 'before', ...command },
    { kind: 'switch', out: 'a', route: { kind: 'members', serving: [], out: ['a'] } },
    { kind: 'drain', service: 'a' },
    { kind: 'update', service: 'a', from: FROM, to: TO, undo: false, force: true },
    { kind: 'await-healthy', service: 'a' },
    { kind: 'switch', back: 'a', route: { kind: 'as-written' } },
    { kind: 'verify' },
    { kind: 'command', when: 'after', ...command },
  ])
  expect(planBack(facts, standingAfter(steps))).toStrictEqual([
    { kind: 'switch', out: 'a', route: { kind: 'members', serving: [], out: ['a'] } },
    { kind: 'drain', service: 'a' },
    { kind: 'update', service: 'a', from: TO, to: FROM, undo: true },
    { kind: 'await-healthy', service: 'a' },
    { kind: 'switch', back: 'a', route: { kind: 'as-written' } },
    { kind: 'verify' },
  ])
})

/** A proxy that knows these servers: of live members, of ones that their user has taken out, and of nobody in the stack. */
const proxyWith = (
  serving: readonly string[],
  down: readonly string[],
  others: number,
  servers = serving.length,
) =>
  ({
    backend: 'apps',
    members: [
      ...down.map((service) => ({ name: service, service, ports: [3000], isLive: false })),
      ...serving.map((service) => ({ name: service, service, ports: [3000], isLive: true })),
    ],
    servers: { all: servers + down.length + others, live: servers + others, others },
  }) as unknown as ProxySeen

test.each([
  ['two', proxyWith(['a', 'b'], [], 0)],
  ['one beside a server of another stack', proxyWith(['a'], [], 1)],
  ['two beside one that is down', proxyWith(['a', 'b'], ['c'], 0)],
])('it can be done with %s', (_, proxy) => {
  expect(() => inPlace.check(proxy)).not.toThrow()
})

test.each([
  ['one', proxyWith(['a'], [], 0), 'upstream apps has 1 live server', /^add a second instance/],
  [
    'one, and one that is down',
    proxyWith(['a'], ['b'], 0),
    'upstream apps has 1 live server',
    /^add a second/,
  ],
  ['none', proxyWith([], ['a', 'b'], 0), 'upstream apps has 0 live server', /^add a second instance/],
  [
    'two servers of one service, and another that is down',
    proxyWith(['a'], ['b'], 0, 2),
    'every live server of upstream apps is service a',
    /^add another instance/,
  ],
])('it is refused with %s', (_, proxy, message, cure) => {
  expect(() => inPlace.check(proxy)).toThrow(
    expect.objectContaining({ code: 'upstream-too-small', message, cure: expect.stringMatching(cure) }),
  )
})

test('a service of which any member is out is the one that waits', () => {
  const facts = factsOf([{ ...target('a'), members: ['a-1', 'a-2'] }, target('b')])
  const standing = { out: new Set(['a-2']), isLoaded: true }
  expect(short(planBack(facts, standing))).toBe('+a !')
})

test('the way on watches the last of several that were updated', () => {
  const facts = factsOf(live('a', 'b', 'c'), { soakMs: 5 })
  const standing = { ...UNTOUCHED, updated: new Set(['b', 'c']) }
  expect(short(inPlace.plan(facts, standing, 'wanted'))).toBe('?c ?b .b -a ~a *a ?a +a .a !')
})
