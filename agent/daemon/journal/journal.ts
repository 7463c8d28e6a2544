// The agent's memory: every deploy it took in and every event of it, on disk before anybody hears of it. A replayed request is found
// here, events wait here for the hub, and after a crash the journal says what was left half done.

import { mkdirSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { isFinal, nextStatus, STATUSES, type Status } from '../../../shared/deploy.ts'
import type { AgentEvent, AgentLoggedEvent } from '../../../shared/events.ts'
import { joinRecord } from '../../roll/record.ts'
import type { Releases } from '../../roll/releases/release.ts'
import { openLocked } from './file.ts'
import { prepareNotices, storedNotices, type NoticesFor, type StoredNotices } from './notices.ts'
import { prepareReleases, storedReleases } from './releases.ts'
import { FORMAT } from './format.ts'
import { parseEvent, parseRow, prepareStatements } from './rows.ts'
import { shorten } from './shorten.ts'
import type { VerifiedDeploy } from '../verified-deploy.ts'

/**
 * Finished deploys are kept this long, and this long after their request could last be repeated: only the journal knows that it ran. It
 * must stay well above REQUEST_TTL_MS_MAX and the clocks' tolerance: a trigger's ttl may be set longer after one of its requests came, and
 * the newest request of a trigger must be here as long as an older one can still come. A deploy takes some 20 KiB.
 */
export const KEPT_MS = 30 * 24 * 3600_000

/**
 * Finished hints that are kept: nobody signed them, so a relay can make any number, and nothing is lost by running one twice. A hint takes
 * some 300 bytes when another takes its place before it runs.
 */
export const HINTS_KEPT_MAX = 1000

export interface JournaledDeploy extends VerifiedDeploy {
  readonly status: Status
}

export class Journal {
  readonly #db: DatabaseSync
  readonly #statements: ReturnType<typeof prepareStatements>
  readonly #releases: ReturnType<typeof prepareReleases>
  readonly #noticesFor: NoticesFor
  readonly notices: StoredNotices

  /**
   * `noticesFor` says what others are to be told of an event: it is stored with it, or neither is. Throws `agent-running` while another
   * process has the journal of this directory open.
   */
  constructor(dir: string, noticesFor: NoticesFor = () => []) {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    this.#noticesFor = noticesFor
    this.#db = openLocked(dir, FORMAT)
    this.#statements = prepareStatements(this.#db)
    this.#releases = prepareReleases(this.#db)
    this.notices = storedNotices(prepareNotices(this.#db))
  }

  /** Stores a deploy with its first event, `received`. `known` when it has been there before: it must not run again. */
  receive(deploy: VerifiedDeploy, at: number): 'new' | 'known' {
    return this.#transaction(() => {
      const { changes } = this.#statements.receive.run(
        deploy.id,
        deploy.stack,
        deploy.trigger,
        deploy.actor,
        deploy.trust,
        JSON.stringify(deploy.request),
        deploy.signedAt === undefined ? null : storable(deploy.signedAt),
        deploy.expiresAt === Infinity ? null : storable(deploy.expiresAt),
        'queued' satisfies Status,
        at,
      )
      if (changes === 0) return 'known'
      this.#statements.append.run(deploy.id, 1, at, JSON.stringify({ type: 'received' } satisfies AgentEvent))
      if (deploy.trust === 'hint') this.#trimHints()
      return 'new'
    })
  }

  has(id: string): boolean {
    return this.#statements.deploy.get(id) !== undefined
  }

  /** Of the deploys that a trigger's requests asked for, the one that was signed last. */
  newest(stack: string, trigger: string): { id: string; signedAt: number } | undefined {
    const row = this.#statements.newest.get(stack, trigger)
    return row && { id: String(row['id']), signedAt: Number(row['signed_at']) }
  }

  /** Stores an event of a deploy as the next of its log, and what it does to the status. Throws where it cannot follow. */
  append(id: string, event: AgentEvent, at: number): AgentLoggedEvent {
    const short = shorten(event)
    return this.#transaction(() => {
      const status = nextStatus(this.statusOf(id), short)
      const notices = this.#noticesFor(short, at, () => ({
        deploy: parseRow(this.#statements.whole.get(id) ?? {}),
        events: this.#statements.eventsOf.all(id).map(({ body }) => parseEvent(body)),
      }))
      const seq = Number(this.#statements.lastSeq.get(id)?.['seq'] ?? 0) + 1
      this.#statements.append.run(id, seq, at, JSON.stringify(short))
      this.#statements.setStatus.run(status, isFinal(status) ? at : null, id)
      this.notices.add(notices)
      return { seq, at, event: short }
    })
  }

  statusOf(id: string): Status {
    const status = STATUSES.find((each) => each === this.#statements.deploy.get(id)?.['status'])
    if (status === undefined) throw new Error(`the journal has no status of deploy ${id}`)
    return status
  }

  /** Deploys without a final event, in the order in which they came. */
  unfinished(): JournaledDeploy[] {
    return this.#statements.unfinished.all().map((row) => parseRow(row))
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
  eventsAfter(id: string, seq: number, limit: number): AgentLoggedEvent[] {
    return this.#statements.eventsAfter.all(id, seq, limit).map((row) => ({
      seq: Number(row['seq']),
      at: Number(row['at']),
      event: parseEvent(row['body']),
    }))
  }

  /** The hub has stored a deploy's events up to `seq`. What goes back, or beyond the log, is ignored. */
  acknowledge(id: string, seq: number): void {
    this.#statements.acknowledge.run(seq, id, seq, id, seq)
  }

  /** Keeps the roll's own note on how far it has come, and, once, what it is about, for the recovery after a crash. Each is one line. */
  record(id: string, note: string, facts?: string): void {
    this.#statements.record.run(note, facts ?? null, id)
  }

  /** What was kept of a roll: what it is about, if that is known, and the newest note, a line each. */
  recordOf(id: string): string | undefined {
    const { record, facts } = this.#statements.deploy.get(id) ?? {}
    if (typeof record !== 'string') return undefined
    return joinRecord(typeof facts === 'string' ? facts : undefined, record)
  }

  /** What a stack ran. `onDamaged` hears of each release that cannot be read, and is passed over. */
  releasesOf(stack: string, onDamaged: (message: string) => void = () => {}): Releases {
    return storedReleases(stack, this.#releases, (work) => this.#transaction(work), onDamaged)
  }

  /** Forgets what finished long ago, whether or not the hub ever took its events. */
  trim(now: number): void {
    this.#transaction(() => {
      this.#statements.trimEvents.run(now - KEPT_MS)
      this.#statements.trimDeploys.run(now - KEPT_MS, now - KEPT_MS)
      this.#trimHints()
      this.notices.trim(now - KEPT_MS)
    })
  }

  close(): void {
    this.#db.close()
  }

  #trimHints(): void {
    const oldest = this.#statements.oldestHint.get(HINTS_KEPT_MAX)?.['row']
    if (oldest === undefined) return
    this.#statements.trimHintEvents.run(oldest)
    this.#statements.trimHints.run(oldest)
  }

  #transaction<T>(work: () => T): T {
    // A transaction is still open where its own ROLLBACK failed, as on a dying disk. Every later one would fail at it.
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
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

// The columns are whole numbers, and a lying clock may say anything.
function storable(ms: number): number {
  return Math.max(0, Math.min(Number.MAX_SAFE_INTEGER, Math.floor(ms)))
}
