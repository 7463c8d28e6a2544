// A lock whose file is removed by its holder in the middle of SQLite's open, which tries twice: for writing, then for reading.

import type * as Sqlite from 'node:sqlite'
import { join } from 'node:path'
import { beforeEach, expect, test, vi } from 'vitest'
import { hostLocks } from '../../../agent/adapters/locks.ts'
import { tempDir } from '../../support/host.ts'
import { stackAt } from './stack-at.ts'

const opens = vi.hoisted(() => ({ readOnly: 0, count: 0 }))

vi.mock('node:sqlite', async (importOriginal) => {
  const real = await importOriginal<typeof Sqlite>()
  return {
    ...real,
    DatabaseSync: class extends real.DatabaseSync {
      constructor(path: string | Buffer | URL, options?: Sqlite.DatabaseSyncOptions) {
        opens.count += 1
        const url = new URL(String(path))
        if (opens.count <= opens.readOnly) url.searchParams.set('mode', 'ro')
        super(url, options)
      }
    },
  }
})

beforeEach(() => void (opens.count = 0))

const take = () => hostLocks().take(stackAt(join(tempDir(), 'docker-compose.yml')), 'deploy 7')

test('is opened again where the first time it could only be read', async () => {
  opens.readOnly = 1
  await (await take()).release()
  expect(opens.count).toBe(2)
})

test('is unusable where it can never be written', async () => {
  opens.readOnly = Infinity
  await expect(take()).rejects.toMatchObject({ code: 'config-invalid' })
})
