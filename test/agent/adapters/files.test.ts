// The user's files as the agent writes them: byte by byte, durably, and whole whatever the disk does.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { hostFiles } from '../../../agent/adapters/files.ts'

/** What was asked of the disk, and how many bytes more it takes. */
const disk = vi.hoisted(() => ({ done: [] as string[], roomBytes: Infinity }))

function watched(file: FileHandle, path: string): FileHandle {
  const { sync, write } = file
  const room = async (bytes: Uint8Array, offset: number, length: number, at: number) => {
    const fits = Math.min(length, disk.roomBytes - at)
    if (fits <= 0) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    return await Reflect.apply(write, file, [bytes, offset, fits, at])
  }
  return Object.assign(file, {
    sync: async () => {
      disk.done.push(`sync ${path}`)
      await Reflect.apply(sync, file, [])
    },
    ...(disk.roomBytes === Infinity ? {} : { write: room }),
  })
}

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>()
  return {
    ...real,
    open: async (path: string, ...rest: [string]) => watched(await real.open(path, ...rest), path),
    rename: async (from: string, to: string) => {
      disk.done.push(`rename ${to}`)
      await real.rename(from, to)
    },
  }
})

const files = hostFiles()
let path: string

beforeEach(() => {
  path = join(mkdtempSync(join(tmpdir(), 'ropeway-files-')), 'nginx.conf')
  writeFileSync(path, 'events {}\n')
  Object.assign(disk, { done: [], roomBytes: Infinity })
})
afterEach(() => rmSync(dirname(path), { recursive: true, force: true }))

test('a rename is durable: the new file before it, its folder after it', async () => {
  await files.write(path, 'http {}\n', 'rename')
  const aside = join(dirname(path), '.nginx.conf.ropeway-new')
  expect(disk.done).toEqual([`sync ${aside}`, `rename ${path}`, `sync ${dirname(path)}`])
})

test('a write in place is durable', async () => {
  await files.write(path, 'http {}\n', 'in-place')
  expect(disk.done).toEqual([`sync ${path}`])
})

test('a longer text in place than the disk has room for: the old bytes are back, in the same file', async () => {
  const { ino } = statSync(path)
  disk.roomBytes = 15
  await expect(files.write(path, 'events {}\nhttp {}\n', 'in-place')).rejects.toMatchObject({
    code: 'file-unusable',
  })
  expect([readFileSync(path, 'utf8'), statSync(path).ino]).toEqual(['events {}\n', ino])
})

test('what a killed write has left goes, beside the file that a link leads to, and nothing else', async () => {
  const link = join(dirname(path), 'link.conf')
  symlinkSync(path, link)
  for (const name of ['.nginx.conf.ropeway-new', '.other.conf.ropeway-new'])
    writeFileSync(join(dirname(path), name), 'half of it')
  await files.tidy(link)
  await files.tidy(link)
  await files.tidy('/no/such/file')
  expect(readdirSync(dirname(path)).toSorted()).toEqual([
    '.other.conf.ropeway-new',
    'link.conf',
    'nginx.conf',
  ])
})

const NO_UTF8 = Buffer.from([0x23, 0x67, 0x72, 0xf6, 0xdf, 0x65, 0x00, 0xff, 0x0a])

test.each(['in-place', 'rename'] as const)('each byte survives, whatever it is: %s', async (how) => {
  writeFileSync(path, NO_UTF8)
  const text = await files.read(path, 'bytes')
  await files.write(path, `${text}events {}\n`, how, 'bytes')
  expect(readFileSync(path)).toEqual(Buffer.concat([NO_UTF8, Buffer.from('events {}\n')]))
})

test('a text must be UTF-8, and keeps its byte order mark', async () => {
  writeFileSync(path, '\uFEFFservices: {} # grün\r\n')
  const text = await files.read(path)
  expect(text).toBe('\uFEFFservices: {} # grün\r\n')
  await files.write(path, text, 'rename')
  expect(readFileSync(path, 'utf8')).toBe(text)
  writeFileSync(path, NO_UTF8)
  await expect(files.read(path)).rejects.toMatchObject({
    code: 'compose-invalid',
    message: `${path} is not UTF-8`,
    cure: expect.stringContaining('iconv'),
  })
})
