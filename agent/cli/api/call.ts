// One call to the relay: what it sends, what its refusals mean, and when it is worth another try.

import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import { errorSchema } from '../../../shared/api.ts'
import { jsonOf } from '../../json.ts'
import { Problem, PROBLEMS, type ProblemCode } from '../../../shared/problems.ts'

/** One answer. The relay's slowest, a cold start with its database, takes a few seconds. */
const ANSWER_MS_MAX = 30_000
/** Waits before a call is repeated; after the last the failure is final. */
const RETRY_MS = [300, 1500]
/** A longer Retry-After is for whoever gave the command to keep. */
export const RETRY_AFTER_MS_MAX = 10_000
/** Tokens live for minutes and both clocks judge them: a greater difference may well be why one was refused. */
const CLOCK_SKEW_MS_MAX = 30_000

export interface Access {
  /** The relay's origin. */
  readonly relay: string
  readonly host: string
}

export interface Call {
  readonly method?: 'GET' | 'POST' | 'PUT'
  readonly token: string
  /** The token is one of ours, which both clocks must agree on; an enrolment key is not. */
  readonly isTimed?: boolean
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly signal: AbortSignal
}

/** The answer, asked for again where the relay stumbles. */
export async function ask<T>(access: Access, path: string, schema: z.ZodType<T>, call: Call): Promise<T> {
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(ANSWER_MS_MAX)])
  for (const waitMs of [...RETRY_MS, undefined]) {
    try {
      const response = await send(access, path, { ...call, signal })
      const text = await response.text()
      const parsed = schema.safeParse(jsonOf(text))
      if (parsed.success) return parsed.data
      throw new Problem('relay-refused', `${access.relay} gave an answer that is none of a Ropeway relay`, {
        cure: 'check the relay’s address',
      })
    } catch (error) {
      call.signal.throwIfAborted()
      const problem = error instanceof Problem ? error : unreachable(access, error)
      const toldMs = toldWaitMs(problem)
      const isLast = waitMs === undefined || toldMs > RETRY_AFTER_MS_MAX || signal.aborted
      if (isLast || !isPassing(problem)) throw problem
      await sleep(Math.max(waitMs, toldMs), undefined, { signal: call.signal })
    }
  }
  throw new Error('unreachable')
}

/** The response, when it is 2xx. */
export async function send(access: Access, path: string, call: Call): Promise<Response> {
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
  throw await refusalOf(access, call, response)
}

async function refusalOf(access: Access, call: Call, response: Response): Promise<Refused> {
  const { status, headers } = response
  const seconds = Number(/^\d{1,6}$/.exec(headers.get('retry-after') ?? '')?.[0] ?? NaN)
  const waitMs = Number.isNaN(seconds) ? undefined : seconds * 1000
  const again = status === 429 && waitMs !== undefined ? `try again in ${seconds} s` : undefined
  const clock =
    status === 401 && call.isTimed !== false ? clockFault(headers.get('date'), Date.now()) : undefined
  const parsed = errorSchema.safeParse(jsonOf(await response.text()))
  if (!parsed.success) {
    const code = status === 429 ? 'rate-limited' : status >= 500 ? 'relay-unavailable' : 'relay-refused'
    return new Refused(code, `${access.relay} answered ${status}`, clock ?? again, waitMs)
  }
  const { code, message, cure } = parsed.data.error
  return new Refused(isCode(code) ? code : 'relay-refused', message, clock ?? cure ?? again, waitMs)
}

// What the relay's clock says of ours.
function clockFault(relayDate: string | null, now: number): string | undefined {
  const skewMs = now - Date.parse(relayDate ?? '')
  if (!(Math.abs(skewMs) > CLOCK_SKEW_MS_MAX)) return undefined
  const seconds = Math.round(Math.abs(skewMs) / 1000)
  return `set this machine’s clock, which is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} the relay’s`
}

/** The relay's own word, with the time after which it may be asked again. */
class Refused extends Problem {
  readonly waitMs: number | undefined

  constructor(code: ProblemCode, message: string, cure: string | undefined, waitMs: number | undefined) {
    super(code, message, cure === undefined ? {} : { cure })
    this.waitMs = waitMs
  }
}

/** How long the relay wants to be left alone; 0 when it did not say. */
export function toldWaitMs(error: unknown): number {
  return error instanceof Refused ? (error.waitMs ?? 0) : 0
}

export function unreachable(access: Access, cause: unknown): Problem {
  const deepest = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  const why = deepest instanceof Error ? deepest.message || deepest.name : String(deepest)
  return new Problem('relay-unreachable', `${access.relay} does not answer: ${why}`, {
    cause,
    cure: 'check that the relay runs and that its address is right',
  })
}

// What may well be otherwise when asked again.
const PASSING: readonly ProblemCode[] = ['relay-unreachable', 'relay-unavailable', 'rate-limited']

export function isPassing(error: unknown): boolean {
  return error instanceof Problem && PASSING.includes(error.code)
}

function isCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code)
}
