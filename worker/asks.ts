// POST …/deploys and POST …/rollback: what the holder of a token asks for goes to the hub as it came, the hub's word comes back.

import { IDEMPOTENCY_KEY_PATTERN } from '../shared/triggers/index.ts'
import { acceptedResponse } from './accepted.ts'
import { jsonBytes } from './body.ts'
import { asHolder } from './caller.ts'
import type { Ctx } from './env.ts'
import { isRefusal, refusalResponse } from './refusal.ts'
import { streamEvents } from './watch.ts'

export function receiveAsk(
  c: Ctx,
  kind: 'deploy' | 'rollback',
  { host, stack }: { host: string; stack: string },
): Promise<Response> {
  return asHolder(c, async (hub, caller) => {
    const sent = c.get('body')
    // A rollback says nothing where it means the previous release, and then has no type either.
    const isLeftOut = kind === 'rollback' && !isRefusal(sent) && sent.length === 0
    const body = isLeftOut ? sent : jsonBytes(c)
    if (isRefusal(body)) return refusalResponse(body)
    const idempotencyKey = c.req.header('idempotency-key') ?? crypto.randomUUID()
    if (!IDEMPOTENCY_KEY_PATTERN.test(idempotencyKey))
      return refusalResponse({
        refused: 'malformed',
        message: `Idempotency-Key must match ${IDEMPOTENCY_KEY_PATTERN}`,
      })
    const accepted = await hub.ask(caller, stack, { kind, idempotencyKey, body })
    if (isRefusal(accepted)) return refusalResponse(accepted)
    if (c.req.query('wait') === undefined)
      return acceptedResponse(accepted, { host, stack, origin: caller.audience })
    return streamEvents(hub, caller, { deploy: accepted.deploy, after: 0, scope: kind }, c.req.raw.signal)
  })
}
