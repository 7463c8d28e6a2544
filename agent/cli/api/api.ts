// The relay's HTTP interface, as the command line uses it. Every call here may be repeated safely, and is, where the relay stumbles.

import { setTimeout as sleep } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import {
  acceptedSchema,
  cancelSchema,
  deploysSchema,
  enrolledSchema,
  hostSchema,
  releasesSchema,
  revokedSchema,
  rotatedSchema,
  stackSchema,
  type PublicKey,
  type Rotation,
} from '../../../shared/api.ts'
import { isFinal, nextStatus } from '../../../shared/deploy.ts'
import { loggedEventSchema, type LoggedEvent } from '../../../shared/events.ts'
import { SILENCE_MS_MAX } from '../../../shared/limits.ts'
import { Problem } from '../../../shared/problems.ts'
import { jsonOf } from '../../json.ts'
import { nextDelay, RESTED } from '../../daemon/link/backoff.ts'
import { ask, isPassing, RETRY_AFTER_MS_MAX, send, toldWaitMs, unreachable, type Access } from './call.ts'

export type { Access } from './call.ts'

/** Without the relay for this long, a viewer gives up. The deploy goes on without it. */
const UNREACHABLE_MS_MAX = 300_000

export function enroll(access: Access, publicKey: PublicKey, enrollKey: string, signal: AbortSignal) {
  const body = JSON.stringify({ publicKey })
  return ask(access, '/enroll', enrolledSchema, {
    method: 'POST',
    token: enrollKey,
    isTimed: false,
    body,
    signal,
  })
}

/** The next key takes the place of the present one, which `token` is signed with. */
export function rotateKey(access: Access, rotation: Rotation, token: string, signal: AbortSignal) {
  const body = JSON.stringify(rotation)
  return ask(access, '/keys', rotatedSchema, { method: 'POST', token, body, signal })
}

/** All of them, in the place of those that the relay knew. */
export function revoke(access: Access, ids: readonly string[], token: string, signal: AbortSignal) {
  const body = JSON.stringify({ ids })
  return ask(access, '/revoked', revokedSchema, { method: 'PUT', token, body, signal })
}

export interface Asking {
  readonly stack: string
  readonly body: string
  readonly idempotencyKey: string
}

export function deploy(access: Access, asking: Asking, token: string, signal: AbortSignal) {
  return accept(access, 'deploys', asking, token, signal)
}

export function rollback(access: Access, asking: Asking, token: string, signal: AbortSignal) {
  return accept(access, 'rollback', asking, token, signal)
}

function accept(
  access: Access,
  route: 'deploys' | 'rollback',
  { stack, body, idempotencyKey }: Asking,
  token: string,
  signal: AbortSignal,
) {
  const headers = { 'idempotency-key': idempotencyKey }
  return ask(access, `/stacks/${stack}/${route}`, acceptedSchema, {
    method: 'POST',
    token,
    body,
    headers,
    signal,
  })
}

/** `body` is `cancelBody` of the deploy: what the token may be bound to. */
export function cancel(access: Access, id: string, body: string, token: string, signal: AbortSignal) {
  return ask(access, `/deploys/${id}/cancel`, cancelSchema, { method: 'POST', token, body, signal })
}

export function cancelBody(id: string): string {
  return JSON.stringify({ cancel: id })
}

export async function releases(
  access: Access,
  { stack, limit }: { stack: string; limit: number },
  token: string,
  signal: AbortSignal,
) {
  return (await ask(access, `/stacks/${stack}/releases?limit=${limit}`, releasesSchema, { token, signal }))
    .releases
}

export function hostState(access: Access, token: string, signal: AbortSignal) {
  return ask(access, '', hostSchema, { token, signal })
}

export function stackState(access: Access, stack: string, token: string, signal: AbortSignal) {
  return ask(access, `/stacks/${stack}`, stackSchema, { token, signal })
}

export async function deploys(
  access: Access,
  { stack, limit }: { stack?: string | undefined; limit: number },
  token: string,
  signal: AbortSignal,
) {
  const query = new URLSearchParams({ limit: String(limit), ...(stack === undefined ? {} : { stack }) })
  return (await ask(access, `/deploys?${query}`, deploysSchema, { token, signal })).deploys
}

/** A deploy's events from the first to the final one, over as many connections as it takes. `token` is asked for each. */
export async function* events(
  access: Access,
  id: string,
  token: () => Promise<string>,
  signal: AbortSignal,
): AsyncGenerator<LoggedEvent, void, void> {
  let lastId = ''
  let state = RESTED
  let heardAt = Date.now()
  for (;;) {
    let toldMs = 0
    try {
      for await (const { id: eventId, data } of stream(access, id, lastId, await token(), signal)) {
        const logged = readEvent(access, data)
        if (eventId !== undefined) lastId = eventId
        heardAt = Date.now()
        state = RESTED
        yield logged
        if (isFinal(nextStatus('running', logged.event))) return
      }
    } catch (error) {
      signal.throwIfAborted()
      if (!isPassing(error) || Date.now() - heardAt > UNREACHABLE_MS_MAX) throw error
      toldMs = Math.min(toldWaitMs(error), RETRY_AFTER_MS_MAX)
    }
    const next = nextDelay(state, { reason: 'lost', upMs: 0 }, Math.random())
    state = next.state
    await sleep(Math.max(next.delayMs, toldMs), undefined, { signal })
  }
}

function readEvent(access: Access, data: string): LoggedEvent {
  const parsed = loggedEventSchema.safeParse(jsonOf(data))
  if (parsed.success) return parsed.data
  throw new Problem('relay-refused', `${access.relay} sent an event that is none of a Ropeway relay`, {
    cure: 'check the relay’s address, and that it is not newer than this command',
  })
}

// One connection. Ends with it; a relay that is silent, without even a keepalive, is taken for gone.
async function* stream(
  access: Access,
  id: string,
  lastId: string,
  token: string,
  signal: AbortSignal,
): AsyncGenerator<{ id?: string | undefined; data: string }, void, void> {
  const silent = new AbortController()
  const silence = setTimeout(() => silent.abort(), SILENCE_MS_MAX)
  try {
    const response = await send(access, `/deploys/${id}/events`, {
      token,
      headers: { accept: 'text/event-stream', ...(lastId === '' ? {} : { 'last-event-id': lastId }) },
      signal: AbortSignal.any([signal, silent.signal]),
    })
    const messages: { id?: string | undefined; data: string }[] = []
    const parser = createParser({ onEvent: (message) => messages.push(message) })
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      silence.refresh()
      parser.feed(decoder.decode(chunk, { stream: true }))
      yield* messages.splice(0)
    }
  } catch (cause) {
    throw cause instanceof Problem ? cause : unreachable(access, cause)
  } finally {
    clearTimeout(silence)
    silent.abort()
  }
}
