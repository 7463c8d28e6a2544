import { expect, test } from 'vitest'
import type { Trust } from '../../shared/deploy.ts'
import type { AnyRequest } from '../../shared/request.ts'
import { supersedes, type Wish } from '../../shared/supersede.ts'

test.each([
  ['signed', 'signed', true],
  ['signed', 'hint', true],
  ['hint', 'hint', true],
  ['hint', 'signed', false],
] as const)('a newer %s request takes the place of a %s one that waits: %s', (newer, older, expected) => {
  expect(supersedes({ trust: newer, request: {} }, { trust: older, request: {} })).toBe(expected)
})

const wish = (trust: Trust, request: AnyRequest): Wish => ({ trust, request })
const push = (tag: string, more: object = {}) => wish('hint', { image: `acme/hello:${tag}`, ...more })
const builtAt = (second: number) => ({ builtAt: `2026-11-26T09:00:0${second}Z` })
const upgradeOnly = { upgradeOnly: true }

test.each([
  ['a hint that names nothing', wish('hint', {}), push('v2'), false],
  ['a request for an environment alone', wish('signed', { env: { A: 'b' } }), push('v2'), false],
  ['a request for an image', wish('signed', { image: 'acme/hello:v3' }), push('v2'), true],
  ['a request for a tag', wish('signed', { tag: 'v3' }), push('v2'), true],
  ['a request for a digest', wish('signed', { digest: `sha256:${'a'.repeat(64)}` }), push('v2'), true],
  ['a rollback', wish('signed', { release: 'previous' }), push('v2'), true],
  ['a later push', push('v3', builtAt(2)), push('v2', builtAt(1)), true],
  ['a push that comes late', push('v1', builtAt(1)), push('v2', builtAt(2)), false],
  ['a push without a time', push('v3'), push('v2', builtAt(2)), true],
  ['a higher version', push('2.0.0', upgradeOnly), push('1.9.0', upgradeOnly), true],
  ['a lower version', push('1.9.0', upgradeOnly), push('2.0.0', upgradeOnly), false],
  ['the same version', push('2.0.0', upgradeOnly), push('2.0.0', upgradeOnly), true],
  ['what is no version', push('main', upgradeOnly), push('2.0.0', upgradeOnly), true],
])('of a push that waits, %s takes the place: case %#', (_, newer, older, expected) => {
  expect(supersedes(newer, older)).toBe(expected)
})

test.each([
  ['a push of the same time', push('v3', builtAt(2)), push('v2', builtAt(2)), true],
  ['a push with a time, after one without', push('v3', builtAt(2)), push('v2'), true],
  ['a lower version that may come', push('1.9.0'), push('2.0.0'), true],
  [
    'a lower version, alone with a time',
    push('1.9.0', { ...upgradeOnly, ...builtAt(2) }),
    push('2.0.0'),
    false,
  ],
  ['a lower version, alone without', push('1.9.0', upgradeOnly), push('2.0.0', builtAt(1)), false],
  [
    'what somebody asked for, older as it is',
    wish('signed', { image: 'acme/hello:1.9.0', ...upgradeOnly, ...builtAt(1) }),
    push('2.0.0', builtAt(2)),
    true,
  ],
])('of a push that waits, %s takes the place or not', (_, newer, older, expected) => {
  expect(supersedes(newer, older)).toBe(expected)
})
