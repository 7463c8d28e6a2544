// The journal's file: one process at a time has it, for as long as it lives.

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Problem } from '../../../shared/problems.ts'
import { isSqlite } from '../../sqlite.ts'

/** Two agents that start at the same moment: long enough for the kernel to free the lock of one that has just died. */
const LOCK_WAIT_MS = 500

export interface Format {
  /** Kept in the file (`PRAGMA user_version`): what another version of the agent wrote is not touched. */
  readonly version: number
  readonly schema: string
  /** What makes a file of an earlier version one of this, by that version. */
  readonly upgrades: Readonly<Record<number, string>>
}

/**
 * Opens DIR/journal.sqlite durably and for this process alone. The lock is SQLite's own exclusive lock on the file, so the kernel
 * frees it whatever way the holder ends. Throws `agent-running` with the holder's pid, and `journal-unusable` for a file of another format.
 */
export function openLocked(dir: string, format: Format): DatabaseSync {
  const path = join(dir, 'journal.sqlite')
  const pidPath = join(dir, 'agent.pid')
  // Requests and env values are inside: the owner's alone. SQLite gives the -wal file the same mode.
  closeSync(openSync(path, 'a', 0o600))
  const db = new DatabaseSync(path, { timeout: LOCK_WAIT_MS })
  try {
    // The locking mode must come before the first access, else WAL would share its index with others.
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    db.exec('PRAGMA foreign_keys = ON')
    db.exec('BEGIN IMMEDIATE')
    prepareFormat(db, path, format)
    db.exec('COMMIT')
    writePid(pidPath)
    return db
  } catch (cause) {
    db.close()
    if (!isSqlite(cause, 'busy')) throw cause
    throw new Problem('agent-running', `process ${pidIn(pidPath)} has ${path} open`, {
      cause,
      cure: 'stop it first, or give this one another --data directory',
    })
  }
}

function prepareFormat(db: DatabaseSync, path: string, { version, schema, upgrades }: Format): void {
  const found = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
  if (found === version) return
  // Version 0 without a table is a file that was made a moment ago; with tables it is older than the number.
  const isNew = found === 0 && db.prepare('SELECT 1 FROM sqlite_schema').get() === undefined
  const change = isNew ? schema : upgrades[found]
  if (change === undefined)
    throw new Problem(
      'journal-unusable',
      `${path} was written in format ${found}, this agent writes ${version}`,
      {
        cure: 'run the version of ropeway that wrote it, or move the file away once the relay shows no unfinished deploy: requests of the last days could then be run once more',
      },
    )
  db.exec(`${change}; PRAGMA user_version = ${version}`)
}

// Only a hint for the message: the lock itself is what counts, and a full disk must not keep the agent from its recovery.
function writePid(path: string): void {
  try {
    writeFileSync(path, `${process.pid}\n`, { mode: 0o600 })
  } catch {
    // Whoever asks for it is told that it is not known.
  }
}

function pidIn(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim() || '(unknown)'
  } catch {
    return '(unknown)'
  }
}
