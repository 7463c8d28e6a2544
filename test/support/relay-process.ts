// `ropeway relay` as a process of its own, for tests that read all it ever prints.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { buildWorker } from '../build.ts'
import { ENROLL_KEY } from './relay.ts'
import { until } from './until.ts'

const MAIN = join(import.meta.dirname, '../../agent/main.ts')
/** Against hanging only: it takes one second, on a machine that is busy with other tests many. */
const START_MS_MAX = 90_000

export interface RelayProcess {
  readonly url: string
  /** All that it, Miniflare and workerd have printed so far. */
  log(): string
  stop(): Promise<void>
}

export async function startRelayProcess(dataDir: string, port = '0'): Promise<RelayProcess> {
  await buildWorker()
  const child = spawn(process.execPath, [MAIN, 'relay', '--port', port, '--data', dataDir, '--json'], {
    env: { ...process.env, ROPEWAY_ENROLL_KEY: ENROLL_KEY },
  })
  let log = ''
  for (const output of [child.stdout, child.stderr]) output.on('data', (chunk) => (log += String(chunk)))
  const ended = once(child, 'close')
  const url = await until(
    'the relay listens',
    () => {
      if (child.exitCode !== null) throw new Error(`the relay ended: ${log}`)
      return /"listening":"([^"]+)"/.exec(log)?.[1]
    },
    START_MS_MAX,
  )
  return {
    url,
    log: () => log,
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}
