// The senders: requests signed beforehand, sent over a few kept connections as fast as the answers come.

import { requestBytes, sendAll } from './connection.ts'
import { signedHook } from './hosts.ts'
import { serve } from './processes.ts'

export interface Target {
  readonly host: string
  readonly stack: string
}

export interface LoadResult {
  readonly ms: number
  /** This process's own, while it sent. */
  readonly cpuMs: number
  /** How long each request waited for its answer. */
  readonly waits: readonly number[]
  readonly statuses: Readonly<Record<string, number>>
  /** The ids of the deploys that were accepted. */
  readonly ids: readonly string[]
}

let prepared: Buffer[] = []
let origin = ''

serve({
  /** Signs one request for each target, in order. */
  async prepare({ url, targets }: { url: string; targets: readonly Target[] }) {
    origin = url
    prepared = []
    for (const { host, stack } of targets) prepared.push(await signedHook(url, host, stack))
  },

  async run({ connections }: { connections: number }): Promise<LoadResult> {
    const answers: { status: number; body: string; ms: number }[] = []
    const before = process.cpuUsage()
    const startedAt = performance.now()
    await sendAll(origin, connections, prepared, async (connection, request) => {
      const sentAt = performance.now()
      const { status, body } = await connection.send(request)
      answers.push({ status, body, ms: performance.now() - sentAt })
    })
    const ms = performance.now() - startedAt
    const { user, system } = process.cpuUsage(before)
    const statuses: Record<string, number> = {}
    for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1
    return {
      ms,
      cpuMs: (user + system) / 1000,
      waits: answers.map((answer) => answer.ms),
      statuses,
      ids: answers.flatMap(({ status, body }) => (status === 202 ? [acceptedId(body)] : [])),
    }
  },

  /** The ids on pages of deploys. */
  async list({ url, pages }: { url: string; pages: readonly { path: string; token: string }[] }) {
    const ids: string[] = []
    await sendAll(url, 8, pages, async (connection, { path, token }) => {
      const request = requestBytes('GET', `${url}${path}`, { authorization: `Bearer ${token}` })
      const { status, body } = await connection.send(request)
      if (status !== 200) throw new Error(`${path} was answered ${status}: ${body}`)
      for (const { id } of (JSON.parse(body) as { deploys: { id: string }[] }).deploys) ids.push(id)
    })
    return ids
  },
})

function acceptedId(body: string): string {
  return (JSON.parse(body) as { deploy: { id: string } }).deploy.id
}
