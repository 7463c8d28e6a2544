// The journal's statements, and its rows as types that cannot be wrong.

import type { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { STATUSES } from '../../../shared/deploy.ts'
import { TRUSTS, anyRequestSchema } from '../../../shared/request.ts'
import { agentLoggedEventSchema, type AgentLoggedEvent } from '../../../shared/events.ts'
import { Problem } from '../../../shared/problems.ts'
import { jsonOf } from '../../json.ts'

// rowid is the order in which deploys came: times may be equal, and clocks are set back.
// oxlint-disable-next-line typescript/explicit-function-return-type
export function prepareStatements(db: DatabaseSync) {
  return {
    receive: db.prepare(
      `INSERT INTO deploys (id, stack, "trigger", actor, trust, request, signed_at, expires_at, status, received_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
    ),
    deploy: db.prepare('SELECT status, acked, record, facts FROM deploys WHERE id = ?'),
    whole: db.prepare(
      `SELECT id, stack, "trigger", actor, trust, request, signed_at, expires_at, status FROM deploys WHERE id = ?`,
    ),
    eventsOf: db.prepare('SELECT body FROM events WHERE deploy = ? ORDER BY seq'),
    newest: db.prepare(
      `SELECT id, signed_at FROM deploys WHERE stack = ? AND "trigger" = ? AND signed_at IS NOT NULL
       ORDER BY signed_at DESC LIMIT 1`,
    ),
    lastSeq: db.prepare('SELECT max(seq) AS seq FROM events WHERE deploy = ?'),
    append: db.prepare('INSERT INTO events (deploy, seq, at, body) VALUES (?, ?, ?, ?)'),
    setStatus: db.prepare('UPDATE deploys SET status = ?, finished_at = ? WHERE id = ?'),
    unfinished: db.prepare(
      `SELECT id, stack, "trigger", actor, trust, request, signed_at, expires_at, status FROM deploys
       WHERE finished_at IS NULL ORDER BY rowid`,
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
    record: db.prepare('UPDATE deploys SET record = ?, facts = coalesce(?, facts) WHERE id = ?'),
    trimEvents: db.prepare(
      'DELETE FROM events WHERE deploy IN (SELECT id FROM deploys WHERE finished_at < ?)',
    ),
    // A token's request can be repeated as long as the token counts, which may be a year.
    trimDeploys: db.prepare(
      'DELETE FROM deploys WHERE finished_at < ? AND (expires_at IS NULL OR expires_at < ?)',
    ),
    oldestHint: db.prepare(
      `SELECT rowid AS row FROM deploys WHERE trust = 'hint' AND finished_at IS NOT NULL
       ORDER BY rowid DESC LIMIT 1 OFFSET ?`,
    ),
    trimHintEvents: db.prepare(
      `DELETE FROM events WHERE deploy IN
       (SELECT id FROM deploys WHERE trust = 'hint' AND finished_at IS NOT NULL AND rowid <= ?)`,
    ),
    trimHints: db.prepare(
      `DELETE FROM deploys WHERE trust = 'hint' AND finished_at IS NOT NULL AND rowid <= ?`,
    ),
  }
}

// Storage is a door too: what is there is parsed, not believed.
const rowSchema = z
  .object({
    id: z.string(),
    stack: z.string(),
    trigger: z.string(),
    actor: z.string(),
    trust: z.enum(TRUSTS),
    request: z.string().transform((text, context) => {
      const parsed = anyRequestSchema.safeParse(jsonOf(text))
      if (parsed.success) return parsed.data
      context.addIssue({ code: 'custom', message: 'not a request' })
      return z.NEVER
    }),
    signed_at: z.number().nullable(),
    expires_at: z.number().nullable(),
    status: z.enum(STATUSES),
  })
  .transform(({ signed_at: signedAt, expires_at: expiresAt, ...row }) => ({
    ...row,
    signedAt: signedAt ?? undefined,
    expiresAt: expiresAt ?? Infinity,
  }))

/** A deploy from its row. Throws a Problem that names it: what becomes of a deploy that cannot be read, a person must say. */
export function parseRow(row: Record<string, unknown>): z.infer<typeof rowSchema> {
  const parsed = rowSchema.safeParse(row)
  if (parsed.success) return parsed.data
  const places = parsed.error.issues.map(({ path }) => path.join('.')).join(', ')
  throw new Problem('journal-unusable', `deploy ${String(row['id'])} is damaged in the journal: ${places}`, {
    cure: 'restore journal.sqlite in the data directory, or move it away and see by hand that the stack is whole',
  })
}

// An event that cannot be read must not hold back those that come after it. One of a newer agent goes on as it is.
export function parseEvent(body: unknown): AgentLoggedEvent['event'] {
  const parsed = agentLoggedEventSchema.shape.event.safeParse(jsonOf(String(body)))
  if (parsed.success) return parsed.data
  const message =
    'what the journal holds here cannot be read: it is damaged, or a newer version of the agent wrote it'
  return { type: 'warning', problem: { code: 'event-unreadable', message } }
}
