import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { HINTS_KEPT_MAX, Journal, KEPT_MS } from '../../../../agent/daemon/journal/journal.ts'
import type { VerifiedDeploy } from '../../../../agent/daemon/verified-deploy.ts'
import type { StoredNotice } from '../../../../agent/notify/notice.ts'
import type { NewRelease } from '../../../../agent/roll/releases/release.ts'
import { EVENT_BYTES_MAX, REQUEST_TTL_MS_MAX, SIGNATURE_AGE_SECONDS_MAX } from '../../../../shared/limits.ts'
import { takenIn, tempDir } from '../../../support/host.ts'

const ID = '0123456789abcdef'
const OTHER = 'fedcba9876543210'
const DAY_MS = 24 * 3600_000

function deploy(id = ID, stack = 'hello', over: Partial<VerifiedDeploy> = {}): VerifiedDeploy {
  return takenIn({ id, stack, signedAt: 5, expiresAt: 6, ...over })
}

const idOf = (n: number) => n.toString().padStart(16, '0')

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

test('a deploy is received once, with its first event', () => {
  const journal = open()
  expect(journal.receive(deploy(), 10)).toBe('new')
  expect(journal.receive(deploy(), 20)).toBe('known')
  expect(journal.eventsAfter(ID, 0, 9)).toEqual([{ seq: 1, at: 10, event: { type: 'received' } }])
  expect(journal.unfinished()).toEqual([{ ...deploy(), status: 'queued' }])
})

test('it is still known after a restart, also when it is over', () => {
  const dir = tempDir()
  const before = open(dir)
  before.receive(deploy(), 10)
  before.append(ID, { type: 'cancelled' }, 11)
  before.close()
  const after = open(dir)
  expect(after.receive(deploy(), 20)).toBe('known')
  expect(after.unfinished()).toEqual([])
})

test('events count from 1 without gaps and move the status', () => {
  const journal = open()
  journal.receive(deploy(), 10)
  journal.receive(deploy(OTHER, 'other'), 11)
  expect(journal.append(ID, { type: 'started' }, 12)).toEqual({ seq: 2, at: 12, event: { type: 'started' } })
  expect(journal.statusOf(ID)).toBe('running')
  expect(journal.append(OTHER, { type: 'started' }, 13).seq).toBe(2)
  expect(journal.append(ID, { type: 'succeeded', ms: 1, changed: true, services: {} }, 14).seq).toBe(3)
  expect(journal.statusOf(ID)).toBe('succeeded')
  expect(journal.unfinished().map(({ id }) => id)).toEqual([OTHER])
})

test('nothing is appended after a final event, nor to a deploy that is not there', () => {
  const journal = open()
  journal.receive(deploy(), 10)
  journal.append(ID, { type: 'cancelled' }, 11)
  expect(() => journal.append(ID, { type: 'started' }, 12)).toThrow('started after cancelled')
  expect(() => journal.append(OTHER, { type: 'started' }, 12)).toThrow(OTHER)
  expect(journal.eventsAfter(ID, 0, 9)).toHaveLength(2)
})

test('acknowledged events are no longer due; acknowledging never goes back or beyond the log', () => {
  const journal = open()
  journal.receive(deploy(), 10)
  journal.append(ID, { type: 'started' }, 11)
  journal.acknowledge(ID, 3)
  expect(journal.unacked()).toEqual([{ id: ID, acked: 0 }])
  journal.acknowledge(ID, 2)
  expect(journal.unacked()).toEqual([])
  journal.acknowledge(ID, 1)
  expect(journal.ackedOf(ID)).toBe(2)
  journal.append(ID, { type: 'cancelled' }, 12)
  expect(journal.unacked()).toEqual([{ id: ID, acked: 2 }])
  expect(journal.eventsAfter(ID, 2, 9).map(({ seq }) => seq)).toEqual([3])
})

test('a roll’s note is kept', () => {
  const dir = tempDir()
  const before = open(dir)
  before.receive(deploy(), 10)
  expect(before.recordOf(ID)).toBeUndefined()
  before.record(ID, '{"step":3}')
  before.close()
  const after = open(dir)
  expect(after.recordOf(ID)).toBe('{"step":3}')
  after.record(ID, '{"step":4}', '{"about":"it"}')
  after.record(ID, '{"step":5}')
  expect(after.recordOf(ID)).toBe('{"about":"it"}\n{"step":5}')
})

test('what finished a month ago is forgotten; what has not finished is not', () => {
  const journal = open()
  journal.receive(deploy(), 0)
  journal.receive(deploy(OTHER), 0)
  journal.append(ID, { type: 'cancelled' }, DAY_MS)
  journal.trim(30 * DAY_MS)
  expect(journal.receive(deploy(), 0)).toBe('known')
  journal.trim(31 * DAY_MS + 1)
  expect(journal.receive(deploy(OTHER), 0)).toBe('known')
  expect(journal.receive(deploy(), 0)).toBe('new')
})

