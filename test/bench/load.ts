// The tests' load, where nginx is: in this process's network, or in that of an engine that keeps to itself.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { LoadOptions, LoadResult } from '../support/load.ts'

const LOAD = join(import.meta.dirname, '../support/load.ts')
/** Before a roll begins, for the load to become steady. */
const BEFORE_MS = 500
/** After it has ended: what it broke shows then. */
const AFTER_MS = 1500

export interface Target {
  readonly ip: string
  /** A process in whose network namespace the load must run. */
  readonly within?: number
}

export const LOADS = {
  none: undefined,
  keepalive: { kind: 'keepalive', connections: 20 },
  posts: { kind: 'posts', perSecond: 40, ms: 1500 },
} as const satisfies Record<string, Omit<LoadOptions, 'ip' | 'port'> | undefined>
export type LoadName = keyof typeof LOADS

export interface Suffered {
  readonly requests: number
  readonly failed: number
  /** The first few reasons. */
  readonly why: readonly string[]
  /** Whether requests still failed when the load ended. */
  readonly goesOn: boolean
}

/** Does the work under a load, which ends with it whatever happens. */
export async function under<T>(
  name: LoadName,
  { ip, within }: Target,
  work: () => Promise<T>,
): Promise<{ result: T; suffered: Suffered | undefined }> {
  const load = LOADS[name]
  if (!load) return { result: await work(), suffered: undefined }
  const argv = [process.execPath, LOAD, JSON.stringify({ ...load, ip, port: 80 } satisfies LoadOptions)]
  if (within !== undefined) argv.unshift('nsenter', '-t', String(within), '-n', '--')
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] })
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    if ((await lines.next()).value !== 'started') throw new Error('the load did not start')
    await pause(BEFORE_MS)
    const result = await work()
    await pause(AFTER_MS)
    const endedAt = Date.now()
    child.stdin.end()
    const text = String((await lines.next()).value)
    if (child.exitCode === null) await once(child, 'exit')
    return { result, suffered: read(JSON.parse(text) as LoadResult, endedAt) }
  } finally {
    child.kill()
  }
}

function read({ requests, failed, failures, answers }: LoadResult, endedAt: number): Suffered {
  const lastGood = Math.max(...Object.values(answers).map(({ last }) => last))
  return {
    requests,
    failed,
    why: [...new Set(failures.map(({ why }) => why))],
    goesOn: failed > 0 && lastGood < endedAt - AFTER_MS / 2,
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}
