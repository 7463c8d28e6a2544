// The one lock of a stack on its host: across processes, and freed by whatever end its holder comes to.

import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hostLocks } from '../../../agent/adapters/locks.ts'
import { stackAt } from './stack-at.ts'

const CHILD = join(import.meta.dirname, 'lock-child.ts')
let folder: string
let path: string
const children: ChildProcess[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ropeway-lock-'))
  writeFileSync(join(folder, 'compose.yml'), 'services: {}\n')
  path = join(folder, '.compose.yml.ropeway-lock')
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

const stack = () => stackAt(join(folder, 'compose.yml'))

/** Another process that takes the lock, and what it says of it. */
async function other(name: string): Promise<{ said: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [CHILD, join(folder, 'compose.yml'), name], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.push(child)
  for await (const said of createInterface(child.stdout)) return { said, child }
  throw new Error('the child said nothing')
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null)
    await new Promise((resolve) => child.once('exit', resolve))
}

test('another process has it, and is named with its time', async () => {
  const { child, said } = await other('deploy 7')
  expect(said).toBe('taken')
  await expect(hostLocks().take(stack(), 'deploy 8')).rejects.toMatchObject({
    code: 'stack-busy',
    message: expect.stringMatching(
      new RegExp(`^process ${child.pid} \\(deploy 7\\) has rolled stack hello since \\d\\d:\\d\\d:\\d\\dZ$`),
    ),
  })
})

test('who is killed has it no longer', async () => {
  const { child } = await other('deploy 7')
  child.kill('SIGKILL')
  await ended(child)
  const lock = await hostLocks().take(stack(), 'deploy 8')
  expect((await other('deploy 9')).said).toMatch(/^process \d+ \(deploy 8\) has rolled/)
  await lock.release()
})

test('its file is its owner’s alone, and goes with it', async () => {
  const lock = await hostLocks().take(stack(), 'deploy 7')
  expect(statSync(path).mode & 0o777).toBe(0o600)
  await lock.release()
  expect(existsSync(path)).toBe(false)
  expect((await other('deploy 8')).said).toBe('taken')
})

test('a second look at it in its own process does not free it', async () => {
  const lock = await hostLocks().take(stack(), 'deploy 7')
  await expect(hostLocks().take(stack(), 'deploy 8')).rejects.toMatchObject({ code: 'stack-busy' })
  expect((await other('deploy 9')).said).toMatch(/deploy 7/)
  await lock.release()
})

test('a link to the compose file leads to the same lock', async () => {
  mkdirSync(join(folder, 'elsewhere'))
  symlinkSync(join(folder, 'compose.yml'), join(folder, 'elsewhere/link.yml'))
  await other('deploy 7')
  const linked = stackAt(join(folder, 'elsewhere/link.yml'))
  await expect(hostLocks().take(linked, 'deploy 8')).rejects.toMatchObject({ code: 'stack-busy' })
})

test('many that take and leave it at once never have it together', async () => {
  const said = await Promise.all([1, 2, 3].map((n) => other(`${n} again and again`)))
  const ends = said.map(async ({ child }) => {
    await ended(child)
    return child.exitCode
  })
  expect(await Promise.all(ends)).toEqual([0, 0, 0])
})

test('a damaged file is made anew', async () => {
  writeFileSync(path, 'half of somethi'.repeat(100))
  const lock = await hostLocks().take(stack(), 'deploy 7')
  expect((await other('deploy 8')).said).toMatch(/deploy 7/)
  await lock.release()
})

test('a file that cannot be written names its place and the cure', async () => {
  mkdirSync(path)
  await expect(hostLocks().take(stack(), 'deploy 7')).rejects.toMatchObject({
    code: 'config-invalid',
    message: expect.stringContaining(path),
    cure: expect.stringContaining(folder),
  })
  rmSync(path, { recursive: true })
  await (await hostLocks().take(stack(), 'deploy 7')).release()
})