test('what ran is known for longer than its request can be repeated: by a trigger, or by a token of a year', () => {
  expect(KEPT_MS).toBeGreaterThan(2 * (REQUEST_TTL_MS_MAX + SIGNATURE_AGE_SECONDS_MAX * 1000))
  const journal = open()
  journal.receive(deploy(ID, 'hello', { expiresAt: 366 * DAY_MS }), 0)
  journal.append(ID, { type: 'cancelled' }, DAY_MS)
  journal.trim(300 * DAY_MS)
  expect(journal.has(ID)).toBe(true)
  expect(journal.eventsAfter(ID, 0, 9)).toEqual([])
  expect(journal.unacked()).toEqual([])
  journal.trim(366 * DAY_MS + KEPT_MS + 1)
  expect(journal.has(ID)).toBe(false)
})

test('of finished hints the newest thousand are kept; one that waits, and signed requests, are', () => {
  const journal = open()
  const hint = { trust: 'hint', signedAt: undefined, expiresAt: Infinity } as const
  journal.receive(deploy(), 0)
  journal.append(ID, { type: 'cancelled' }, 1)
  journal.receive(deploy(idOf(0), 'hello', hint), 1)
  for (let n = 1; n <= HINTS_KEPT_MAX + 50; n += 1) {
    journal.receive(deploy(idOf(n), 'hello', hint), n)
    journal.append(idOf(n), { type: 'superseded', by: idOf(n + 1) }, n)
  }
  // A flood does not wait for the hour at which the rest is trimmed.
  expect(journal.unacked().length).toBeLessThanOrEqual(HINTS_KEPT_MAX + 3)
  journal.trim(1)
  expect(journal.has(ID)).toBe(true)
  expect(journal.has(idOf(0))).toBe(true)
  expect(journal.has(idOf(50))).toBe(false)
  expect(journal.has(idOf(51))).toBe(true)
  expect(journal.unacked()).toHaveLength(HINTS_KEPT_MAX + 2)
  expect(journal.unfinished().map(({ id, expiresAt }) => [id, expiresAt])).toEqual([[idOf(0), Infinity]])
})

test('the newest of a stack’s trigger is the one that was signed last, whenever it came and however it ended', () => {
  const journal = open()
  const ids = ['a', 'b', 'c', 'd', 'e'].map((letter) => letter.repeat(16))
  const [a = '', b = '', c = '', d = '', e = ''] = ids
  expect(journal.newest('hello', 'deploy')).toBeUndefined()
  journal.receive(deploy(a, 'hello', { signedAt: 30 }), 1)
  journal.receive(deploy(b, 'hello', { signedAt: 20 }), 2)
  journal.receive(deploy(c, 'other', { signedAt: 40 }), 3)
  journal.receive(deploy(d, 'hello', { signedAt: 50, trigger: 'second' }), 4)
  journal.receive(deploy(e, 'hello', { signedAt: undefined }), 5)
  journal.append(a, { type: 'cancelled' }, 6)
  expect(journal.newest('hello', 'deploy')).toEqual({ id: a, signedAt: 30 })
  expect(journal.newest('hello', 'second')).toEqual({ id: d, signedAt: 50 })
})

test('an event that no frame could carry is stored shorter', () => {
  const journal = open()
  journal.receive(deploy(), 1)
  const { event } = journal.append(
    ID,
    { type: 'step-progress', step: 0, facts: { text: 'x'.repeat(99_999) } },
    1,
  )
  expect(JSON.stringify(event).length).toBeLessThan(EVENT_BYTES_MAX)
  expect(journal.eventsAfter(ID, 1, 9)).toEqual([{ seq: 2, at: 1, event }])
})

test.each([0, 1, 6])('a file of format %i is refused with a cure, and left as it is', (version) => {
  const dir = tempDir()
  const write = new DatabaseSync(join(dir, 'journal.sqlite'))
  write.exec(`CREATE TABLE deploys (id TEXT PRIMARY KEY, frame TEXT); PRAGMA user_version = ${version}`)
  write.close()
  expect(() => open(dir)).toThrow(
    expect.objectContaining({
      code: 'journal-unusable',
      message: expect.stringContaining(`format ${version}, this agent writes 5`),
      cure: expect.stringContaining('the version of ropeway that wrote it'),
    }),
  )
  const read = new DatabaseSync(join(dir, 'journal.sqlite'))
  expect(read.prepare('SELECT name FROM sqlite_schema').all()).toContainEqual({ name: 'deploys' })
  read.close()
})

