// The notices in the journal: what others are still to be told, and how it went. They stand alone: what is forgotten of deploys takes
// none of them along.

import type { DatabaseSync } from 'node:sqlite'
import type { AgentEvent } from '../../../shared/events.ts'
import { noticeSchema, type Story, type StoredNotice } from '../../notify/notice.ts'
import { jsonOf } from '../../json.ts'

/** Notices that wait for one destination. A stack that is deployed every few minutes makes so many in a day; the oldest are given up. */
export const NOTICES_WAITING_MAX = 500
/** Of those that were sent or given up, what is kept for one destination: for whoever asks how it went, and so that none is told twice. */
export const NOTICES_ENDED_MAX = 100

export interface NewNotice {
  readonly destination: string
  readonly notice: StoredNotice
}

/** What others are to be told of an event. `story` reads the deploy's log. It must not throw. */
export type NoticesFor = (event: AgentEvent, at: number, story: () => Story) => readonly NewNotice[]

export interface Waiting {
  readonly number: number
  readonly tries: number
  /** Not before; milliseconds since 1970. */
  readonly nextAt: number
  /** When it happened. */
  readonly at: number
  /** Undefined for one that is damaged. */
  readonly notice: StoredNotice | undefined
}

export type NoticeOutcome = 'sent' | 'given-up'

/** One notice as a list shows it. */
export interface ListedNotice {
  readonly destination: string
  readonly deploy: string
  readonly moment: string
  readonly at: number
  readonly tries: number
  readonly nextAt: number
  readonly fault: string | null
  readonly outcome: NoticeOutcome | null
  readonly endedAt: number | null
}

export interface StoredNotices {
  /** Stores them, as part of a transaction that has begun. */
  add(notices: readonly NewNotice[]): void
  /** The oldest that waits: no other is sent before it. */
  first(stack: string, destination: string): Waiting | undefined
  failed(number: number, fault: string, nextAt: number): void
  ended(number: number, outcome: NoticeOutcome, at: number, fault?: string): void
  /** Gives up what waits for any other destination of a stack; how many there were. */
  giveUpOthers(stack: string, destinations: readonly string[], at: number): number
  stacks(): string[]
  /** What waits, what was given up, and for each destination what was sent last; newest first. */
  list(stack: string): ListedNotice[]
  trim(before: number): void
}

// oxlint-disable-next-line typescript/explicit-function-return-type
export function prepareNotices(db: DatabaseSync) {
  return {
    add: db.prepare(
      `INSERT INTO notices (stack, destination, deploy, moment, at, body) VALUES (?, ?, ?, ?, ?, ?)
       ON CONFLICT (stack, destination, deploy, moment) DO NOTHING`,
    ),
    first: db.prepare(
      `SELECT number, tries, next_at, at, body FROM notices
       WHERE stack = ? AND destination = ? AND outcome IS NULL ORDER BY number LIMIT 1`,
    ),
    failed: db.prepare('UPDATE notices SET tries = tries + 1, fault = ?, next_at = ? WHERE number = ?'),
    // Of one that is over, the facts are in its deploy's log.
    ended: db.prepare(
      `UPDATE notices SET tries = tries + 1, outcome = ?, ended_at = ?, fault = coalesce(?, fault), body = '' WHERE number = ?`,
    ),
    crowdedOut: db.prepare(
      `UPDATE notices SET outcome = 'given-up', ended_at = ?, body = '',
       fault = 'more than ${NOTICES_WAITING_MAX} were waiting' || coalesce(', the last try said: ' || fault, '')
       WHERE outcome IS NULL AND stack = ? AND destination = ? AND number <=
       (SELECT number FROM notices WHERE outcome IS NULL AND stack = ? AND destination = ?
        ORDER BY number DESC LIMIT 1 OFFSET ${NOTICES_WAITING_MAX})`,
    ),
    giveUpOthers: db.prepare(
      `UPDATE notices SET outcome = 'given-up', ended_at = ?, body = '', fault = 'ropeway.yml has this destination no more'
       WHERE outcome IS NULL AND stack = ? AND destination NOT IN (SELECT value FROM json_each(?))`,
    ),
    stacks: db.prepare('SELECT DISTINCT stack FROM notices ORDER BY stack'),
    list: db.prepare(
      `SELECT destination, deploy, moment, at, tries, next_at AS nextAt, fault, outcome, ended_at AS endedAt
       FROM notices WHERE stack = ? AND (outcome IS NOT 'sent' OR number IN
       (SELECT max(number) FROM notices WHERE stack = ? AND outcome = 'sent' GROUP BY destination))
       ORDER BY number DESC`,
    ),
    trimOld: db.prepare('DELETE FROM notices WHERE ended_at < ?'),
    trimMany: db.prepare(
      `DELETE FROM notices WHERE number IN (SELECT number FROM
       (SELECT number, row_number() OVER (PARTITION BY stack, destination ORDER BY number DESC) AS place
        FROM notices WHERE outcome IS NOT NULL) WHERE place > ${NOTICES_ENDED_MAX})`,
    ),
  }
}

export function storedNotices(statements: ReturnType<typeof prepareNotices>): StoredNotices {
  return {
    add: (notices) => {
      for (const { destination, notice } of notices) {
        const { stack, deploy, moment, at } = notice
        statements.add.run(stack, destination, deploy, moment, at, JSON.stringify(notice))
        statements.crowdedOut.run(at, stack, destination, stack, destination)
      }
    },
    first: (stack, destination) => {
      const row = statements.first.get(stack, destination)
      if (!row) return undefined
      const parsed = noticeSchema.safeParse(jsonOf(String(row['body'])))
      return {
        number: Number(row['number']),
        tries: Number(row['tries']),
        nextAt: Number(row['next_at']),
        at: Number(row['at']),
        notice: parsed.data,
      }
    },
    failed: (number, fault, nextAt) => void statements.failed.run(fault, nextAt, number),
    ended: (number, outcome, at, fault) => void statements.ended.run(outcome, at, fault ?? null, number),
    giveUpOthers: (stack, destinations, at) =>
      Number(statements.giveUpOthers.run(at, stack, JSON.stringify(destinations)).changes),
    stacks: () => statements.stacks.all().map(({ stack }) => String(stack)),
    list: (stack) => statements.list.all(stack, stack) as unknown as ListedNotice[],
    trim: (before) => {
      statements.trimOld.run(before)
      statements.trimMany.run()
    },
  }
}
