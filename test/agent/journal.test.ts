import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { Journal } from '../../agent/journal.ts'
import type { DeployFrame } from '../../shared/protocol.ts'
import { tempDir } from '../support/host.ts'

const ID = '0123456789abcdef'
const OTHER = 'fedcba9876543210'
const DAY_MS = 24 * 3600_000

function frame(id = ID, stack = 'hello'): DeployFrame {
  return {
    type: 'deploy',
    id,
    stack,
    trigger: 'deploy',
    acceptedAt: 5,
    proof: { kind: 'hook', headers: {}, body: '' },
  }
}

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
  expect(journal.receive(frame(), 10)).toBe('new')
  expect(journal.receive(frame(), 20)).toBe('known')
  expect(journal.eventsAfter(ID, 0, 9)).toEqual([{ seq: 1, at: 10, event: { type: 'received' } }])
  expect(journal.unfinished()).toEqual([{ frame: frame(), status: 'queued', receivedAt: 10 }])
})

test('it is still known after a restart, also when it is over', () => {
  const dir = tempDir()
  const before = open(dir)
  before.receive(frame(), 10)
  before.append(ID, { type: 'cancelled' }, 11)
  before.close()
  const after = open(dir)
  expect(after.receive(frame(), 20)).toBe('known')
  expect(after.unfinished()).toEqual([])
})

test('events count from 1 without gaps and move the status', () => {
  const journal = open()
  journal.receive(frame(), 10)
  journal.receive(frame(OTHER, 'other'), 11)
  expect(journal.append(ID, { type: 'started' }, 12)).toEqual({ seq: 2, at: 12, event: { type: 'started' } })
  expect(journal.statusOf(ID)).toBe('running')
  expect(journal.append(OTHER, { type: 'started' }, 13).seq).toBe(2)
  expect(journal.append(ID, { type: 'succeeded', ms: 1, changed: true, services: {} }, 14).seq).toBe(3)
  expect(journal.statusOf(ID)).toBe('succeeded')
  expect(journal.unfinished().map((deploy) => deploy.frame.id)).toEqual([OTHER])
})

test('nothing is appended after a final event, nor to a deploy that is not there', () => {
  const journal = open()
  journal.receive(frame(), 10)
  journal.append(ID, { type: 'cancelled' }, 11)
  expect(() => journal.append(ID, { type: 'started' }, 12)).toThrow('started after cancelled')
  expect(() => journal.append(OTHER, { type: 'started' }, 12)).toThrow(OTHER)
  expect(journal.eventsAfter(ID, 0, 9)).toHaveLength(2)
})

test('acknowledged events are no longer due; acknowledging never goes back or beyond the log', () => {
  const journal = open()
  journal.receive(frame(), 10)
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
  before.receive(frame(), 10)
  expect(before.recordOf(ID)).toBeUndefined()
  before.record(ID, '{"step":3}')
  before.close()
  expect(open(dir).recordOf(ID)).toBe('{"step":3}')
})

test('what finished a month ago is forgotten; what has not finished is not', () => {
  const journal = open()
  journal.receive(frame(), 0)
  journal.receive(frame(OTHER), 0)
  journal.append(ID, { type: 'cancelled' }, DAY_MS)
  journal.trim(30 * DAY_MS)
  expect(journal.receive(frame(), 0)).toBe('known')
  journal.trim(31 * DAY_MS + 1)
  expect(journal.receive(frame(OTHER), 0)).toBe('known')
  expect(journal.receive(frame(), 0)).toBe('new')
})

test('only the owner can read it', () => {
  const dir = tempDir()
  open(dir).receive(frame(), 0)
  for (const file of ['journal.sqlite', 'journal.sqlite-wal'])
    expect(statSync(join(dir, file)).mode & 0o077).toBe(0)
})

/** Runs the appending process until it has said so many numbers; resolves to all numbers it said before it was killed. */
async function appendAndKill(
  dir: string,
  count: number,
  whileItRuns: () => void = () => {},
): Promise<number> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../support/journal-child.ts'), dir, ID], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
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
