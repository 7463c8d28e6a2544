// `ropeway status [STACK]`: whether the agent is there, a stack's triggers, and the last deploys.

import type { TriggerState } from '../../shared/api.ts'
import type { Deploy } from '../../shared/deploy.ts'
import { seconds } from '../../shared/words.ts'
import { deploys, hostState, stackState } from './api/api.ts'
import { remote } from './access.ts'
import { EXIT, print, when, type Io, type RemoteOptions } from './io.ts'

/** A screenful. */
const SHOWN_MAX = 10

export async function run(stack: string | undefined, options: RemoteOptions, io: Io): Promise<number> {
  const access = await remote(options, io)
  if (stack !== undefined) access.checkStack(stack)
  const token = await access.token({ scopes: ['read'], stack })
  const [state, recent, own] = await Promise.all([
    hostState(access, token, io.signal),
    deploys(access, { stack, limit: SHOWN_MAX }, token, io.signal),
    stack === undefined ? undefined : stackState(access, stack, token, io.signal),
  ])
  if (options.json) {
    const triggers = own === undefined ? {} : { triggers: own.triggers }
    print(io, JSON.stringify({ ...state, ...triggers, deploys: recent }))
    return EXIT.success
  }
  const { status, since, version } = state.agent
  print(
    io,
    `${state.host}: agent ${status}${since === null ? '' : ` since ${when(since)}`}${version ? `, ${version}` : ''}`,
  )
  print(io, `stacks: ${state.stacks.join(', ') || 'none'}`)
  for (const trigger of own?.triggers ?? []) for (const line of triggerLines(trigger)) print(io, line)
  for (const deploy of recent) print(io, describe(deploy))
  return EXIT.success
}

function describe({ id, stack, status, actor, acceptedAt, finishedAt }: Deploy): string {
  const took = finishedAt === null ? '' : ` after ${seconds(finishedAt - acceptedAt)}`
  return `${id}  ${when(acceptedAt)}  ${stack}  ${status}${took}  by ${actor}`
}

function triggerLines({ name, type, keys, stale, fault }: TriggerState): string[] {
  const uses = keys.map(({ fingerprint, lastUsed }) => {
    const used = lastUsed === null ? 'not used yet' : `last used ${when(lastUsed)}`
    return `key ${fingerprint} ${used}`
  })
  const line = `trigger ${name}: ${[type, ...uses].join(', ')}`
  if (fault !== undefined) return [line, `  ${fault}`]
  if (!stale) return [line]
  return [line, `  last request that was genuine and refused: ${when(stale.at)}, ${stale.message}`]
}
