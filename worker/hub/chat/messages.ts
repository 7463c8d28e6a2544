// The messages of deploys that were asked for by chat, in SQLite: where each is edited, and when it is due. One row a message, written anew
// at each edit.

import type { MessageState, Next } from './pace.ts'

/** How long a message is kept after its last edit: its buttons count until then. */
const BUTTON_MS_MAX = 24 * 3600_000

export interface DeployMessage extends MessageState {
  readonly deploy: string
  readonly chat: string
  /** The relay's origin, as the platform called it. */
  readonly origin: string
}

interface Row extends Record<string, SqlStorageValue> {
  deploy: string
  chat: string
  origin: string
  place: string
  seq: number
  shown_at: number
  tries: number
}
const COLUMNS = 'deploy, chat, origin, place, seq, shown_at, tries'

/** Adds a message. A deploy that has one keeps it: the same request came again. */
export function insertMessage(
  sql: SqlStorage,
  { deploy, chat, origin, place }: Pick<DeployMessage, 'deploy' | 'chat' | 'origin' | 'place'>,
  { now, dueAt }: { now: number; dueAt: number },
): void {
  sql.exec('DELETE FROM chat_messages WHERE ended_at < ?', now - BUTTON_MS_MAX)
  sql.exec(
    `INSERT OR IGNORE INTO chat_messages (${COLUMNS}, due_at) VALUES (?, ?, ?, ?, 0, 0, 0, ?)`,
    deploy,
    chat,
    origin,
    JSON.stringify(place),
    dueAt,
  )
}

/** A deploy's message that is not at its end. */
export function findOpen(
  sql: SqlStorage,
  deploy: string,
): { shownAt: number; dueAt: number | null } | undefined {
  const [row] = sql.exec<{ shown_at: number; due_at: number | null }>(
    'SELECT shown_at, due_at FROM chat_messages WHERE deploy = ? AND ended_at IS NULL',
    deploy,
  )
  return row && { shownAt: row.shown_at, dueAt: row.due_at }
}

/** Whether a chat's message of a deploy is young enough for its buttons to count. */
export function hasButtons(sql: SqlStorage, deploy: string, chat: string, now: number): boolean {
  const rows = sql.exec(
    'SELECT 1 FROM chat_messages WHERE deploy = ? AND chat = ? AND (ended_at IS NULL OR ended_at >= ?)',
    deploy,
    chat,
    now - BUTTON_MS_MAX,
  )
  return rows.toArray().length > 0
}

/** The messages that are due. Their places are not parsed here, so that a damaged one does not keep back the others. */
export function listDue(
  sql: SqlStorage,
  now: number,
  limit: number,
): (Omit<DeployMessage, 'place'> & { readonly place: string })[] {
  return sql
    .exec<Row>(`SELECT ${COLUMNS} FROM chat_messages WHERE due_at <= ? ORDER BY due_at LIMIT ?`, now, limit)
    .toArray()
    .map(({ shown_at, ...row }) => ({ ...row, shownAt: shown_at }))
}

export function nextDue(sql: SqlStorage): number | undefined {
  return sql.exec<{ at: number | null }>('SELECT min(due_at) AS at FROM chat_messages').one().at ?? undefined
}

export function setDue(sql: SqlStorage, deploy: string, at: number): void {
  sql.exec('UPDATE chat_messages SET due_at = ? WHERE deploy = ?', at, deploy)
}

export function setNext(sql: SqlStorage, deploy: string, next: Exclude<Next, { end: unknown }>): void {
  sql.exec(
    'UPDATE chat_messages SET place = ?, seq = ?, shown_at = ?, tries = ?, due_at = ? WHERE deploy = ?',
    JSON.stringify(next.place),
    next.seq,
    next.shownAt,
    next.tries,
    next.dueAt,
    deploy,
  )
}

export function setEnded(sql: SqlStorage, deploy: string, now: number): void {
  sql.exec('UPDATE chat_messages SET due_at = NULL, ended_at = ? WHERE deploy = ?', now, deploy)
}
