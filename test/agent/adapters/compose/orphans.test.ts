// Compose calls that outlived their agent are found and ended; those of a living one, and of other stacks, are left alone.

import { spawn, type ChildProcess } from 'node:child_process'
import { afterEach, expect, test } from 'vitest'
import { endOrphans, markOf } from '../../../../agent/adapters/compose/orphans.ts'
import { stackAt } from '../stack-at.ts'

const stack = stackAt('/srv/hello/compose.yml')
const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** A process that would go on, with such a mark. */
async function call(mark: Record<string, string>): Promise<ChildProcess> {
  const child = spawn('sleep', ['60'], { env: { ...process.env, ...mark }, stdio: 'ignore' })
  children.push(child)
  await new Promise((resolve) => child.once('spawn', resolve))
  return child
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null
}

const end = () => endOrphans(stack, AbortSignal.timeout(10_000))

test('the call of an agent that is gone is ended', async () => {
  const agent = await call({})
  const orphan = await call({ ...(await markOf(stack)), ROPEWAY_AGENT: `${agent.pid}:1` })
  const gone = new Promise((resolve) => orphan.once('exit', (_, signal) => resolve(signal)))
  await end()
  // Its process id lives, but it is another process.
  expect(await gone).toBe('SIGKILL')
  expect(hasEnded(agent)).toBe(false)
})

test('the call of an agent whose number nobody has', async () => {
  const orphan = await call({ ...(await markOf(stack)), ROPEWAY_AGENT: '4194305:1' })
  const gone = new Promise((resolve) => orphan.once('exit', (_, signal) => resolve(signal)))
  await end()
  expect(await gone).toBe('SIGKILL')
})

test('a living agent’s calls, those for another stack, and whoever has no mark are left alone', async () => {
  const mark = await markOf(stack)
  const others = [
    await call(mark),
    await call({ ...(await markOf(stackAt('/srv/hello/compose.yml.bak'))), ROPEWAY_AGENT: '4194305:1' }),
    await call({ ROPEWAY_STACK: mark['ROPEWAY_STACK'] ?? '' }),
  ]
  await end()
  expect(others.filter(hasEnded)).toEqual([])
})
