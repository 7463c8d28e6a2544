// A relay in a process group of its own, with its data on the disk.

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { buildWorker } from '../../build.ts'
import { atEnd } from '../lifetime.ts'
import { nameOf } from './proc.ts'
import { startPeer, type Peer } from './processes.ts'

const ROOT = join(import.meta.dirname, '../../..')
export const ENROLL_KEY = 'only-for-this-benchmark'

/** What is measured is the way, not the gate before it. */
const NO_LIMITS = { requests: 1_000_000, failures: 1_000_000, perTrigger: 1_000_000, perHost: 1_000_000 }

export interface RelayProcess extends Peer {
  readonly url: string
  /** Of the relay's two processes, the one that does the work. */
  readonly workerd: number
}

/** Below /tmp, gone at the end. */
export async function temporaryFolder(name: string): Promise<string> {
  const folder = await mkdtemp(`/tmp/ropeway-bench-${name}-`)
  atEnd(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export async function startRelayProcess({
  dataDir,
  port = 0,
  root = ROOT,
  module = join(root, 'agent/relay/relay.ts'),
}: {
  dataDir: string
  port?: number
  /** Whose code it runs: a folder laid out like this checkout. */
  root?: string
  /** What starts it. */
  module?: string
}): Promise<RelayProcess> {
  if (root === ROOT) await buildWorker()
  const peer = startPeer('relay-process.ts', { args: [module] })
  const url = await peer.call<string>('start', { dataDir, port, enrollKey: ENROLL_KEY, limits: NO_LIMITS })
  const workerd = await Promise.all(
    (await peer.pids()).map(async (pid) => ({ pid, name: await nameOf(pid).catch(() => '') })),
  )
  return { ...peer, url, workerd: workerd.find(({ name }) => name === 'workerd')?.pid ?? 0 }
}