// As the agent wrote it before there were releases.
const FORMAT_2 = `
  CREATE TABLE deploys (
    id TEXT PRIMARY KEY, stack TEXT NOT NULL, "trigger" TEXT NOT NULL, actor TEXT NOT NULL, trust TEXT NOT NULL,
    request TEXT NOT NULL, signed_at INTEGER, expires_at INTEGER, status TEXT NOT NULL, received_at INTEGER NOT NULL,
    finished_at INTEGER, acked INTEGER NOT NULL DEFAULT 0, record TEXT
  ) STRICT;
  CREATE INDEX by_time_of_signing ON deploys (stack, "trigger", signed_at);
  CREATE INDEX hints ON deploys (finished_at) WHERE trust = 'hint';
  CREATE TABLE events (
    deploy TEXT NOT NULL REFERENCES deploys (id), seq INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (deploy, seq)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO deploys VALUES
    ('${ID}', 'hello', 'deploy', 'ci', 'signed', '{"image":"a:1","env":{"MESSAGE":"x"}}', 5, 6, 'running', 1, NULL, 1, '{"told":3}'),
    ('${OTHER}', 'hello', 'deploy', 'ci', 'hint', '{}', NULL, NULL, 'superseded', 2, 3, 0, NULL);
  INSERT INTO events VALUES
    ('${ID}', 1, 1, '{"type":"received"}'), ('${ID}', 2, 2, '{"type":"started"}'),
    ('${OTHER}', 1, 2, '{"type":"received"}'), ('${OTHER}', 2, 3, '{"type":"superseded","by":"${ID}"}');
  PRAGMA user_version = 2;
`

// As it was before others were notified.
const FORMAT_3 = `
  ${FORMAT_2}
  CREATE TABLE releases (
    stack TEXT NOT NULL, number INTEGER NOT NULL, deploy TEXT, body TEXT NOT NULL, PRIMARY KEY (stack, number)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX release_of_deploy ON releases (stack, deploy) WHERE deploy IS NOT NULL;
  CREATE TABLE release_numbers (stack TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  PRAGMA user_version = 3;
`

// As it was before what a roll is about was kept apart.
const FORMAT_4 = `
  ${FORMAT_3}
  CREATE TABLE notices (
    number INTEGER PRIMARY KEY AUTOINCREMENT, stack TEXT NOT NULL, destination TEXT NOT NULL, deploy TEXT NOT NULL, moment TEXT NOT NULL,
    at INTEGER NOT NULL, body TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0, next_at INTEGER NOT NULL DEFAULT 0, fault TEXT, outcome TEXT,
    ended_at INTEGER, UNIQUE (stack, destination, deploy, moment)
  ) STRICT;
  CREATE INDEX waiting_notices ON notices (stack, destination, number) WHERE outcome IS NULL;
  PRAGMA user_version = 4;
`

test.each([
  [2, FORMAT_2],
  [3, FORMAT_3],
  [4, FORMAT_4],
])(
  'a journal of format %i is taken over with all that is in it, and has all of today’s from then on',
  (_, format) => {
    const dir = tempDir()
    const old = new DatabaseSync(join(dir, 'journal.sqlite'))
    old.exec(format)
    old.close()
    for (const isFirst of [true, false]) {
      const journal = open(dir)
      const request = { image: 'a:1', env: { MESSAGE: 'x' } }
      expect(journal.unfinished()).toEqual([
        { ...deploy(ID, 'hello', { actor: 'ci', request }), status: 'running' },
      ])
      expect(journal.recordOf(ID)).toBe('{"told":3}')
      expect(journal.eventsAfter(ID, 0, 9).map(({ event }) => event.type)).toEqual(['received', 'started'])
      expect(journal.unacked()).toEqual([
        { id: ID, acked: 1 },
        { id: OTHER, acked: 0 },
      ])
      expect(journal.receive(deploy(OTHER), 9)).toBe('known')
      expect(journal.newest('hello', 'deploy')).toEqual({ id: ID, signedAt: 5 })
      expect(journal.releasesOf('hello').list()).toHaveLength(isFirst ? 0 : 1)
      if (isFirst) journal.releasesOf('hello').add(RELEASE)
      expect(journal.notices.list('hello')).toHaveLength(isFirst ? 0 : 1)
      if (isFirst) journal.notices.add([{ destination: 'slack', notice: NOTICE }])
      journal.close()
    }
  },
)

const NOTICE: StoredNotice = {
  moment: 'start',
  deploy: ID,
  stack: 'hello',
  actor: 'ci',
  at: 1,
  changes: [],
  moreChanges: 0,
}

