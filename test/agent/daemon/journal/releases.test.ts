import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { Journal } from '../../../../agent/daemon/journal/journal.ts'
import { RELEASES_LISTED_MAX } from '../../../../agent/daemon/journal/releases.ts'
import type { NewRelease } from '../../../../agent/roll/releases/release.ts'
import { takenIn, tempDir } from '../../../support/host.ts'

const DAY_MS = 24 * 3600_000

function open(dir = tempDir()): Journal {
  const journal = new Journal(dir)
  onTestFinished(() => {
    try {
      journal.close()
    } catch {
      // The test has closed it.
    }
  })
  return journal
}

function release(deploy: string | null, over: Partial<NewRelease> = {}): NewRelease {
  return {
    deploy,
    actor: 'ci',
    reason: null,
    at: 5,
    builtAt: null,
    of: undefined,
    services: { app1: { image: 'a:1@sha256:0a', imageId: 'sha256:0b', env: { MESSAGE: 'x', OTHER: null } } },
    files: { before: { '/c.yml': 'services: {}\n' }, after: { '/c.yml': 'services: {}\n# é\n' } },
    ...over,
  }
}

function spoil(dir: string, sql: string): void {
  const db = new DatabaseSync(join(dir, 'journal.sqlite'))
  db.exec(sql)
  db.close()
}

test('releases are numbered from 1 in each stack, and are there after a restart, oldest first', () => {
  const dir = tempDir()
  const before = open(dir)
  const hello = before.releasesOf('hello')
  expect(hello.list()).toEqual([])
  expect(hello.add(release(null))).toBe(1)
  expect(hello.add(release('a', { at: 6, reason: 'why', builtAt: 4 }))).toBe(2)
  expect(before.releasesOf('other').add(release('b'))).toBe(1)
  before.close()
  const after = open(dir)
  expect(after.releasesOf('hello').list()).toEqual([
    { ...release(null), number: 1, of: 1 },
    { ...release('a', { at: 6, reason: 'why', builtAt: 4 }), number: 2, of: 2 },
  ])
  expect(after.releasesOf('other').list()).toMatchObject([{ number: 1, deploy: 'b' }])
})

test('one that is an earlier one again says so', () => {
  const releases = open().releasesOf('hello')
  releases.add(release('a'))
  releases.add(release('b'))
  expect(releases.add(release('c', { of: 1 }))).toBe(3)
  expect(releases.list().map(({ number, of }) => [number, of])).toEqual([
    [1, 1],
    [2, 2],
    [3, 1],
  ])
})

test('a deploy makes one release, however often it is added; what ran before belongs to no deploy', () => {
  const journal = open()
  const releases = journal.releasesOf('hello')
  expect(releases.add(release('a'))).toBe(1)
  expect(releases.add(release('b'))).toBe(2)
  expect(releases.add(release('a', { at: 99 }))).toBe(1)
  expect(journal.releasesOf('other').add(release('a'))).toBe(1)
  expect(releases.add(release(null))).toBe(3)
  expect(releases.add(release(null))).toBe(4)
  expect(releases.list()).toHaveLength(4)
})

test('a number is never given again, also when all are forgotten', () => {
  const dir = tempDir()
  const before = open(dir)
  const releases = before.releasesOf('hello')
  for (const deploy of ['a', 'b', 'c']) releases.add(release(deploy))
  before.releasesOf('other').add(release('a'))
  releases.forgetBefore(3)
  expect(releases.list().map(({ number }) => number)).toEqual([3])
  releases.forgetBefore(9)
  expect(releases.list()).toEqual([])
  expect(before.releasesOf('other').list()).toHaveLength(1)
  before.close()
  expect(open(dir).releasesOf('hello').add(release('d'))).toBe(4)
})

test('forgetting deploys forgets no release', () => {
  const journal = open()
  const id = '0123456789abcdef'
  journal.receive(takenIn({ id, signedAt: 5, expiresAt: 6 }), 0)
  journal.releasesOf('hello').add(release(id))
  journal.append(id, { type: 'cancelled' }, 1)
  journal.trim(99 * DAY_MS)
  expect(journal.has(id)).toBe(false)
  expect(journal.releasesOf('hello').list()).toMatchObject([{ deploy: id }])
})

test.each([
  ['is not JSON', 'x'],
  ['is another thing', '"x"'],
  ['lacks something', '{}'],
])('a release that %s is passed over with a warning, and its number stays taken', (_, body) => {
  const dir = tempDir()
  const before = open(dir)
  for (const deploy of ['a', 'b', 'c']) before.releasesOf('hello').add(release(deploy))
  before.close()
  spoil(dir, `UPDATE releases SET body = '${body}' WHERE number = 2`)
  const warnings: string[] = []
  const releases = open(dir).releasesOf('hello', (message) => warnings.push(message))
  expect(releases.list().map(({ number }) => number)).toEqual([1, 3])
  expect(warnings).toEqual([
    'release 2 of hello is damaged in the journal: the stack cannot be rolled back to it',
  ])
  expect(releases.add(release('b'))).toBe(2)
  expect(releases.add(release('d'))).toBe(4)
})

test('of many releases the newest are read', () => {
  const releases = open().releasesOf('hello')
  for (let n = 0; n < RELEASES_LISTED_MAX + 3; n += 1) releases.add(release(`d${n}`))
  const numbers = releases.list().map(({ number }) => number)
  expect(numbers).toHaveLength(RELEASES_LISTED_MAX)
  expect([numbers[0], numbers.at(-1)]).toEqual([4, RELEASES_LISTED_MAX + 3])
})

test('a journal that cannot be written is a Problem, and the number is not lost', () => {
  const dir = tempDir()
  const before = open(dir)
  before.releasesOf('hello').add(release('a'))
  before.close()
  spoil(dir, `CREATE TRIGGER full BEFORE INSERT ON releases BEGIN SELECT RAISE(ABORT, 'disk is full'); END`)
  const refused = open(dir)
  expect(() => refused.releasesOf('hello').add(release('b'))).toThrow(
    expect.objectContaining({
      code: 'journal-unusable',
      message: 'the releases of hello cannot be written: disk is full',
      cure: expect.stringContaining('make room'),
    }),
  )
  refused.close()
  spoil(dir, 'DROP TRIGGER full')
  expect(open(dir).releasesOf('hello').add(release('b'))).toBe(2)
})
