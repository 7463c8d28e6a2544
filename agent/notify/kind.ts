// What a kind of destination is: its own keys in ropeway.yml, and how it tells a notice. One file each; kinds.ts lists them.

import { z } from 'zod'
import type { FaultOf } from '../config/secrets.ts'
import { name } from '../config/values.ts'
import { MOMENTS, type Moment, type Notice } from './notice.ts'

/** A request to a destination. `post.ts` sends it; a test may send it elsewhere. */
export interface Outgoing {
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

/** What came back, or why nothing did. Neither ever holds anything of the address that was asked. */
export type Answer =
  | {
      readonly status: number
      /** By its name in lower case. */
      readonly headers: Headers
      /** The beginning of the body. */
      readonly text: string
    }
  | { readonly fault: string }

export type Send = (request: Outgoing) => Promise<Answer>

export type Outcome =
  | { readonly isSent: true }
  | {
      readonly isSent: false
      /** For the host's log: nothing of a secret, and of an answer only what its kind knows the meaning of. */
      readonly fault: string
      /** Trying again would not help. */
      readonly isFinal: boolean
      /** The destination's own word on when to try again. */
      readonly retryAfterMs?: number | undefined
    }

export interface SendContext {
  readonly send: Send
  readonly nowMs: number
}

export type Sender = (notice: Notice, context: SendContext) => Promise<Outcome>

/** A destination of ropeway.yml. What it keeps secret is known to `tell` alone, so that nothing can print it. */
export interface Destination {
  readonly type: string
  /** Told apart by it in the stack, and in the agent's journal. */
  readonly name: string
  readonly on: readonly Moment[]
  /** Of the secret that it signs with, where it has one: no trigger may have the same. */
  readonly print?: string | undefined
  readonly tell: Sender
}

/** A schema of a secret that ropeway.yml names as { env } or { file }. */
export type SecretSchema = (faultOf: FaultOf) => z.ZodType<string>

const on = z.array(z.enum(MOMENTS, { error: `should be ${MOMENTS.join(', ')}` })).min(1, 'is empty')

/** A destination's schema from what is its kind's own. `senderOf` gets the values of those keys. */
// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function destinationSchema<const T extends string, S extends z.ZodRawShape>(
  type: T,
  keys: S,
  senderOf: (settings: z.output<z.ZodObject<S>>) => Sender,
  printOf?: (settings: z.output<z.ZodObject<S>>) => string,
) {
  return z
    .strictObject({
      type: z.literal(type),
      name: name.default(type),
      on: on.default([...MOMENTS]),
      ...keys,
    })
    .transform((all): Destination => {
      const { type: own, name: called, on: moments } = all as { type: T; name: string; on: Moment[] }
      const settings = all as z.output<z.ZodObject<S>>
      return { type: own, name: called, on: moments, print: printOf?.(settings), tell: senderOf(settings) }
    })
}

/** Statuses that say nothing of the request itself: it may be taken later. */
const PASSING = new Set([408, 425, 429])

/** What an answer means for most kinds. `word`: what the kind could read in the answer, for the log. */
export function outcomeOf(answer: Answer, word?: string): Outcome {
  if ('fault' in answer) return { isSent: false, fault: answer.fault, isFinal: false }
  const { status, headers } = answer
  if (status >= 200 && status < 300) return { isSent: true }
  const isRedirect = status >= 300 && status < 400
  const fault = `HTTP ${status}${isRedirect ? ', a redirect, which is not followed' : ''}${word ? `: ${word}` : ''}`
  const isFinal = status < 500 && !PASSING.has(status)
  return { isSent: false, fault, isFinal, retryAfterMs: retryAfter(headers) }
}

/** Seconds, which may have a fraction, or a date. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after */
export function retryAfter(headers: Headers, nowMs = Date.now()): number | undefined {
  const text = headers.get('retry-after') ?? ''
  if (/^\d{1,9}(?:\.\d{1,9})?$/.test(text)) return Math.ceil(Number(text) * 1000)
  const at = /^[A-Z][a-z]{2}, \d\d /.test(text) ? Date.parse(text) : NaN
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs)
}

/** What is wrong with a webhook's address, without a word of it. `isHost` knows the platform's own hosts. */
export function addressFault(
  text: string,
  { isHost, path, like }: { isHost: (host: string) => boolean; path: RegExp; like: string },
): string | undefined {
  const url = URL.parse(text)
  const isRight =
    url !== null &&
    url.protocol === 'https:' &&
    url.port === '' &&
    url.username === '' &&
    url.password === '' &&
    url.hash === '' &&
    isHost(url.hostname) &&
    path.test(url.pathname)
  return isRight ? undefined : `is not an address as ${like}`
}

export const JSON_HEADERS = { 'content-type': 'application/json' }
