// The small files of the data directory: read whole, written whole or not at all, for the owner alone, by one process at a time.

import { open, stat, type FileHandle } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import { Problem } from '../../shared/problems.ts'
import { putInPlace, writeNew } from '../disk.ts'
import { isSqlite } from '../sqlite.ts'

/** Another command is at the same file: as long as its one call to the relay may take. */
const LOCK_WAIT_MS = 35_000
const LOCK_POLL_MS = 50

/** What is wrong with a file, and what to do about it. */
export interface OwnFile<T> {
  readonly path: string
  readonly schema: z.ZodType<T>
  /** As `a list of former keys`. */
  readonly holds: string
  /** For a file that does not hold that. */
  readonly cure: string
  /** Others may not even read it. */
  readonly isSecret?: boolean
}

/** Undefined where there is none. Throws `key-unusable` for one that is damaged. */
export async function readOwn<T>({
  path,
  schema,
  holds,
  cure,
  isSecret,
}: OwnFile<T>): Promise<T | undefined> {
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw new Problem('key-unusable', `${path} cannot be read: ${cause.code}`, { cause })
  })
  if (!file) return undefined
  try {
    if (isSecret) await checkMode(path, file)
    return schema.parse(JSON.parse(await file.readFile('utf8')))
  } catch (cause) {
    if (cause instanceof Problem) throw cause
    throw new Problem('key-unusable', `${path} does not hold ${holds}`, { cause, cure })
  } finally {
    await file.close()
  }
}

// By the open file, so that what was checked is what is read.
async function checkMode(path: string, file: FileHandle): Promise<void> {
  const { mode } = await file.stat()
  if ((mode & 0o077) === 0) return
  throw new Problem('key-unusable', `${path} can be read by others (mode ${(mode & 0o777).toString(8)})`, {
    cure: `if nobody has read it, run \`chmod 600 ${path}\`, else delete it and enroll again`,
  })
}

/** Durable when it resolves. Only one process may write a file at a time: see `alone`. */
export async function writeOwn(path: string, value: unknown): Promise<void> {
  const aside = `${path}.new`
  await writeAside(aside, value, 'w')
  await putInPlace(aside, path)
}

/** A new file of the owner's, for the caller to put in its place. */
export async function writeAside(path: string, value: unknown, flags: 'w' | 'wx'): Promise<void> {
  const prepare = (file: FileHandle) => giveToOwner(file, path)
  await writeNew(path, `${JSON.stringify(value)}\n`, { mode: 0o600, flags, prepare })
}

// Root changes the files for whomever the agent runs as.
async function giveToOwner(file: FileHandle, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = await stat(dirname(path))
  await file.chown(uid, gid)
}

/**
 * Does something while no other process does it for the same file. The lock is SQLite's own on a file beside it, so the kernel frees it
 * whatever way its holder ends.
 */
export async function alone<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const db = await openLock(`${path}.lock`)
  try {
    for (const end = Date.now() + LOCK_WAIT_MS; !tryLock(db);) {
      if (Date.now() > end)
        throw new Problem('agent-running', `another command has been changing ${path} for too long`, {
          cure: 'end it, then run this one again',
        })
      await sleep(LOCK_POLL_MS, undefined, { signal })
    }
    return await work()
  } finally {
    db.close()
  }
}

async function openLock(path: string): Promise<DatabaseSync> {
  try {
    const file = await open(path, 'a', 0o600)
    await giveToOwner(file, path).finally(() => file.close())
    return new DatabaseSync(path, { timeout: 0 })
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new Problem('key-unusable', `${path} cannot be opened: ${why}`, {
      cause,
      cure: 'run the command as the user that the agent runs as, and check --data',
    })
  }
}

function tryLock(db: DatabaseSync): boolean {
  try {
    db.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if (isSqlite(error, 'busy')) return false
    throw error
  }
}
