// The journal's file: one process at a time has it, for as long as it lives.

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Problem } from '../shared/problems.ts'

const SQLITE_BUSY = 5
/** Two agents that start at the same moment: long enough for the kernel to free the lock of one that has just died. */
const LOCK_WAIT_MS = 500

/**
 * Opens DIR/journal.sqlite durably and for this process alone. The lock is SQLite's own exclusive lock on the file, so the kernel
 * frees it whatever way the holder ends. Throws `agent-running` with the holder's pid.
 */
export function openLocked(dir: string, schema: string): DatabaseSync {
  const path = join(dir, 'journal.sqlite')
  const pidPath = join(dir, 'agent.pid')
  // Requests and env values are inside: the owner's alone. SQLite gives the -wal file the same mode.
  closeSync(openSync(path, 'a', 0o600))
  const db = new DatabaseSync(path, { timeout: LOCK_WAIT_MS })
  try {
    // The locking mode must come before the first access, else WAL would share its index with others.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    db.exec('PRAGMA foreign_keys = ON')
    db.exec(`BEGIN IMMEDIATE; ${schema}; COMMIT`)
    writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o600 })
    return db
  } catch (cause) {
    db.close()
    if ((cause as { errcode?: number }).errcode !== SQLITE_BUSY) throw cause
    throw new Problem('agent-running', `process ${pidIn(pidPath)} has ${path} open`, {
      cause,
      cure: 'stop it first, or give this one another --data directory',
    })
  }
}

// Only a hint for the message: the lock itself is what counts.
function pidIn(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return '(unknown)'
  }
}
