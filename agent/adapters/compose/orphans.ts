// Compose calls that outlived their agent. Killed alone, it leaves its children to work on: two of them at one service would each undo
// what the other does. Each call carries its agent's mark in its environment, by which the next agent finds it in /proc.

import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ComposeProject } from '../../ports.ts'

const STACK = 'ROPEWAY_STACK'
const AGENT = 'ROPEWAY_AGENT'
const POLL_MS = 10

/** What a compose call of this process carries. A process id alone may be somebody else's by the time it is read: its start makes it one's own. */
export async function markOf(stack: ComposeProject): Promise<Record<string, string>> {
  return { [STACK]: stack.compose[0] ?? '', [AGENT]: `${process.pid}:${(await startOf(process.pid)) ?? ''}` }
}

/** Kills the compose calls for this stack whose agent is gone, and waits until they are. Where there is no /proc, none can be found. */
export async function endOrphans(stack: ComposeProject, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    const orphans = await orphansOf(stack)
    if (orphans.length === 0) return
    for (const pid of orphans) kill(pid)
    await sleep(POLL_MS, undefined, { signal }).catch(() => {
      throw signal.reason
    })
  }
}

async function orphansOf(stack: ComposeProject): Promise<number[]> {
  const names = await readdir('/proc').catch(() => [])
  const found = await Promise.all(
    names.filter((name) => /^\d+$/.test(name)).map((name) => isOrphan(Number(name), stack)),
  )
  return found.filter((pid) => pid !== undefined)
}

async function isOrphan(pid: number, stack: ComposeProject): Promise<number | undefined> {
  // Of a process that has ended nothing is left to read, nor of one of another user, which is not ours.
  const environment = (await readOrEmpty(`/proc/${pid}/environ`)).split('\0')
  if (!environment.includes(`${STACK}=${stack.compose[0] ?? ''}`)) return undefined
  const agent = environment.find((entry) => entry.startsWith(`${AGENT}=`))?.slice(AGENT.length + 1)
  const [agentPid, agentStart] = agent?.split(':') ?? []
  if (agentPid === undefined || agentPid === String(pid)) return undefined
  return (await startOf(Number(agentPid))) === agentStart ? undefined : pid
}

// In clock ticks since the machine's start; the second field, a name in brackets, may hold spaces (proc_pid_stat(5)).
async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readOrEmpty(`/proc/${pid}/stat`)
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state === undefined || state === '' || state === 'Z' ? undefined : fields[18]
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has just ended.
  }
}

async function readOrEmpty(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '')
}
