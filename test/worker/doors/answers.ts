// What every answer of the relay must be, whatever was asked.

import { request as httpRequest } from 'node:http'
import { expect } from 'vitest'
import { errorSchema } from '../../../shared/api.ts'
import { PROBLEMS } from '../../../shared/problems.ts'

/** What refusal.ts can say but for 503, and the successes. A redirect or a 5xx is never an answer. */
const STATUSES = [200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 415, 429]
const ANSWER_MS_MAX = 10_000

export interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/** As bytes, by node:http: fetch would put paths and headers right first. */
async function ask(
  url: string,
  { method, path, headers, body }: Asked,
): Promise<{ status: number; type: string; text: string }> {
  const { port } = new URL(url)
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(body)
    const outgoing = httpRequest(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        headers: { ...headers, 'content-length': bytes.length },
        agent: false,
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      },
      (response) => {
        // A stream of events stays open: its head is the answer.
        if (response.headers['content-type']?.startsWith('text/event-stream')) {
          resolve({ status: response.statusCode ?? 0, type: 'text/event-stream', text: '' })
          outgoing.destroy()
          return
        }
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part: string) => (text += part))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', text }),
        )
        response.on('error', reject)
      },
    )
    outgoing.on('error', reject)
    outgoing.end(bytes)
  })
}

/** One request, whose answer is a documented one, and gives none of these secrets away. */
export async function answerTo(
  url: string,
  asked: Asked,
  secrets: readonly string[],
): Promise<{ status: number; body: unknown }> {
  const { status, type, text } = await ask(url, asked)
  const where = `${asked.method} ${asked.path} ${JSON.stringify(asked.headers)}: ${status} ${text.slice(0, 300)}`
  expect(STATUSES, where).toContain(status)
  if (asked.method === 'HEAD' || type === 'text/event-stream') return { status, body: undefined }
  if (type.startsWith('text/html')) return { status, body: text }
  expect(type, where).toMatch(/^application\/json/)
  const body: unknown = JSON.parse(text)
  if (status >= 400) {
    const { error } = errorSchema.parse(body)
    expect(Object.keys(PROBLEMS), where).toContain(error.code)
    expect(error.message).toMatch(/^\P{Cc}+$/u)
  }
  // The keys of others are in no answer, whatever was asked.
  for (const secret of secrets) expect(text).not.toContain(secret)
  return { status, body }
}
