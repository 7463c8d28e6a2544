// How the journal's file is opened: what the agent has said to be stored must be there after the power was cut.

import { expect, onTestFinished, test } from 'vitest'
import { openLocked } from '../../../../agent/daemon/journal/file.ts'
import { FORMAT } from '../../../../agent/daemon/journal/format.ts'
import { tempDir } from '../../../support/host.ts'

/** `PRAGMA synchronous` as a number: https://sqlite.org/pragma.html#pragma_synchronous */
const FULL = 2

test.each(['a new file', 'a file that is there'])(
  '%s is opened durably, and for one process alone',
  (which) => {
    const dir = tempDir()
    if (which !== 'a new file') openLocked(dir, FORMAT).close()
    const db = openLocked(dir, FORMAT)
    onTestFinished(() => db.close())
    const setting = (name: string) => Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0]
    // In WAL mode, NORMAL syncs at checkpoints only: the last transactions would be lost with the power.
    expect(setting('synchronous')).toBe(FULL)
    expect(setting('journal_mode')).toBe('wal')
    expect(setting('locking_mode')).toBe('exclusive')
    // Events are of a deploy that is known.
    expect(setting('foreign_keys')).toBe(1)
  },
)
