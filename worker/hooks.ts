// The hooks: what a sender said goes to the hub as it came, the hub's word comes back.

import { NAME_PATTERN } from '../shared/limits.ts'
import { SIGNED_HEADERS, URL_SECRET_PATTERN } from '../shared/triggers/index.ts'
import { acceptedResponse } from './accepted.ts'
import { jsonBytes } from './body.ts'
import { relayOrigin, type Ctx } from './env.ts'
import type { Accepted } from './hub/hub.ts'
import { streamEvents } from './watch.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse, type Refusal } from './refusal.ts'

const FORWARDED_HEADERS = [...new Set(Object.values(SIGNED_HEADERS).flat())]

interface Names {
  readonly host: string
  readonly stack: string
  readonly trigger: string
}

/** POST /hooks/{host}/{stack}/{trigger}: raw bytes, and the headers that a signature may need. */
export async function receiveHook(c: Ctx, names: Names): Promise<Response> {
  const body = jsonBytes(c)
  if (isRefusal(body)) return refusalResponse(body)
  if (!areNames(names)) return refusalResponse(UNAUTHORIZED)
  const headers: Record<string, string> = {}
  for (const name of FORWARDED_HEADERS) {
    const value = c.req.header(name)
    if (value !== undefined) headers[name] = value
  }
  const { host, stack, trigger } = names
  const hub = c.env.HUB.getByName(host)
  const accepted = await hub.hook(host, stack, trigger, { headers, body })
  if (isRefusal(accepted) || c.req.query('wait') === undefined) return answer(c, names, accepted)
  const audience = relayOrigin(c.env, c.req.raw)
  const token = await hub.watcher(host, stack, audience)
  const watch = { deploy: accepted.deploy, after: 0, scope: 'read' } as const
  return streamEvents(hub, { token, audience }, watch, c.req.raw.signal)
}

/**
 * POST /hooks/{host}/{stack}/{trigger}/{secret}: for senders that cannot sign. Whatever they say in the body could be anybody's word, so
 * nobody looks at it.
 */
export async function receiveHint(
  c: Ctx,
  { secret, ...names }: Names & { secret: string },
): Promise<Response> {
  const body = c.get('body')
  if (isRefusal(body)) return refusalResponse(body)
  if (!areNames(names) || !URL_SECRET_PATTERN.test(secret)) return refusalResponse(UNAUTHORIZED)
  const { host, stack, trigger } = names
  return answer(c, names, await c.env.HUB.getByName(host).hint(host, stack, trigger, secret))
}

function areNames({ host, stack, trigger }: Names): boolean {
  return [host, stack, trigger].every((name) => NAME_PATTERN.test(name))
}

function answer(c: Ctx, { host, stack }: Names, accepted: Accepted | Refusal): Response {
  return isRefusal(accepted)
    ? refusalResponse(accepted)
    : acceptedResponse(accepted, { host, stack, origin: relayOrigin(c.env, c.req.raw) })
}
