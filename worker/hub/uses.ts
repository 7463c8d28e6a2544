// When each key of a trigger was last used, and the last request that was genuine but refused. Whoever replaces a secret needs the first, whoever
// looks for a wrong clock the second. Both are right to the minute, since each row written is billed.

import type { TriggerState } from '../../shared/api.ts'
import { fingerprint, type Trigger } from '../../shared/triggers/index.ts'

const USE_NOTED_MS = 60_000

type TriggerName = Pick<Trigger, 'stack' | 'name'>

/** When each use was last written since this hub woke, so that most requests need not look at the disk. */
export type LastNoted = Map<string, number>

export async function noteKeyUsed(
  sql: SqlStorage,
  { stack, name }: TriggerName,
  { key, now, noted }: { key: string; now: number; noted: LastNoted },
): Promise<void> {
  const use = `${stack}/${name}/${key}`
  if (now - (noted.get(use) ?? -Infinity) < USE_NOTED_MS) return
  noted.set(use, now)
  const print = await fingerprint(key)
  sql.exec(
    `INSERT INTO keys_used (stack, trigger_name, fingerprint, at) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - ?`,
    stack,
    name,
    print,
    now,
    USE_NOTED_MS,
  )
}

export function noteStale(sql: SqlStorage, { stack, name }: TriggerName, message: string, now: number): void {
  sql.exec(
    `INSERT INTO stale_requests (stack, trigger_name, at, message) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET at = excluded.at, message = excluded.message WHERE at <= excluded.at - ?`,
    stack,
    name,
    now,
    message,
    USE_NOTED_MS,
  )
}

/** A trigger, or a chat in its form: what its state is made from. */
type TriggerLike = TriggerName & { type: string; ttlMs: number; keys?: readonly string[] | undefined }

export async function triggerState(sql: SqlStorage, trigger: TriggerLike): Promise<TriggerState> {
  const { stack, name, type, ttlMs } = trigger
  const used = sql
    .exec<{ fingerprint: string; at: number }>(
      'SELECT fingerprint, at FROM keys_used WHERE stack = ? AND trigger_name = ?',
      stack,
      name,
    )
    .toArray()
  const [stale] = sql.exec<{ at: number; message: string }>(
    'SELECT at, message FROM stale_requests WHERE stack = ? AND trigger_name = ?',
    stack,
    name,
  )
  // A trigger that takes CI jobs' tokens has no key of its own.
  const prints = await Promise.all((trigger.keys ?? []).map(fingerprint))
  const keys = prints.map((print) => ({
    fingerprint: print,
    lastUsed: used.find((use) => use.fingerprint === print)?.at ?? null,
  }))
  return { name, type, ttlMs, keys, stale: stale ?? null }
}
