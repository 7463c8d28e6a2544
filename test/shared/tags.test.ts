// Which tags deploy, and which of two versions is the lower one.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bestOf, isOrdered, isTagOf } from '../../shared/triggers/tags.ts'
import { isDowngrade, isLower, isRange } from '../../shared/version.ts'

test.each([
  [['latest'], 'latest', true],
  [['latest'], 'latest-arm64', false],
  [['v*'], 'v1.2.3', true],
  [['v*'], 'v', true],
  [['v*'], 'dev1', false],
  [['*-prod'], 'a-b-prod', true],
  [['release-*-x*z'], 'release-1-xyz', true],
  [['a*a'], 'a', false],
  [['*ab*ab*'], 'ab', false],
  [['*ab*ab*'], 'xabyabz', true],
  [['1.*'], '1x2', false],
  [['stable', 'v*'], 'stable', true],
  [['*'], 'anything', true],
])('of %j, %s deploys: %s', (tags, tag, expected) => {
  expect(isTagOf({ tags }, tag)).toBe(expected)
})

const textOf = (chars: string) =>
  fc.array(fc.constantFrom(...chars), { maxLength: 8 }).map((all) => all.join(''))

test('a pattern means what the regular expression does that it stands for', () => {
  fc.assert(
    fc.property(textOf('ab.*'), textOf('ab.'), (pattern, tag) => {
      const parts = pattern.split('*').map((part) => part.replaceAll('.', String.raw`\.`))
      expect(isTagOf({ tags: [pattern] }, tag)).toBe(new RegExp(`^${parts.join('.*')}$`).test(tag))
    }),
    { numRuns: 2000 },
  )
})

test.each([
  ['^1.2', '1.2.0', true],
  ['^1.2', 'v1.9.4', true],
  ['^1.2', '2.0.0', false],
  ['^1.2', '1.3.0-rc.1', false],
  ['>=1.3.0-rc.0 <2', '1.3.0-rc.1', true],
  ['1.x || 3.x', '3.1.4', true],
  ['*', '1.2', false],
  ['*', 'latest', false],
])('in the range %s, %s is one: %s', (semver, tag, expected) => {
  expect(isTagOf({ semver }, tag)).toBe(expected)
})

test.each(['^1.2', '~1.2.3', '>=1.2 <3', '1.x || 2.x', '*'])('%j is a range', (text) => {
  expect(isRange(text)).toBe(true)
})

test.each(['', ' ', 'newest', '1.2.3.4', '>'])('%j is no range', (text) => {
  expect(isRange(text)).toBe(false)
})

describe('order', () => {
  test('of one tag alone what it means now counts, of all else the order', () => {
    expect(isOrdered({ tags: ['latest'] })).toBe(false)
    expect(isOrdered({ tags: ['latest', 'stable'] })).toBe(true)
    expect(isOrdered({ tags: ['v*'] })).toBe(true)
    expect(isOrdered({ semver: '^1' })).toBe(true)
  })

  test('of several the highest version, or the last', () => {
    const pushes = ['1.9.0', '1.10.0', '1.2.0'].map((tag) => ({ tag }))
    expect(bestOf({ semver: '^1' }, pushes)?.tag).toBe('1.10.0')
    expect(bestOf({ tags: ['*'] }, pushes)?.tag).toBe('1.2.0')
    expect(bestOf({ tags: ['*'] }, [])).toBeUndefined()
  })

  test('a version is lower by its numbers, a pre-release lower than its release; of what is none nobody can say', () => {
    expect(isLower('1.9.0', 'v1.10.0')).toBe(true)
    expect(isLower('1.10.0-rc.1', '1.10.0')).toBe(true)
    expect(isLower('1.10.0', '1.10.0')).toBe(false)
    expect(isLower('latest', '1.10.0')).toBe(false)
    expect(isLower('1.10.0', 'latest')).toBe(false)
  })

  test('only of one repository', () => {
    const digest = `sha256:${'a'.repeat(64)}`
    expect(isDowngrade('acme/hello:1.0.0', `docker.io/acme/hello:1.0.1@${digest}`)).toBe(true)
    expect(isDowngrade('acme/hello:1.0.0', 'acme/other:1.0.1')).toBe(false)
    expect(isDowngrade('acme/hello:1.0.0', undefined)).toBe(false)
    expect(isDowngrade(undefined, 'acme/hello:1.0.0')).toBe(false)
    expect(isDowngrade(undefined, undefined)).toBe(false)
    expect(isDowngrade('acme/hello', 'acme/hello:1.0.0')).toBe(false)
  })
})
