// The hooks: what a sender said goes to the hub as it came, the hub's word comes back.

import type { z } from 'zod'
import type { ignoredSchema } from '../shared/api.ts'
import { NAME_PATTERN } from '../shared/limits.ts'
import { headersOf, TRIGGER_TYPES, URL_SECRET_PATTERN } from '../shared/triggers/index.ts'
import { acceptedResponse } from './accepted.ts'
import { jsonBytes } from './body.ts'
import { relayOrigin, type Ctx } from './env.ts'
import type { Accepted } from './hub/decide.ts'
import type { Ignored } from './hub/verified.ts'
import { streamEvents } from './watch.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse, type Refusal } from './refusal.ts'

const FORWARDED_HEADERS = [...new Set(TRIGGER_TYPES.flatMap((type) => headersOf({ type })))]

interface Names {
  readonly host: string
  readonly stack: string
  readonly trigger: string
}

/** POST /hooks/{host}/{stack}/{trigger}: raw bytes, and the headers that a signature may need. */
export async function receiveHook(c: Ctx, names: Names): Promise<Response> {
  const body = jsonBytes(c, { orEvents: true })
  if (isRefusal(body)) return refusalResponse(body)
  if (!areNames(names)) return refusalResponse(UNAUTHORIZED)
  const { host, stack, trigger } = names
  const hub = c.env.HUB.getByName(host)
  const accepted = await hub.hook(host, stack, trigger, { headers: forwarded(c), body })
  if (isRefusal(accepted) || accepted.status === 'ignored' || c.req.query('wait') === undefined)
    return answer(c, names, accepted)
  const audience = relayOrigin(c.env, c.req.raw)
  const token = await hub.watcher(host, stack, audience)
  const watch = { deploy: accepted.deploy, after: 0, scope: 'read' } as const
  return streamEvents(hub, { token, audience }, watch, c.req.raw.signal)
}

/** POST /hooks/{host}/{stack}/{trigger}/{secret}: for senders that can send neither a signature nor a header. */
export async function receiveHint(
  c: Ctx,
  { secret, ...names }: Names & { secret: string },
): Promise<Response> {
  const body = c.get('body')
  if (isRefusal(body)) return refusalResponse(body)
  if (!areNames(names) || !URL_SECRET_PATTERN.test(secret)) return refusalResponse(UNAUTHORIZED)
  const { host, stack, trigger } = names
  const sent = { headers: forwarded(c), body, secret }
  return answer(c, names, await c.env.HUB.getByName(host).hook(host, stack, trigger, sent))
}

function forwarded(c: Ctx): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of FORWARDED_HEADERS) {
    const value = c.req.header(name)
    if (value !== undefined) headers[name] = value
  }
  return headers
}

function areNames({ host, stack, trigger }: Names): boolean {
  return [host, stack, trigger].every((name) => NAME_PATTERN.test(name))
}

function answer(c: Ctx, { host, stack }: Names, accepted: Accepted | Ignored | Refusal): Response {
  if ('reason' in accepted) return Response.json(accepted satisfies z.infer<typeof ignoredSchema>)
  return isRefusal(accepted)
    ? refusalResponse(accepted)
    : acceptedResponse(accepted, { host, stack, origin: relayOrigin(c.env, c.req.raw) })
}
