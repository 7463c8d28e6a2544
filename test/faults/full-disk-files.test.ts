// The user's two files on a disk that is full: whichever way one is written, it is whole afterwards, the old one or the new one.

import { readdirSync, readFileSync, statSync, writeFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, type TestContext } from 'vitest'
import { hostFiles } from '../../agent/adapters/files.ts'
import { hostLocks } from '../../agent/adapters/locks.ts'
import { stackAt } from '../agent/adapters/stack-at.ts'
import { mountSmallDisk, type SmallDisk } from './small-disk.ts'

const PAGE_BYTES = 4096
// 'é' takes two bytes: one on each side of the last page's end.
const LONGER = `${'x'.repeat(PAGE_BYTES - 1)}é${'y'.repeat(PAGE_BYTES)}`
const files = hostFiles()
const unwritable = (why: string, cure: string) => ({
  code: 'file-unusable',
  message: expect.stringContaining(why) as string,
  cure: expect.stringContaining(cure) as string,
})
const FULL = unwritable('ENOSPC', 'make room')

function smallDisk(context: TestContext): { path: string; folder: string; disk: SmallDisk } {
  const folder = mkdtempSync(join(tmpdir(), 'ropeway-full-'))
  context.onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const disk = mountSmallDisk(context, folder, 64 * 1024)
  const path = join(folder, 'nginx.conf')
  writeFileSync(path, 'grün, weiß\n')
  disk.fill()
  return { path, folder, disk }
}

test('a longer text in place: the old bytes are back, in the same file', async (context) => {
  const { path, disk } = smallDisk(context)
  const { ino } = statSync(path)
  await expect(files.write(path, LONGER, 'in-place')).rejects.toMatchObject(FULL)
  expect(readFileSync(path, 'utf8')).toBe('grün, weiß\n')
  expect(statSync(path).ino).toBe(ino)
  await files.write(path, 'fits\n', 'in-place')
  expect(readFileSync(path, 'utf8')).toBe('fits\n')
  disk.free()
  await files.write(path, LONGER, 'in-place')
  expect(readFileSync(path, 'utf8')).toBe(LONGER)
})

test('a rename: the old file stays, and nothing half written beside it', async (context) => {
  const { path, folder, disk } = smallDisk(context)
  await expect(files.write(path, LONGER, 'rename')).rejects.toMatchObject(FULL)
  expect(readFileSync(path, 'utf8')).toBe('grün, weiß\n')
  expect(readdirSync(folder).toSorted()).toEqual(['ballast', 'nginx.conf'])
  disk.free()
  await files.write(path, LONGER, 'rename')
  expect(readFileSync(path, 'utf8')).toBe(LONGER)
})

test.for(['in-place', 'rename'] as const)(
  'a disk that is read only, %s: it is known that the file cannot be written',
  async (how, context) => {
    const { path, disk } = smallDisk(context)
    await files.checkWritable(path, how)
    disk.seal()
    const is = unwritable('EROFS', ':ro')
    await expect(files.checkWritable(path, how)).rejects.toMatchObject(is)
    await expect(files.write(path, 'fits\n', how)).rejects.toMatchObject(is)
  },
)

test('the stack’s lock is taken all the same: a recovery needs it', async (context) => {
  const { path, folder } = smallDisk(context)
  const lock = await hostLocks().take(stackAt(path), 'deploy 7')
  await expect(hostLocks().take(stackAt(path), 'deploy 8')).rejects.toMatchObject({ code: 'stack-busy' })
  expect(readdirSync(folder)).toContain('.nginx.conf.ropeway-lock')
  await lock.release()
  expect(readdirSync(folder).toSorted()).toEqual(['ballast', 'nginx.conf'])
})