function tablesOf(format?: string) {
  const dir = tempDir()
  const path = join(dir, 'journal.sqlite')
  if (format !== undefined) {
    const old = new DatabaseSync(path)
    old.exec(format)
    old.close()
  }
  open(dir).close()
  const db = new DatabaseSync(path)
  const tables = db.prepare('SELECT name FROM sqlite_schema ORDER BY name').all()
  const columns = db.prepare('SELECT name, type, "notnull" FROM pragma_table_info(\'notices\')').all()
  db.close()
  return { tables, columns }
}

test('an upgraded journal has the tables of a new one', () => {
  expect(tablesOf(FORMAT_2)).toEqual(tablesOf())
  expect(tablesOf(FORMAT_3)).toEqual(tablesOf())
})

const RELEASE: NewRelease = {
  deploy: ID,
  actor: 'ci',
  reason: null,
  at: 1,
  builtAt: null,
  of: undefined,
  services: {},
  files: { before: {}, after: {} },
}

test('a rollback that was taken in is one after a restart', () => {
  const dir = tempDir()
  const before = open(dir)
  before.receive(deploy(ID, 'hello', { request: { release: 3, reason: 'why' } }), 1)
  before.receive(deploy(OTHER, 'hello', { request: { release: 'previous' } }), 2)
  before.close()
  expect(
    open(dir)
      .unfinished()
      .map(({ request }) => request),
  ).toEqual([{ release: 3, reason: 'why' }, { release: 'previous' }])
})

test('an event that cannot be read is told as a warning, and those after it come all the same', () => {
  const dir = tempDir()
  const before = open(dir)
  before.receive(deploy(), 1)
  before.append(ID, { type: 'started' }, 2)
  before.append(ID, { type: 'cancelled' }, 3)
  before.close()
  const write = new DatabaseSync(join(dir, 'journal.sqlite'))
  write.exec(`UPDATE events SET body = '{"kind":"danced"}' WHERE seq = 2`)
  write.close()
  expect(
    open(dir)
      .eventsAfter(ID, 0, 9)
      .map(({ event }) => event),
  ).toEqual([
    { type: 'received' },
    { type: 'warning', problem: { code: 'event-unreadable', message: expect.any(String) } },
    { type: 'cancelled' },
  ])
})

test('a clock that lies about the time of signing does not keep a deploy out', () => {
  const journal = open()
  journal.receive(deploy(ID, 'hello', { signedAt: 1.5, expiresAt: 1e300 }), 1)
  expect(journal.unfinished()).toMatchObject([{ signedAt: 1, expiresAt: Number.MAX_SAFE_INTEGER }])
})

test('only the owner can read it', () => {
  const dir = tempDir()
  open(dir).receive(deploy(), 0)
  for (const file of ['journal.sqlite', 'journal.sqlite-wal'])
    expect(statSync(join(dir, file)).mode & 0o077).toBe(0)
})

/** Runs the appending process until it has said so many numbers; resolves to all numbers it said before it was killed. */
async function appendAndKill(
  dir: string,
  count: number,
  whileItRuns: () => void = () => {},
): Promise<number> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, '../../../support/journal-child.ts'), dir, ID],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  onTestFinished(() => void child.kill('SIGKILL'))
  let last = 0
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'open') whileItRuns()
    else last = Number(line)
    if (last === count) child.kill('SIGKILL')
  }
  if (child.signalCode === null) await once(child, 'exit')
  expect(child.signalCode).toBe('SIGKILL')
  return last
}

test('every event that was said to be stored is there after SIGKILL, without a gap', async () => {
  const dir = tempDir()
  const last = await appendAndKill(dir, 200)
  expect(last).toBeGreaterThanOrEqual(200)
  const journal = open(dir)
  const seqs = journal.eventsAfter(ID, 0, 100_000).map(({ seq }) => seq)
  expect(seqs.length).toBeGreaterThanOrEqual(last)
  expect(seqs).toEqual(seqs.map((_, index) => index + 1))
  expect(journal.unfinished().map(({ status }) => status)).toEqual(['running'])
  expect(journal.append(ID, { type: 'undoing', steps: [] }, 1).seq).toBe(seqs.length + 1)
})

test('a second process is refused while the first lives, by its pid, and let in when it was killed', async () => {
  const dir = tempDir()
  let refusal: unknown
  await appendAndKill(dir, 20, () => {
    try {
      open(dir)
    } catch (error) {
      refusal = error
    }
  })
  expect(refusal).toMatchObject({
    code: 'agent-running',
    message: expect.stringMatching(/^process \d+ has /),
  })
  expect(refusal).not.toMatchObject({ message: expect.stringContaining(String(process.pid)) })
  open(dir)
})

test('a second journal in one process is refused too', () => {
  const dir = tempDir()
  const first = open(dir)
  expect(() => new Journal(dir)).toThrow(`process ${process.pid} has`)
  first.close()
  open(dir)
})
