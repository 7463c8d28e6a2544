// The door of storage: rows that a disk, a person or another version has spoilt are read, passed over, or refused by name.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Journal } from '../../../agent/daemon/journal/journal.ts'
import type { VerifiedDeploy } from '../../../agent/daemon/verified-deploy.ts'
import { stuckNotesOf } from '../../../agent/adapters/stuck-notes.ts'
import { releaseSchema, type NewRelease } from '../../../agent/roll/releases/release.ts'
import { stuckNoteSchema, type StuckNote } from '../../../agent/roll/stuck/note.ts'
import { encodeFrame, decodeFrame, fromAgentSchema } from '../../../shared/protocol.ts'
import { tempDir } from '../../support/host.ts'
import { anyAgentEvent } from '../../shared/doors/frames.ts'
import { anyJsonText, anyText, damaged } from '../../shared/doors/texts.ts'

const ID = '0123456789abcdef'
const OTHER = 'fedcba9876543210'
const taken = (id: string): VerifiedDeploy => ({
  id,
  stack: id === ID ? 'hello' : 'other',
  trigger: 'deploy',
  actor: 'ci',
  trust: 'signed',
  request: { env: { MESSAGE: 'x' } },
  signedAt: 5,
  expiresAt: 1e15,
})

/** Two deploys in a journal, after something was done to its file. */
function spoilt(dir: string, sql: string, ...values: (string | number | null)[]): Journal {
  const first = new Journal(dir)
  first.receive(taken(ID), 10)
  first.receive(taken(OTHER), 11)
  first.append(ID, { type: 'started' }, 12)
  first.close()
  const db = new DatabaseSync(join(dir, 'journal.sqlite'))
  db.prepare(sql).run(...values)
  db.close()
  return new Journal(dir)
}

/** The name of the deploy must be in what is said: a person has to find the row. */
function readOrName(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    expect(String((error as Error).message)).toContain(ID)
  }
}

test('an event that is spoilt is passed over in words, and those after it still come', () => {
  const text = fc.oneof(anyText, anyJsonText, damaged(anyAgentEvent.map((event) => JSON.stringify(event))))
  fc.assert(
    fc.property(text, (body) => {
      const journal = spoilt(tempDir(), 'UPDATE events SET body = ? WHERE deploy = ? AND seq = 1', body, ID)
      try {
        const events = journal.eventsAfter(ID, 0, 9)
        expect(events.map(({ seq }) => seq)).toEqual([1, 2])
        expect(events[1]?.event).toEqual({ type: 'started' })
        // What is read can be told to the hub.
        const frame = encodeFrame({ type: 'events', deploy: ID, events })
        expect(decodeFrame(fromAgentSchema, frame).ok).toBe(true)
      } finally {
        journal.close()
      }
    }),
    { numRuns: 40 },
  )
})

test('a deploy that is spoilt is read or named, and the other one is as it was', () => {
  const column = fc.constantFrom('stack', 'trigger', 'actor', 'trust', 'request', 'status')
  const text = fc.oneof(anyText, anyJsonText, damaged(fc.constant('{"env":{"MESSAGE":"x"}}')))
  fc.assert(
    fc.property(column, text, (name, value) => {
      const journal = spoilt(tempDir(), `UPDATE deploys SET "${name}" = ? WHERE id = ?`, value, ID)
      try {
        readOrName(() => journal.unfinished())
        readOrName(() => journal.statusOf(ID))
        readOrName(() => journal.append(ID, { type: 'cancelled' }, 13))
        expect(journal.statusOf(OTHER)).toBe('queued')
        expect(journal.has(ID)).toBe(true)
        journal.append(OTHER, { type: 'started' }, 14)
        expect(journal.receive(taken(ID), 15)).toBe('known')
      } finally {
        journal.close()
      }
    }),
    { numRuns: 60 },
  )
})

test('times of any size are read or named', () => {
  const column = fc.constantFrom('signed_at', 'expires_at', 'received_at', 'finished_at', 'acked')
  const number = fc.oneof(fc.maxSafeInteger(), fc.constantFrom(0, -1))
  fc.assert(
    fc.property(column, number, (name, value) => {
      const journal = spoilt(
        tempDir(),
        `UPDATE deploys SET "${name}" = CAST(? AS INTEGER) WHERE id = ?`,
        value,
        ID,
      )
      try {
        readOrName(() => journal.unfinished())
        readOrName(() => journal.unacked())
        readOrName(() => journal.ackedOf(ID))
        readOrName(() => journal.newest('hello', 'deploy'))
        journal.trim(Date.now())
        expect(journal.statusOf(OTHER)).toBe('queued')
      } finally {
        journal.close()
      }
    }),
    { numRuns: 40 },
  )
})

const RELEASE: NewRelease = {
  deploy: ID,
  actor: 'ci',
  reason: null,
  at: 1,
  builtAt: null,
  of: undefined,
  services: { app1: { image: 'a:1', imageId: 'sha256:0a', env: { MESSAGE: 'x', OTHER: null } } },
  files: { before: { '/c.yml': 'a' }, after: { '/c.yml': 'b' } },
}

test('a release that is spoilt is one or is passed over by its number, and the next one is there', () => {
  const stored = JSON.stringify({ ...RELEASE, of: 1 })
  const text = fc.oneof(anyText, anyJsonText, damaged(fc.constant(stored)))
  fc.assert(
    fc.property(text, (body) => {
      const dir = tempDir()
      const first = new Journal(dir)
      first.releasesOf('hello').add(RELEASE)
      first.releasesOf('hello').add({ ...RELEASE, deploy: OTHER })
      first.close()
      const db = new DatabaseSync(join(dir, 'journal.sqlite'))
      db.prepare('UPDATE releases SET body = ? WHERE number = 1').run(body)
      db.close()
      const journal = new Journal(dir)
      try {
        const warnings: string[] = []
        const releases = journal.releasesOf('hello', (message) => warnings.push(message))
        const listed = releases.list()
        expect(listed.at(-1)).toMatchObject({ number: 2, deploy: OTHER })
        expect(warnings.length).toBe(2 - listed.length)
        for (const warning of warnings) expect(warning).toContain('release 1 of hello')
        for (const release of listed) expect(releaseSchema.parse(release)).toEqual(release)
        expect(releases.add(RELEASE)).toBe(1)
      } finally {
        journal.close()
      }
    }),
    { numRuns: 40 },
  )
})

test('a stuck stack’s note, whatever is in it, locks, and has a day and a reason that can be said', () => {
  const note: StuckNote = { deploy: ID, at: 1_764_000_000_000, why: 'app1 does not start', record: '{}' }
  const text = fc.oneof(
    fc.oneof(anyText, anyJsonText, damaged(fc.constant(JSON.stringify(note)))),
    fc.uint8Array({ maxLength: 100 }),
  )
  const dir = tempDir()
  mkdirSync(join(dir, 'stuck'))
  fc.assert(
    fc.property(text, (content) => {
      writeFileSync(join(dir, 'stuck/hello.json'), content)
      const read = stuckNotesOf(dir, 'hello').read()
      expect(stuckNoteSchema.parse(read)).toEqual(read)
      expect(new Date(read?.at ?? NaN).toISOString()).toMatch(/^[+\d]/)
    }),
    { numRuns: 400 },
  )
})
