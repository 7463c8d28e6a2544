// `ropeway watch [DEPLOY_ID | STACK]`: follows a deploy to its end; without an argument the latest of the host.

import { DEPLOY_ID_PATTERN } from '../../shared/deploy-id.ts'
import { Problem } from '../../shared/problems.ts'
import { deploys } from './api/api.ts'
import { remote, type Remote } from './access.ts'
import { follow } from './follow.ts'
import type { Io, RemoteOptions } from './io.ts'

export async function run(what: string | undefined, options: RemoteOptions, io: Io): Promise<number> {
  const access = await remote(options, io)
  const id = what !== undefined && DEPLOY_ID_PATTERN.test(what) ? what : await latest(access, what, io)
  return follow(access, id, { json: options.json }, io)
}

async function latest(access: Remote, stack: string | undefined, io: Io): Promise<string> {
  if (stack !== undefined) access.checkStack(stack)
  const token = await access.token({ scopes: ['read'], stack })
  const [deploy] = await deploys(access, { stack, limit: 1 }, token, io.signal)
  if (deploy) return deploy.id
  throw new Problem('not-found', `there is no deploy of ${stack ?? access.host} yet`)
}
