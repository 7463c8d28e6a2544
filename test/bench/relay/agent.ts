// A real agent in a process of its own, enrolled, and its host's folder.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PublicKey } from '../../../shared/api.ts'
import { loadOrCreateKey } from '../../../agent/identity/identity.ts'
import { Connection } from './connection.ts'
import { SECRET, enroll } from './hosts.ts'
import { startPeer, type Peer } from './processes.ts'

export const STACK = 'hello'

export interface AgentHost {
  readonly name: string
  readonly config: string
  readonly data: string
}

/** Writes the host's configuration, makes its key and enrolls it. */
export async function newAgentHost(folder: string, name: string, url: string): Promise<AgentHost> {
  const home = join(folder, name)
  const data = join(home, 'agent')
  const config = join(home, 'ropeway.yml')
  await mkdir(home, { recursive: true })
  await writeFile(join(home, 'docker-compose.yml'), 'services: {}\n')
  await writeFile(
    config,
    `relay: ${url}
host: ${name}
stacks:
  ${STACK}:
    compose: ./docker-compose.yml
    project: bench
    allow: { env: [MESSAGE] }
    triggers: { deploy: { type: standard-webhooks, secret: { env: BENCH_SECRET } } }
`,
  )
  const { publicJwk } = await loadOrCreateKey(data)
  const connection = await Connection.open(url)
  await enroll(connection, url, { name, publicKey: publicJwk as PublicKey })
  connection.close()
  return { name, config, data }
}

/** Starts the agent. `notes` says each `connected` and `lost` with its moment. */
export function startAgentProcess(
  { config, data }: AgentHost,
  onNote: (note: string, at: number) => void,
): Peer {
  return startPeer('agent-process.ts', {
    args: [config, data],
    env: { BENCH_SECRET: SECRET },
    onNote: (note) => onNote(note, performance.now()),
  })
}
