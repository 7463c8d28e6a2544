// `ropeway cancel DEPLOY_ID | STACK`: ends a deploy that waits or runs, and follows it to that end. Of a stack it is the one that runs, and
// else the only one that waits.

import { DEPLOY_ID_PATTERN } from '../../shared/deploy-id.ts'
import { DEPLOYS_LISTED_MAX } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { cancel, cancelBody, deploys } from './api/api.ts'
import { remote, type Remote } from './access.ts'
import { follow } from './follow.ts'
import type { Io, RemoteOptions } from './io.ts'

export async function run(what: string, options: RemoteOptions, io: Io): Promise<number> {
  const access = await remote(options, io)
  const [id, stack] = DEPLOY_ID_PATTERN.test(what)
    ? [what, undefined]
    : [await unfinished(access, what, io), what]
  const body = cancelBody(id)
  const bodySha256 = await sha256Hex(new TextEncoder().encode(body))
  const token = await access.token({ scopes: ['deploy'], stack, bodySha256 })
  await cancel(access, id, body, token, io.signal)
  return follow(access, id, { json: options.json, stack, wanted: 'cancelled' }, io)
}

async function unfinished(access: Remote, stack: string, io: Io): Promise<string> {
  access.checkStack(stack)
  const token = await access.token({ scopes: ['read'], stack })
  const recent = await deploys(access, { stack, limit: DEPLOYS_LISTED_MAX }, token, io.signal)
  const running = recent.find(({ status }) => status === 'running')
  const waiting = recent.filter(({ status }) => status === 'queued').map(({ id }) => id)
  const [only, ...others] = waiting
  if (running) {
    if (only !== undefined)
      io.stderr.write(
        `ropeway: after deploy ${running.id} of ${stack} comes what waits: ${waiting.join(', ')}\n`,
      )
    return running.id
  }
  if (only === undefined) throw new Problem('not-cancellable', `no deploy of ${stack} waits or runs`)
  if (others.length === 0) return only
  throw new Problem('not-cancellable', `of ${stack} none runs, and several wait: ${waiting.join(', ')}`, {
    cure: 'name the deploy to cancel',
  })
}
