// The notes that lock stuck stacks: DATA/stuck/STACK.json, and copies of files in DATA/stuck/STACK. Beside the journal, which one process
// has to itself: `ropeway resolve` reads a note and takes it away while the agent runs.

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { Problem } from '../../shared/problems.ts'
import type { Log } from '../log.ts'
import { stuckNoteSchema, type StuckNote, type StuckNotes } from '../roll/stuck/note.ts'

/** The end of a file's name is what a person knows it by; no file system takes a name of more than 255 bytes. */
const NAME_CHARS_MAX = 60
/** The furthest day that there is a date for: a note with a later one was not written by an agent. */
const AT_MS_MAX = 8.64e15

const noteSchema = stuckNoteSchema.extend({ at: z.number().min(0).max(AT_MS_MAX) })

export function stuckNotesOf(dir: string, stack: string): StuckNotes {
  const folder = join(dir, 'stuck')
  const path = join(folder, `${stack}.json`)
  const copies = join(folder, stack)
  return {
    read: () => readNote(path),
    write: (note) =>
      attempt(path, () => {
        makeFolder(folder)
        writeDurably(path, `${JSON.stringify(note satisfies StuckNote)}\n`)
      }),
    clear: () =>
      attempt(path, () => {
        rmSync(path, { force: true })
        if (statSync(folder, { throwIfNoEntry: false })) syncFolder(folder)
        // The copies go after the note: copies without a note harm nobody, and a note must not name copies that are gone.
        rmSync(copies, { recursive: true, force: true })
      }),
    keep: (files) =>
      attempt(copies, () => {
        makeFolder(folder)
        makeFolder(copies)
        return Object.fromEntries(
          Object.entries(files).map(([from, text], index) => {
            // Two files of one name in different folders are told apart by the number.
            const copy = join(copies, `${index + 1}-${basename(from).slice(-NAME_CHARS_MAX).toWellFormed()}`)
            writeDurably(copy, text)
            return [from, copy]
          }),
        )
      }),
  }
}

/** Says which stacks are locked, for whoever starts the agent. */
export function warnOfStuck(dir: string, stacks: readonly string[], log: Log): void {
  for (const stack of stacks) {
    const note = stuckNotesOf(dir, stack).read()
    if (note)
      log(
        'warn',
        `stack ${stack} is stuck since deploy ${note.deploy} (${new Date(note.at).toISOString()}) and takes no request of a trigger: ${note.why}. Repair it as that deploy says, then run \`ropeway resolve ${stack}\``,
      )
  }
}

// A note that cannot be read locks the stack as well: it is there because a person must look.
function readNote(path: string): StuckNote | undefined {
  try {
    return noteSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') return undefined
    const why = code === undefined ? 'does not hold a note' : `cannot be read (${code})`
    const at = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
    return { deploy: 'unknown', at: Math.floor(at), why: `${path} ${why}`, record: '' }
  }
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    throw new Problem('journal-unusable', `${path} cannot be written: ${code ?? String(cause)}`, {
      cause,
      cure:
        code === 'EACCES' || code === 'EPERM'
          ? 'run the command as the user that the agent runs as, and check --data'
          : 'make room on the disk of the data directory',
    })
  }
}

function makeFolder(path: string): void {
  if (mkdirSync(path, { recursive: true, mode: 0o700 }) !== undefined) syncFolder(dirname(path))
}

/** Whole or not at all, for the owner alone: env values are inside. */
function writeDurably(path: string, text: string | Uint8Array): void {
  const aside = `${path}.new`
  try {
    const file = openSync(aside, 'w', 0o600)
    try {
      writeFileSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(aside, path)
  } catch (error) {
    // A file that is half written would fill the disk further.
    rmSync(aside, { force: true })
    throw error
  }
  syncFolder(dirname(path))
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
