import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Trust, isRollback, type AnyRequest } from '../../shared/request.ts'
import { supersededBy, supersedes, type Supersedable } from '../../shared/supersede.ts'

test.each([
  ['signed', 'signed', true],
  ['signed', 'hint', true],
  ['hint', 'hint', true],
  ['hint', 'signed', false],
] as const)('a newer %s request takes the place of a %s one that waits: %s', (newer, older, expected) => {
  expect(supersedes({ trust: newer, request: {} }, { trust: older, request: {} })).toBe(expected)
})

const wish = (trust: Trust, request: AnyRequest): Supersedable => ({ trust, request })
const push = (tag: string, more: object = {}) => wish('hint', { image: `acme/hello:${tag}`, ...more })
const builtAt = (second: number) => ({ builtAt: `2026-11-26T09:00:0${second}Z` })
const upgradeOnly = { upgradeOnly: true }

const signed = (request: AnyRequest): Supersedable => wish('signed', request)
const V2 = { image: 'acme/hello:v2' }
const DIGEST = { digest: `sha256:${'a'.repeat(64)}` }
const V3 = { image: 'docker.io/acme/hello:v3' }

test.each([
  ['an image of the same repository', signed(V3), push('v2'), true],
  ['an image of another one', signed({ image: 'acme/api:v7' }), signed(V2), false],
  ['an environment alone', signed({ env: { A: 'b' } }), signed(V2), false],
  ['nothing named', signed({}), signed(V2), false],
  ['nothing named, for what names nothing', signed({}), signed({}), true],
  ['nothing named, for a tag', signed({}), signed({ tag: 'v2' }), false],
  ['an image, for what names nothing', signed(V3), signed({}), false],
  ['an environment, for what names nothing', signed({ env: { A: 'b' } }), signed({}), false],
  ['nothing named, for an environment', signed({}), signed({ env: { A: 'b' } }), false],
  ['a tag for an image: the host knows its repository', signed({ tag: 'v3' }), signed(V2), false],
  ['a tag for a digest', signed({ tag: 'v3' }), signed(DIGEST), true],
  [
    'a digest, where versions go up',
    signed({ ...DIGEST, ...upgradeOnly }),
    signed({ ...DIGEST, ...upgradeOnly }),
    true,
  ],
  ['a part of the services', signed({ ...V3, services: ['app2'] }), signed(V2), false],
  ['all services', signed(V3), signed({ ...V2, services: ['app2'] }), true],
  ['other services', signed({ ...V3, services: ['app1'] }), signed({ ...V2, services: ['app2'] }), false],
  ['more services', signed({ ...V3, services: ['a', 'b'] }), signed({ ...V2, services: ['a'] }), true],
  ['an image without the variable', signed(V3), signed({ ...V2, env: { A: 'b' } }), false],
  ['an image and the variable', signed({ ...V3, env: { A: 'c' } }), signed({ ...V2, env: { A: 'b' } }), true],
  ['an image, for a variable of it', signed({ ...V3, env: { A: 'c' } }), signed({ env: { A: 'b' } }), true],
  ['what is not forced', signed(V3), signed({ ...V2, force: true }), false],
  ['what is forced too', signed({ ...V3, force: true }), signed({ ...V2, force: true }), true],
  ['the release before', signed({ release: 'previous' }), signed(V2), false],
  ['a release by its number', signed({ release: 5 }), signed({ ...V2, env: { A: 'b' } }), true],
  ['a release by its number, if something runs', signed({ release: 5, ifRuns: 'd-2' }), signed(V2), false],
  ['a release by its number, for one before', signed({ release: 5 }), signed({ release: 'previous' }), true],
  ['a release by its number, for what is forced', signed({ release: 5 }), signed({ force: true }), false],
  ['an image, for a release', signed(V3), signed({ release: 5 }), false],
  ['a later build', push('v3', builtAt(2)), push('v2', builtAt(1)), true],
  ['an earlier build, signed too', signed({ ...V3, ...builtAt(1) }), signed({ ...V2, ...builtAt(2) }), false],
  ['a build without a time', push('v3'), push('v2', builtAt(2)), false],
  ['a higher version', push('2.0.0', upgradeOnly), push('1.9.0', upgradeOnly), true],
  ['a lower version', push('1.9.0', upgradeOnly), push('2.0.0', upgradeOnly), false],
  ['the same version', push('2.0.0', upgradeOnly), push('2.0.0', upgradeOnly), true],
  ['a higher tag', signed({ tag: '2.0.0', ...upgradeOnly }), signed({ tag: '1.9.0', ...upgradeOnly }), true],
  ['a lower tag', signed({ tag: '1.9.0', ...upgradeOnly }), signed({ tag: '2.0.0', ...upgradeOnly }), false],
  ['an upgrade, for what may go down', push('2.0.0', upgradeOnly), push('1.0.0'), false],
])('%s takes the place of what waits: case %#', (_, newer, older, expected) => {
  expect(supersedes(newer, older)).toBe(expected)
})

