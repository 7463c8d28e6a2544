// Calls to a chat's platform. Only the hosts that the platform's file lists are called, whatever address a request named.

import { z } from 'zod'
import type { Call, CallAnswer } from '../../../shared/chat/platform.ts'

/** A platform answers in a tenth of a second. One that does not is asked again later. */
const ANSWER_MS_MAX = 3000
/** The answers that we read name a message, and are short. A longer one is not read. */
const ANSWER_BYTES_MAX = 64 * 1024

/** The answer, or undefined when there is none. Throws for an address that is not the platform's own. */
export async function send(call: Call, hosts: readonly string[]): Promise<CallAnswer | undefined> {
  if (!isOwn(call.url, hosts)) throw new Error('a call to an address that is not the platform’s')
  const { method, url, headers, body } = call
  try {
    // A redirect is not followed, since it could lead to any host.
    const signal = AbortSignal.timeout(ANSWER_MS_MAX)
    const response = await fetch(url, {
      method,
      headers,
      body: JSON.stringify(body),
      redirect: 'manual',
      signal,
    })
    const said = parsed(await limitedText(response))
    return { status: response.status, retryAfterSeconds: retryAfterOf(response.headers, said), body: said }
  } catch {
    return undefined
  }
}

const waitSchema = z.union([
  z.object({ retry_after: z.number() }),
  z.object({ parameters: z.object({ retry_after: z.number() }) }).transform(({ parameters }) => parameters),
])

// In a header, or, as Discord and Telegram have it, in the body.
function retryAfterOf(headers: Headers, body: unknown): number | undefined {
  const seconds = Number(headers.get('retry-after') ?? waitSchema.safeParse(body).data?.retry_after)
  return Number.isFinite(seconds) && seconds > 0 ? seconds : undefined
}

/** Whether an address is on one of these hosts, by https: with no user, and no port but the host's own. */
export function isOwn(text: string, hosts: readonly string[]): boolean {
  const url = URL.parse(text)
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') return false
  // `host` has the port, where it is not https' own.
  return hosts.includes(url.host)
}

async function limitedText(response: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) return ''
    text += decoder.decode(chunk, { stream: true })
  }
  return text
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
