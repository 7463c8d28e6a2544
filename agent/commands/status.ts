// `ropeway status [STACK]`: whether the agent is there, and the last deploys.

import type { Deploy } from '../../shared/deploy.ts'
import { seconds } from '../../shared/words.ts'
import { deploys, hostState } from '../api.ts'
import { remote } from './access.ts'
import { EXIT, print, type Io, type RemoteOptions } from './io.ts'

/** A screenful. */
const SHOWN_MAX = 10

export async function run(stack: string | undefined, options: RemoteOptions, io: Io): Promise<number> {
  const access = await remote(options, io)
  if (stack !== undefined) access.checkStack(stack)
  const token = await access.token({ scopes: ['read'], stack })
  const [state, recent] = await Promise.all([
    hostState(access, token, io.signal),
    deploys(access, { stack, limit: SHOWN_MAX }, token, io.signal),
  ])
  if (options.json) {
    print(io, JSON.stringify({ ...state, deploys: recent }))
    return EXIT.success
  }
  const { status, since, version } = state.agent
  print(
    io,
    `${state.host}: agent ${status}${since === null ? '' : ` since ${when(since)}`}${version ? `, ${version}` : ''}`,
  )
  print(io, `stacks: ${state.stacks.join(', ') || 'none'}`)
  for (const deploy of recent) print(io, describe(deploy))
  return EXIT.success
}

function describe({ id, stack, status, actor, acceptedAt, finishedAt }: Deploy): string {
  const took = finishedAt === null ? '' : ` after ${seconds(finishedAt - acceptedAt)}`
  return `${id}  ${when(acceptedAt)}  ${stack}  ${status}${took}  by ${actor}`
}

function when(at: number): string {
  return new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')
}
