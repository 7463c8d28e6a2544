// The relay's HTTP interface, as the command line uses it. Every call here may be repeated safely, and is, where the relay stumbles.

import { setTimeout as sleep } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import type { z } from 'zod'
import {
  acceptedSchema,
  deploysSchema,
  enrolledSchema,
  errorSchema,
  hostSchema,
  stackSchema,
  type PublicKey,
} from '../shared/api.ts'
import { isFinal, nextStatus } from '../shared/deploy.ts'
import { loggedEventSchema, type LoggedEvent } from '../shared/events.ts'
import { SILENCE_MS_MAX } from '../shared/limits.ts'
import { Problem, PROBLEMS, type ProblemCode } from '../shared/problems.ts'
import { nextDelay, RESTED } from './backoff.ts'

/** One answer. The relay's slowest, a cold start with its database, takes a few seconds. */
const ANSWER_MS_MAX = 30_000
/** Waits before a call is repeated; after the last the failure is final. */
const RETRY_MS = [300, 1500]
/** Without the relay for this long, a viewer gives up. The deploy goes on without it. */
const UNREACHABLE_MS_MAX = 300_000

export interface Access {
  /** The relay's origin. */
  readonly relay: string
  readonly host: string
}

interface Call {
  readonly method?: 'GET' | 'POST'
  readonly token: string
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly signal: AbortSignal
}

export function enroll(access: Access, publicKey: PublicKey, enrollKey: string, signal: AbortSignal) {
  const body = JSON.stringify({ publicKey })
  return ask(access, '/enroll', enrolledSchema, { method: 'POST', token: enrollKey, body, signal })
}

export function deploy(
  access: Access,
  { stack, body, idempotencyKey }: { stack: string; body: string; idempotencyKey: string },
  token: string,
  signal: AbortSignal,
) {
  const headers = { 'idempotency-key': idempotencyKey }
  return ask(access, `/stacks/${stack}/deploys`, acceptedSchema, {
    method: 'POST',
    token,
    body,
    headers,
    signal,
  })
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
    try {
      for await (const { id: eventId, data } of stream(access, id, lastId, await token(), signal)) {
        const logged = loggedEventSchema.parse(JSON.parse(data))
        if (eventId !== undefined) lastId = eventId
        heardAt = Date.now()
        state = RESTED
        yield logged
        if (isFinal(nextStatus('running', logged.event))) return
      }
    } catch (error) {
      signal.throwIfAborted()
      if (!isPassing(error) || Date.now() - heardAt > UNREACHABLE_MS_MAX) throw error
    }
    const next = nextDelay(state, { reason: 'lost', upMs: 0 }, Math.random())
    state = next.state
    await sleep(next.delayMs, undefined, { signal })
  }
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

async function ask<T>(access: Access, path: string, schema: z.ZodType<T>, call: Call): Promise<T> {
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(ANSWER_MS_MAX)])
  for (const waitMs of [...RETRY_MS, undefined]) {
    try {
      const response = await send(access, path, { ...call, signal })
      const text = await response.text()
      const parsed = schema.safeParse(json(text))
      if (parsed.success) return parsed.data
      throw new Problem('relay-refused', `${access.relay} gave an answer that is none of a Ropeway relay`, {
        cure: 'check the relay’s address',
      })
    } catch (error) {
      call.signal.throwIfAborted()
      const problem = error instanceof Problem ? error : unreachable(access, error)
      if (waitMs === undefined || signal.aborted || !isPassing(problem)) throw problem
      await sleep(waitMs, undefined, { signal: call.signal })
    }
  }
  throw new Error('unreachable')
}

/** The response, when it is 2xx. */
async function send(access: Access, path: string, call: Call): Promise<Response> {
  const response = await fetch(`${access.relay}/v1/hosts/${access.host}${path}`, {
    method: call.method ?? 'GET',
    headers: {
      authorization: `Bearer ${call.token}`,
      ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...call.headers,
    },
    ...(call.body === undefined ? {} : { body: call.body }),
    // A token goes to the relay that was named, and nowhere else.
    redirect: 'error',
    signal: call.signal,
  }).catch((cause: unknown) => {
    throw unreachable(access, cause)
  })
  if (response.ok) return response
  const refusal = errorSchema.safeParse(json(await response.text()))
  if (refusal.success) {
    const { code, message, cure } = refusal.data.error
    throw new Problem(isCode(code) ? code : 'relay-refused', message, cure === undefined ? {} : { cure })
  }
  throw new Problem(
    response.status >= 500 || response.status === 429 ? 'relay-unavailable' : 'relay-refused',
    `${access.relay} answered ${response.status}`,
  )
}

function unreachable(access: Access, cause: unknown): Problem {
  const deepest = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  const why = deepest instanceof Error ? deepest.message || deepest.name : String(deepest)
  return new Problem('relay-unreachable', `${access.relay} does not answer: ${why}`, {
    cause,
    cure: 'check that the relay runs and that its address is right',
  })
}

// What the relay may well do when asked again.
function isPassing(error: unknown): boolean {
  return (
    error instanceof Problem && (error.code === 'relay-unreachable' || error.code === 'relay-unavailable')
  )
}

function isCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code)
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
