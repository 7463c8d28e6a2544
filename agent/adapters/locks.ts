// The Locks port: one file beside a stack's first compose file, which is where agents of all data directories meet. What counts is
// SQLite's lock on it, which the kernel frees whatever way its holder ends; what is written in it is for whoever meets it.

import { closeSync, openSync, realpathSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { Problem } from '../../shared/problems.ts'
import type { ComposeProject, Locks } from '../ports.ts'
import { isSqlite } from '../sqlite.ts'

/** Of two processes that ask at the same moment one waits for a write of the other's, which takes a millisecond or two. */
const BUSY_MS_MAX = 250
/** A holder may remove the file while another process opens it, which then tries again. That does not happen by chance so many times in a row. */
const TRIES_MAX = 20

const holderSchema = z.object({ pid: z.number(), who: z.string(), since: z.string() })
type Holder = z.infer<typeof holderSchema>

// The locks of this process, by file. The kernel gives locks to processes: it would let this one take the same lock twice, and would free it as
// soon as this process closes that file once.
const held = new Map<string, Holder>()

export function hostLocks(): Locks {
  return {
    async take(stack, who) {
      const path = lockPath(stack)
      const other = held.get(path)
      if (other) throw busy(stack, other)
      const own = { pid: process.pid, who, since: new Date().toISOString() }
      held.set(path, own)
      try {
        const file = lock(stack, path, own)
        return { release: async () => release(path, own, file) }
      } catch (error) {
        held.delete(path)
        throw error
      }
    },
  }
}

/** The file that is a stack's lock: stacks of one compose file share it, by whatever path they name that file. */
export function lockPath(stack: Pick<ComposeProject, 'compose'>): string {
  const named = stack.compose[0] ?? '.'
  let compose = named
  try {
    compose = realpathSync(named)
  } catch {
    // A file that is not there has no other path.
  }
  return join(dirname(compose), `.${basename(compose)}.ropeway-lock`)
}

// The file is removed before its lock is freed. Whoever has opened it meanwhile locks a file that is gone, sees that by its identity, and makes
// a new one.
function release(path: string, own: Holder, file: DatabaseSync): void {
  if (held.get(path) !== own) return
  rmSync(path, { force: true })
  file.close()
  held.delete(path)
}

function lock(stack: ComposeProject, path: string, own: Holder): DatabaseSync {
  for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
    const before = make(path)
    const file = open(path)
    if (!file) continue
    let isHeld = false
    try {
      hold(file, own)
      isHeld = identity(path) === before
      if (isHeld) return file
    } catch (error) {
      if (isSqlite(error, 'busy')) throw busy(stack, readHolder(file), error)
      // SQLite opens a file for reading where it cannot open it for writing. If the file was only gone at that moment, the next try finds it.
      if (isSqlite(error, 'readOnly') && tries < TRIES_MAX) continue
      if (!isSqlite(error, 'notADatabase', 'corrupt')) throw unusable(path, error)
      // The file was half written when the machine lost its power. Nobody holds it, since nobody can have read it.
      rmSync(path, { force: true })
    } finally {
      if (!isHeld) file.close()
    }
  }
  throw busy(stack, undefined)
}

function make(path: string): string {
  try {
    closeSync(openSync(path, 'a', 0o600))
    return identity(path)
  } catch (error) {
    throw unusable(path, error)
  }
}

function open(path: string): DatabaseSync | undefined {
  const url = pathToFileURL(path)
  url.searchParams.set('mode', 'rw') // only `make` makes it, for its mode
  try {
    return new DatabaseSync(url, { timeout: BUSY_MS_MAX })
  } catch (error) {
    if (isSqlite(error, 'cannotOpen')) return undefined
    throw unusable(path, error)
  }
}

// Writes down who holds the lock and commits it, so that others can read it. Then it begins a second transaction and leaves it open: that one is
// the lock, and others may still read.
function hold(file: DatabaseSync, own: Holder): void {
  // A journal on the disk would be one more file beside the user's; what is written must not survive the machine.
  file.exec('PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF')
  let isWritten = true
  do {
    file.exec('BEGIN IMMEDIATE')
    try {
      file.exec('CREATE TABLE IF NOT EXISTS holder (pid INTEGER, who TEXT, since TEXT); DELETE FROM holder')
      file.prepare('INSERT INTO holder VALUES (?, ?, ?)').run(own.pid, own.who, own.since)
      file.exec('COMMIT')
    } catch (error) {
      // A full disk must not keep a recovery from its lock; only its name is missing then.
      if (!isSqlite(error, 'full', 'ioError')) throw error
      if (file.isTransaction) file.exec('ROLLBACK')
      isWritten = false
    }
    file.exec('BEGIN IMMEDIATE')
    // Between the two transactions another process may have taken the lock and written itself down.
    if (!isWritten || JSON.stringify(readHolder(file)) === JSON.stringify(own)) return
    file.exec('ROLLBACK')
  } while (isWritten)
}

function readHolder(file: DatabaseSync): Holder | undefined {
  try {
    return holderSchema.safeParse(file.prepare('SELECT pid, who, since FROM holder').get()).data
  } catch {
    return undefined // it was made a moment ago
  }
}

// An inode's number alone is not enough: a new file may have the number of one that was removed.
function identity(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return `${stat?.dev}:${stat?.ino}:${stat?.birthtimeNs}`
}

function busy(stack: ComposeProject, holder: Holder | undefined, cause?: unknown): Problem {
  const who = holder ? `process ${holder.pid} (${holder.who})` : 'another process'
  const since = holder ? ` since ${holder.since.slice(11, 19)}Z` : ''
  return new Problem('stack-busy', `${who} has rolled stack ${stack.name}${since}`, {
    cause,
    cure: 'wait until it is done, or cancel it there; its lock ends with it',
  })
}

function unusable(path: string, cause: unknown): Problem {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new Problem('config-invalid', `the stack’s lock ${path} cannot be taken: ${why}`, {
    cause,
    cure: `let the agent write in ${dirname(path)}, as it must to edit the compose file there`,
  })
}
