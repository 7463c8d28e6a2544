// What was asked for by chat and waits for somebody to approve it, in SQLite. It is no deploy yet, and the agent does not know of it.

import { APPROVAL_MS_MAX, APPROVALS_MAX } from '../../../shared/limits.ts'
import type { Proof } from '../../../shared/protocol.ts'

type StoredRequest = Pick<Extract<Proof, { kind: 'chat' }>, 'headers' | 'body'>

export interface Approval {
  /** The id of the deploy that it will be. */
  readonly deploy: string
  readonly chat: string
  readonly stack: string
  /** What a person must know to decide. */
  readonly lines: readonly string[]
  /** As the platform sent it; undefined once it is decided. */
  readonly request: StoredRequest | undefined
  readonly expiresAt: number
  /** How it ended, in words; undefined while it is open. */
  readonly verdict: string | undefined
}

/** How long a decided one is kept, so that whoever clicks late is told how it ended. */
const KEPT_MS = 24 * 3600_000

/** Stores it, and returns whether there was room. One that is stored already is left as it is. */
export function insertApproval(
  sql: SqlStorage,
  { deploy, chat, stack, lines, request }: Omit<Approval, 'expiresAt' | 'verdict'>,
  now: number,
): boolean {
  sql.exec('DELETE FROM chat_approvals WHERE expires_at < ?', now - KEPT_MS)
  const { open } = sql
    .exec<{ open: number }>(
      'SELECT count(*) AS open FROM chat_approvals WHERE verdict IS NULL AND expires_at > ?',
      now,
    )
    .one()
  if (open >= APPROVALS_MAX) return false
  sql.exec(
    'INSERT OR IGNORE INTO chat_approvals (deploy, chat, stack, lines, request, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
    deploy,
    chat,
    stack,
    JSON.stringify(lines),
    JSON.stringify(request),
    now + APPROVAL_MS_MAX,
  )
  return true
}

export function findApproval(sql: SqlStorage, deploy: string): Approval | undefined {
  const [row] = sql.exec<{
    chat: string
    stack: string
    lines: string
    request: string | null
    expires_at: number
    verdict: string | null
  }>('SELECT chat, stack, lines, request, expires_at, verdict FROM chat_approvals WHERE deploy = ?', deploy)
  return (
    row && {
      deploy,
      chat: row.chat,
      stack: row.stack,
      lines: JSON.parse(row.lines) as string[],
      request: row.request === null ? undefined : (JSON.parse(row.request) as StoredRequest),
      expiresAt: row.expires_at,
      verdict: row.verdict ?? undefined,
    }
  )
}

export function setVerdict(sql: SqlStorage, deploy: string, verdict: string): void {
  sql.exec('UPDATE chat_approvals SET verdict = ?, request = NULL WHERE deploy = ?', verdict, deploy)
}