test.each([
  ['a push of the same time', push('v3', builtAt(2)), push('v2', builtAt(2)), true],
  ['a push with a time, which may be found outdated', push('v3', builtAt(2)), push('v2'), false],
  ['a lower version that may come', push('1.9.0'), push('2.0.0'), true],
  [
    'a lower version, alone with a time',
    push('1.9.0', { ...upgradeOnly, ...builtAt(2) }),
    push('2.0.0'),
    false,
  ],
  ['a lower version, alone without', push('1.9.0', upgradeOnly), push('2.0.0', builtAt(1)), false],
  [
    'what somebody asked for, which may be found outdated',
    wish('signed', { image: 'acme/hello:1.9.0', ...upgradeOnly, ...builtAt(1) }),
    push('2.0.0', builtAt(2)),
    false,
  ],
])('of a push that waits, %s takes the place or not', (_, newer, older, expected) => {
  expect(supersedes(newer, older)).toBe(expected)
})

test('what stands before a rollback that goes by it stays', () => {
  const waiting = [signed(V2), signed({ release: 'previous' }), signed(V2)]
  expect(supersededBy(signed(V3), waiting)).toEqual([waiting[2]])
})

test('what stands before a request that stays gives way all the same', () => {
  const waiting = [signed(V2), signed({ image: 'acme/api:v7' })]
  expect(supersededBy(signed(V3), waiting)).toEqual([waiting[0]])
})

/** What each service would run after requests that ran in order. */
function after(requests: readonly AnyRequest[]): unknown {
  const state: Record<string, Record<string, unknown>> = { a: {}, b: {} }
  for (const request of requests)
    for (const [name, service] of Object.entries(state)) {
      if (isRollback(request)) {
        const all = { A: 0, B: 0 }
        state[name] = { web: request.release, api: request.release, ...all }
      } else if (request.services?.includes(name) !== false) {
        const repository = request.image?.split(':')[0]
        if (repository !== undefined) service[repository] = request.image
        Object.assign(service, request.env)
        if (request.force) service['recreated'] = true
      }
      const now = state[name]
      if (now && isRollback(request)) now['recreated'] = service['recreated']
    }
  return state
}

const some = <T>(...values: T[]) => fc.option(fc.constantFrom(...values), { nil: undefined })

test('what is left of those that wait comes to what all of them in order would', () => {
  const deploy = fc
    .record({
      image: some('web:v1', 'web:v2', 'api:v1', 'api:v2'),
      services: some(['a'], ['b'], ['a', 'b']),
      env: some<Record<string, string>>({ A: '1' }, { B: '2' }, { A: '3', B: '4' }),
      force: some(true),
    })
    .map((parts) => Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)))
  const rollback = fc.record({ release: fc.constantFrom(4, 5) })
  const requests = fc.array(fc.oneof({ weight: 6, arbitrary: deploy }, rollback), { maxLength: 8 })
  fc.assert(
    fc.property(requests, (all: readonly AnyRequest[]) => {
      let waiting: Supersedable[] = []
      for (const newer of all.map(signed)) {
        const gone = supersededBy(newer, waiting)
        waiting = [...waiting.filter((older) => !gone.includes(older)), newer]
      }
      expect(after(waiting.map(({ request }) => request))).toEqual(after(all))
    }),
    { seed: 10, numRuns: 2000 },
  )
})
