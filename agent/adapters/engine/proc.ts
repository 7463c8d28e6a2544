// A container's processes and connections from the host's own /proc (0.1 ms), where this process sees the engine's processes there;
// undefined elsewhere, as on Docker Desktop or in a container, and the engine is asked instead (15 to 60 ms).

import { lstat, readFile } from 'node:fs/promises'
import type { Container, Process } from '../../ports.ts'

/** TCP connections in the container's network namespace, as the kernel's tables. One that cannot be read is not an empty one. */
export async function hostConnections(container: Container): Promise<string | undefined> {
  if (!(await isVisible(container))) return undefined
  try {
    const tcp = await readFile(`/proc/${container.pid}/net/tcp`, 'latin1')
    return `${tcp}\n${await readOrEmpty(`/proc/${container.pid}/net/tcp6`)}` // a host without IPv6 has no tcp6
  } catch {
    return undefined
  }
}

/** PID 1 of the container and all its descendants. */
export async function hostProcesses(container: Container): Promise<Process[] | undefined> {
  if (!(await isVisible(container))) return undefined
  return await tree(container.pid, 0)
}

/** A file as the container sees it, mounts and all, one character a byte. Undefined when a link is on the way: it would be followed in the host's tree. */
export async function hostFile(container: Container, path: string): Promise<string | undefined> {
  if (!(await isVisible(container))) return undefined
  const root = `/proc/${container.pid}/root`
  const parts = path.split('/').filter(Boolean)
  try {
    for (const [index] of parts.entries()) {
      const part = await lstat(`${root}/${parts.slice(0, index + 1).join('/')}`)
      if (part.isSymbolicLink()) return undefined
    }
    return await readFile(root + path, 'latin1')
  } catch {
    return undefined
  }
}

async function tree(pid: number, parent: number): Promise<Process[]> {
  const title = (await readOrEmpty(`/proc/${pid}/cmdline`)).replaceAll('\0', ' ').trim()
  if (title === '') return [] // it has just ended
  const below = await Promise.all((await childrenOf(pid)).map((child) => tree(child, pid)))
  return [{ pid, parent, title }, ...below.flat()]
}

// Read twice: where a child ends during a reading, the list may lack the one after it (proc_pid_task of the manual pages).
async function childrenOf(pid: number): Promise<number[]> {
  const path = `/proc/${pid}/task/${pid}/children`
  const texts = [await readOrEmpty(path), await readOrEmpty(path)]
  return [...new Set(texts.flatMap((text) => text.split(' ').filter(Boolean).map(Number)))]
}

// The cgroup's name proves that the process id means the same process to us as to the engine.
async function isVisible({ pid, id }: Container): Promise<boolean> {
  if (pid === 0) return false
  const [cgroup, children] = await Promise.all([
    readOrEmpty(`/proc/${pid}/cgroup`),
    readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => undefined), // not in every kernel
  ])
  return cgroup.includes(id) && children !== undefined
}

async function readOrEmpty(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '')
}
