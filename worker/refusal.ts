// Refusals: why something was not done. Hub and routes return them as values, since an error loses its type on the way out of a
// Durable Object; here each kind gets its one HTTP answer.

import { PROBLEMS, type ProblemCode } from '../shared/problems.ts'

const KINDS = {
  malformed: { status: 400, code: 'request-invalid' },
  unauthorized: { status: 401, code: 'unauthorized' },
  forbidden: { status: 403, code: 'unauthorized' },
  'not-found': { status: 404, code: 'not-found' },
  'stack-unknown': { status: 404, code: 'stack-unknown' },
  method: { status: 405, code: 'request-invalid' },
  'host-taken': { status: 409, code: 'host-taken' },
  'not-cancellable': { status: 409, code: 'not-cancellable' },
  'agent-offline': { status: 409, code: 'agent-offline' },
  'too-big': { status: 413, code: 'request-invalid' },
  'media-type': { status: 415, code: 'request-invalid' },
  'too-many': { status: 429, code: 'rate-limited' },
  unavailable: { status: 503, code: 'relay-unavailable' },
} as const satisfies Record<string, { status: number; code: ProblemCode }>

// What a client must be told beside the body: how to authenticate, what to send instead, when to come again.
const HEADERS: Partial<Record<keyof typeof KINDS, Record<string, string>>> = {
  unauthorized: { 'www-authenticate': 'Bearer' },
  method: { allow: 'POST' },
  unavailable: { 'retry-after': '5' },
}

export interface Refusal {
  readonly refused: keyof typeof KINDS
  readonly message: string
  readonly cure?: string | undefined
  /** When to come again, where that is known better than by the kind. */
  readonly retryAfterSeconds?: number | undefined
}

/** The same words for every kind of bad credentials, an unknown host included: nobody learns what exists by asking. */
export const UNAUTHORIZED: Refusal = { refused: 'unauthorized', message: PROBLEMS.unauthorized }

export function isRefusal(value: object): value is Refusal {
  return 'refused' in value
}

export function refusalResponse({ refused, message, cure, retryAfterSeconds }: Refusal): Response {
  const { status, code } = KINDS[refused]
  const headers = new Headers(HEADERS[refused])
  if (retryAfterSeconds !== undefined) headers.set('retry-after', String(retryAfterSeconds))
  return Response.json({ error: { code, message, cure } }, { status, headers })
}
