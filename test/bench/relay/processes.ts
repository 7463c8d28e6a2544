// The processes that are measured: each does one thing, is called by name over its IPC channel, and ends with whoever started it.

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { until } from '../../support/until.ts'
import { atEnd } from '../lifetime.ts'
import { isRunning, treeOf } from './proc.ts'

/** Ending one takes a second at most; what has not ended by then is killed. */
const STOP_MS_MAX = 5000

type Handler = (argument: never) => unknown

export interface Peer {
  readonly pid: number
  readonly child: ChildProcess
  call<T>(method: string, argument?: object): Promise<T>
  /** It and what it has started. */
  pids(): Promise<number[]>
  /** To the whole process group. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void
  stop(): Promise<void>
  /** Kills it with all that it has started, at once. Resolves when all are dead, with the moment of the kill. */
  kill(): Promise<number>
}

/** Starts a module of this folder. What it notes by itself goes to `onNote`; its stdout is a pipe, for bytes that mark a moment. */
export function startPeer(
  module: string,
  options: { args?: readonly string[]; env?: NodeJS.ProcessEnv; onNote?: (note: string) => void } = {},
): Peer {
  const child = fork(join(import.meta.dirname, module), options.args ?? [], {
    // A process group of its own: only as a group can it be killed or frozen like a machine.
    detached: true,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const pid = child.pid ?? 0
  const calls = new Map<number, PromiseWithResolvers<never>>()
  let count = 0
  let isOver = false
  child.on('message', ({ id, said, result, fault }: Reply) => {
    if (said !== undefined) return options.onNote?.(said)
    const pending = calls.get(id ?? 0)
    calls.delete(id ?? 0)
    if (fault === undefined) pending?.resolve(result as never)
    else pending?.reject(new Error(`${module}: ${fault}`))
  })
  child.once('exit', () => {
    isOver = true
    for (const pending of calls.values()) pending.reject(new Error(`${module} ended`))
  })
  const signal: Peer['signal'] = (name) => {
    if (!isOver) process.kill(-pid, name)
  }
  const stop = async () => {
    if (isOver) return
    const timer = setTimeout(() => signal('SIGKILL'), STOP_MS_MAX)
    child.kill('SIGTERM')
    await once(child, 'exit')
    clearTimeout(timer)
  }
  atEnd(stop)
  return {
    pid,
    child,
    call<T>(method: string, argument: object = {}) {
      const pending = Promise.withResolvers<never>()
      if (isOver) throw new Error(`${module} has ended`)
      calls.set((count += 1), pending)
      child.send({ id: count, method, argument } satisfies Call)
      return pending.promise as Promise<T>
    },
    pids: () => treeOf(pid),
    signal,
    stop,
    async kill() {
      const pids = await treeOf(pid)
      const killedAt = performance.now()
      signal('SIGKILL')
      await until(`${module} and its children are dead`, () => !pids.some(isRunning))
      return killedAt
    },
  }
}

interface Call {
  readonly id: number
  readonly method: string
  readonly argument: object
}
interface Reply {
  readonly id?: number
  readonly said?: string
  readonly result?: unknown
  readonly fault?: string
}

/** The other end: answers calls, and ends when it is told to or when its parent is gone. */
export function serve(handlers: Record<string, Handler>, end: () => Promise<void> = async () => {}): void {
  process.on('message', async ({ id, method, argument }: Call) => {
    try {
      const result = await handlers[method]?.(argument as never)
      process.send?.({ id, result } satisfies Reply)
    } catch (error) {
      process.send?.({ id, fault: error instanceof Error ? error.message : String(error) } satisfies Reply)
    }
  })
  const leave = () => void end().finally(() => process.exit())
  process.once('SIGTERM', leave)
  process.once('disconnect', leave)
}

/** Says something without having been asked. */
export function note(text: string): void {
  process.send?.({ said: text } satisfies Reply)
}
