// The agent's memory: every deploy it was given and every event of it, on disk before anybody hears of it. A replayed request is
// found here, events wait here for the hub, and after a crash the journal says what was left half done.

import { mkdirSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { isFinal, nextStatus, STATUSES, type Status } from '../shared/deploy.ts'
import { deployEventSchema, type DeployEvent, type LoggedEvent } from '../shared/events.ts'
import { REQUEST_TTL_MS } from '../shared/limits.ts'
import { fromHubSchema, type DeployFrame } from '../shared/protocol.ts'
import { openLocked } from './journal-file.ts'

/**
 * Finished deploys are kept this long. A signed request can be replayed as long as its signature counts (REQUEST_TTL_MS), and only
 * the journal knows that it ran: this must stay well above. A deploy takes some 20 KiB.
 */
const KEPT_MS = 30 * REQUEST_TTL_MS

export interface JournaledDeploy {
  readonly frame: DeployFrame
  readonly status: Status
  /** By the agent's own clock. */
  readonly receivedAt: number
}

export class Journal {
  readonly #db: DatabaseSync
  readonly #statements: ReturnType<typeof prepareStatements>

  /** Throws `agent-running` while another process has the journal of this directory open. */
  constructor(dir: string) {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    this.#db = openLocked(dir, SCHEMA)
    this.#statements = prepareStatements(this.#db)
  }

  /** Stores a deploy with its first event, `received`. `known` when it has been there before: it must not run again. */
  receive(frame: DeployFrame, at: number): 'new' | 'known' {
    return this.#transaction(() => {
      const { changes } = this.#statements.receive.run(
        frame.id,
        frame.stack,
        JSON.stringify(frame),
        'queued' satisfies Status,
        frame.acceptedAt,
        at,
      )
      if (changes === 0) return 'known'
      this.#statements.append.run(frame.id, 1, at, JSON.stringify({ type: 'received' } satisfies DeployEvent))
      return 'new'
    })
  }

  /** Stores an event of a deploy as the next of its log, and what it does to the status. Throws where it cannot follow. */
  append(id: string, event: DeployEvent, at: number): LoggedEvent {
    return this.#transaction(() => {
      const status = nextStatus(this.statusOf(id), event)
      const seq = Number(this.#statements.lastSeq.get(id)?.['seq'] ?? 0) + 1
      this.#statements.append.run(id, seq, at, JSON.stringify(event))
      this.#statements.setStatus.run(status, isFinal(status) ? at : null, id)
      return { seq, at, event }
    })
  }

  statusOf(id: string): Status {
    const status = STATUSES.find((each) => each === this.#statements.deploy.get(id)?.['status'])
    if (status === undefined) throw new Error(`the journal has no deploy ${id}`)
    return status
  }

  /** Deploys without a final event, in the order in which they came. */
  unfinished(): JournaledDeploy[] {
    return this.#statements.unfinished.all().map((row) => ({
      frame: parseFrame(row['frame']),
      status: this.statusOf(String(row['id'])),
      receivedAt: Number(row['received_at']),
    }))
  }

  /** Deploys with events that the hub has not stored, in the order in which they came. */
  unacked(): { id: string; acked: number }[] {
    return this.#statements.unacked
      .all()
      .map((row) => ({ id: String(row['id']), acked: Number(row['acked']) }))
  }

  /** Up to which `seq` the hub has stored a deploy's events. */
  ackedOf(id: string): number {
    return Number(this.#statements.deploy.get(id)?.['acked'] ?? 0)
  }

  /** Up to `limit` events of a deploy that come after `seq`. */
  eventsAfter(id: string, seq: number, limit: number): LoggedEvent[] {
    return this.#statements.eventsAfter.all(id, seq, limit).map((row) => ({
      seq: Number(row['seq']),
      at: Number(row['at']),
      event: deployEventSchema.parse(JSON.parse(String(row['body']))),
    }))
  }

  /** The hub has stored a deploy's events up to `seq`. What goes back, or beyond the log, is ignored. */
  acknowledge(id: string, seq: number): void {
    this.#statements.acknowledge.run(seq, id, seq, id, seq)
  }

  /** Keeps the roll's own note on how far it has come, for the recovery after a crash. */
  record(id: string, note: string): void {
    this.#statements.record.run(note, id)
  }

  recordOf(id: string): string | undefined {
    const note = this.#statements.deploy.get(id)?.['record']
    return typeof note === 'string' ? note : undefined
  }

  /** Forgets what finished long ago, whether or not the hub ever took its events. */
  trim(now: number): void {
    this.#transaction(() => {
      this.#statements.trimEvents.run(now - KEPT_MS)
      this.#statements.trimDeploys.run(now - KEPT_MS)
    })
  }

  close(): void {
    this.#db.close()
  }

  #transaction<T>(work: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      this.#db.exec('COMMIT')
      return result
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS deploys (
    id          TEXT PRIMARY KEY,
    stack       TEXT NOT NULL,
    frame       TEXT NOT NULL,
    status      TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    finished_at INTEGER,
    acked       INTEGER NOT NULL DEFAULT 0,
    record      TEXT
  ) STRICT;
  CREATE TABLE IF NOT EXISTS events (
    deploy TEXT NOT NULL REFERENCES deploys (id),
    seq    INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (deploy, seq)
  ) STRICT, WITHOUT ROWID;
`

// rowid is the order in which deploys came: times may be equal, and clocks are set back.
// oxlint-disable-next-line typescript/explicit-function-return-type
function prepareStatements(db: DatabaseSync) {
  return {
    receive: db.prepare(
      `INSERT INTO deploys (id, stack, frame, status, accepted_at, received_at) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING`,
    ),
    deploy: db.prepare('SELECT status, acked, record FROM deploys WHERE id = ?'),
    lastSeq: db.prepare('SELECT max(seq) AS seq FROM events WHERE deploy = ?'),
    append: db.prepare('INSERT INTO events (deploy, seq, at, body) VALUES (?, ?, ?, ?)'),
    setStatus: db.prepare('UPDATE deploys SET status = ?, finished_at = ? WHERE id = ?'),
    unfinished: db.prepare(
      'SELECT id, frame, received_at FROM deploys WHERE finished_at IS NULL ORDER BY rowid',
    ),
    unacked: db.prepare(
      `SELECT id, acked FROM deploys
       WHERE acked < (SELECT max(seq) FROM events WHERE deploy = id) ORDER BY rowid`,
    ),
    eventsAfter: db.prepare(
      'SELECT seq, at, body FROM events WHERE deploy = ? AND seq > ? ORDER BY seq LIMIT ?',
    ),
    acknowledge: db.prepare(
      `UPDATE deploys SET acked = ? WHERE id = ? AND acked < ?
       AND EXISTS (SELECT 1 FROM events WHERE deploy = ? AND seq = ?)`,
    ),
    record: db.prepare('UPDATE deploys SET record = ? WHERE id = ?'),
    trimEvents: db.prepare(
      'DELETE FROM events WHERE deploy IN (SELECT id FROM deploys WHERE finished_at < ?)',
    ),
    trimDeploys: db.prepare('DELETE FROM deploys WHERE finished_at < ?'),
  }
}

// Storage is a door too: what an older version wrote is parsed, not believed.
function parseFrame(text: unknown): DeployFrame {
  const frame = fromHubSchema.parse(JSON.parse(String(text)))
  if (frame.type !== 'deploy') throw new Error('the journal holds a frame that is no deploy')
  return frame
}
