// What the kernel knows of processes: CPU, memory, open files.

import { readFileSync } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'

/** Of /proc/PID/stat, on every Linux that Node runs on. */
const MS_PER_TICK = 10

/** A process and all below it. */
export async function treeOf(root: number): Promise<number[]> {
  const numbers = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const parents = new Map(numbers.map((pid) => [pid, Number(statOf(pid)?.[1])]))
  const tree = [root]
  for (const pid of tree) tree.push(...numbers.filter((each) => parents.get(each) === pid))
  return tree
}

/** Whether it still runs: one that nobody has reaped does not. */
export function isRunning(pid: number): boolean {
  const state = statOf(pid)?.[0]
  return state !== undefined && state !== 'Z' && state !== 'X'
}

/** Milliseconds of CPU, in user and kernel, of processes that still run. */
export function cpuMs(pids: readonly number[]): number {
  return pids.reduce((total, pid) => {
    const stat = statOf(pid)
    return total + (Number(stat?.[11] ?? 0) + Number(stat?.[12] ?? 0)) * MS_PER_TICK
  }, 0)
}

export async function residentKib(pid: number): Promise<number> {
  return Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1])
}

export async function nameOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim()
}

/** How many files a process has open, and how many it may. */
export async function openFiles(pid: number): Promise<{ open: number; max: number }> {
  const limits = await readFile(`/proc/${pid}/limits`, 'utf8')
  return {
    open: (await readdir(`/proc/${pid}/fd`)).length,
    max: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]),
  }
}

/** How many hubs' databases workerd has open. Those of alarms and caches have names, a hub's is its id. */
export async function awakeHubs(pid: number): Promise<number> {
  const folder = `/proc/${pid}/fd`
  const files = await Promise.all(
    (await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => '')),
  )
  return new Set(files.filter((path) => /\/[0-9a-f]{64}\.sqlite$/.test(path))).size
}

// The fields from the third on: the second is the name, which may hold anything.
function statOf(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}
