// A request's body as the raw bytes that were signed, and the gate before it: method is the route's, size and type are ours.

import type { z } from 'zod'
import { faultsOf } from '../shared/problems.ts'
import type { Ctx } from './env.ts'
import { parseJson } from './json.ts'
import { isRefusal, type Refusal } from './refusal.ts'

/** How much of a too large body is read and thrown away before the answer: enough for an honest mistake, too little to be fun. */
const DISCARDED_BYTES_MAX = 16 * 1024 * 1024

const JSON_TYPE = 'application/json'
const UTF_8 = /\s*;\s*charset="?utf-8"?$/i
/** What registries call it beside that: the CNCF's of either version, and CloudEvents. */
export const EVENTS_TYPES = [
  'application/vnd.docker.distribution.events.v1+json',
  'application/vnd.docker.distribution.events.v2+json',
  'application/cloudevents+json',
]

/**
 * Reads the body, whatever the answer will be: workerd breaks the connection's next request if one is left unread.
 * Counts while reading, since Content-Length may be absent or a lie.
 */
export async function readBody(request: Request, bytesMax: number): Promise<Uint8Array | Refusal> {
  // What is announced to be short is short: HTTP itself ends the body there.
  if (Number(request.headers.get('content-length') ?? Infinity) <= bytesMax)
    return new Uint8Array(await request.arrayBuffer())
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of request.body ?? []) {
    length += chunk.length
    if (length <= bytesMax) chunks.push(chunk)
    else chunks.length = 0
    if (length > DISCARDED_BYTES_MAX) break
  }
  if (length > bytesMax) return { refused: 'too-big', message: `the body has more than ${bytesMax} bytes` }
  const body = new Uint8Array(length)
  let offset = 0
  for (const chunk of chunks) {
    body.set(chunk, offset)
    offset += chunk.length
  }
  return body
}

/** The body, if it is JSON that is not compressed: the only thing that our senders send. */
export function jsonBytes(c: Ctx, { orEvents = false } = {}): Uint8Array | Refusal {
  const body = c.get('body')
  if (isRefusal(body)) return body
  if (c.req.header('content-encoding') !== undefined)
    return { refused: 'media-type', message: 'the body must not be compressed' }
  const type = (c.req.header('content-type') ?? '').replace(UTF_8, '').toLowerCase()
  if (type !== JSON_TYPE && !(orEvents && EVENTS_TYPES.includes(type)))
    return { refused: 'media-type', message: 'the body must be application/json in UTF-8' }
  return body
}

/** The body as what the schema says. */
export function jsonBody<T extends object>(c: Ctx, schema: z.ZodType<T>): T | Refusal {
  const body = jsonBytes(c)
  if (isRefusal(body)) return body
  const parsed = schema.safeParse(parseJson(body))
  if (parsed.success) return parsed.data
  return { refused: 'malformed', message: faultsOf(parsed.error) }
}
