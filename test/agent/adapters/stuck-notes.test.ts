import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { stuckNotesOf, warnOfStuck } from '../../../agent/adapters/stuck-notes.ts'
import type { StuckNote } from '../../../agent/roll/stuck/note.ts'
import { tempDir } from '../../support/host.ts'

const NOTE: StuckNote = {
  deploy: '0123456789abcdef',
  at: 1_764_000_000_000,
  why: 'app1 does not start',
  record: '{}',
}
const modeOf = (path: string) => statSync(path).mode & 0o777

test('a note is there until it is cleared, for whoever opens the directory', () => {
  const dir = join(tempDir(), 'data')
  const [agent, command] = [stuckNotesOf(dir, 'hello'), stuckNotesOf(dir, 'hello')]
  expect(agent.read()).toBeUndefined()
  command.clear()
  agent.write(NOTE)
  expect(command.read()).toEqual(NOTE)
  expect(stuckNotesOf(dir, 'other').read()).toBeUndefined()
  agent.write({ ...NOTE, why: 'another' })
  expect(command.read()?.why).toBe('another')
  command.clear()
  expect(agent.read()).toBeUndefined()
  expect(readdirSync(join(dir, 'stuck'))).toEqual([])
})

test('copies have readable names of their own, and go with the note', () => {
  const dir = tempDir()
  const notes = stuckNotesOf(dir, 'hello')
  const files = {
    '/srv/a/docker-compose.yml': 'a\n',
    '/srv/b/docker-compose.yml': 'b é\r\n',
    [`/srv/${'x'.repeat(250)}.yml`]: 'long',
  }
  const kept = notes.keep(files)
  expect(Object.keys(kept)).toEqual(Object.keys(files))
  expect(Object.values(kept).map((path) => readFileSync(path, 'utf8'))).toEqual(Object.values(files))
  expect(kept['/srv/a/docker-compose.yml']).toBe(join(dir, 'stuck/hello/1-docker-compose.yml'))
  expect(kept['/srv/b/docker-compose.yml']).toBe(join(dir, 'stuck/hello/2-docker-compose.yml'))
  notes.write(NOTE)
  stuckNotesOf(dir, 'other').write(NOTE)
  notes.clear()
  expect(readdirSync(join(dir, 'stuck'))).toEqual(['other.json'])
})

test('only the owner can read notes and copies', () => {
  const dir = tempDir()
  const notes = stuckNotesOf(dir, 'hello')
  const [copy = ''] = Object.values(notes.keep({ '/c.yml': 'x' }))
  notes.write(NOTE)
  expect([join(dir, 'stuck/hello.json'), copy].map(modeOf)).toEqual([0o600, 0o600])
  expect([join(dir, 'stuck'), dirname(copy)].map(modeOf)).toEqual([0o700, 0o700])
})

test.each([
  ['is cut off', '{"deploy":"0123'],
  ['lacks something', '{"deploy":"0123456789abcdef"}'],
  ['is of no day', JSON.stringify({ ...NOTE, at: 1e300 })],
  ['is empty', ''],
])('a note that %s locks all the same, and says that it is damaged', (_, text) => {
  const dir = tempDir()
  const path = join(dir, 'stuck/hello.json')
  mkdirSync(dirname(path))
  writeFileSync(path, text)
  const note = stuckNotesOf(dir, 'hello').read()
  expect(note).toEqual({
    deploy: 'unknown',
    at: Math.floor(statSync(path).mtimeMs),
    why: `${path} does not hold a note`,
    record: '',
  })
  stuckNotesOf(dir, 'hello').clear()
  expect(stuckNotesOf(dir, 'hello').read()).toBeUndefined()
})

test('a note that cannot be read locks too', () => {
  const dir = tempDir()
  mkdirSync(join(dir, 'stuck/hello.json'), { recursive: true })
  expect(stuckNotesOf(dir, 'hello').read()?.why).toBe(
    `${join(dir, 'stuck/hello.json')} cannot be read (EISDIR)`,
  )
})

test('a full disk is a Problem, leaves the note that was there, and nothing half written', () => {
  const dir = tempDir()
  const notes = stuckNotesOf(dir, 'hello')
  notes.write(NOTE)
  const aside = join(dir, 'stuck/hello.json.new')
  symlinkSync('/dev/full', aside)
  expect(() => notes.write({ ...NOTE, why: 'another' })).toThrow(
    expect.objectContaining({
      code: 'journal-unusable',
      message: `${join(dir, 'stuck/hello.json')} cannot be written: ENOSPC`,
      cure: expect.stringContaining('make room'),
    }),
  )
  expect(existsSync(aside)).toBe(false)
  expect(notes.read()).toEqual(NOTE)
  mkdirSync(join(dir, 'stuck/hello'))
  symlinkSync('/dev/full', join(dir, 'stuck/hello/1-c.yml.new'))
  expect(() => notes.keep({ '/c.yml': 'x' })).toThrow(expect.objectContaining({ code: 'journal-unusable' }))
  expect(readdirSync(join(dir, 'stuck/hello'))).toEqual([])
})

test('an agent that starts says once of each stuck stack that it is, and since when', () => {
  const dir = tempDir()
  stuckNotesOf(dir, 'hello').write(NOTE)
  const lines: string[] = []
  warnOfStuck(dir, ['hello', 'other'], (level, message) => lines.push(`${level}: ${message}`))
  expect(lines).toEqual([
    'warn: stack hello is stuck since deploy 0123456789abcdef (2025-11-24T16:00:00.000Z) and takes no request of a trigger: app1 does not start. Repair it as that deploy says, then run `ropeway resolve hello`',
  ])
})
