// One request to a destination: no redirect is followed, the answer is read in part, all of it in a bounded time, and what goes wrong is
// told without the address, which is a secret.

import type { Answer, Outgoing } from './kind.ts'

/** A request with its answer. Webhooks take under a second; one that hangs is tried again later. */
export const ANSWER_MS_MAX = 10_000
/** Of an answer's body: a platform's error has some 100 bytes, one of GitHub's deployments 4 KiB. The rest is not read. */
export const ANSWER_BYTES_MAX = 64 * 1024

export async function post(
  { method, url, headers, body }: Outgoing,
  { version, signal, answerMs = ANSWER_MS_MAX }: { version: string; signal: AbortSignal; answerMs?: number },
): Promise<Answer> {
  const deadline = AbortSignal.timeout(answerMs)
  try {
    const response = await fetch(url, {
      method,
      redirect: 'manual',
      signal: AbortSignal.any([signal, deadline]),
      // GitHub refuses a request without a user agent, and Discord may.
      headers: { 'user-agent': `ropeway/${version}`, ...headers },
      ...(body === undefined ? {} : { body }),
    })
    return { status: response.status, headers: response.headers, text: await beginningOf(response) }
  } catch (error) {
    return {
      fault: deadline.aborted ? `no answer within ${answerMs / 1000} s` : `not reached: ${codeOf(error)}`,
    }
  }
}

// The status counts, whatever becomes of the body: a message that was taken must not be sent again for the end of its answer.
async function beginningOf(response: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  try {
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk.subarray(0, ANSWER_BYTES_MAX - bytes), { stream: true })
      bytes += chunk.length
      if (bytes >= ANSWER_BYTES_MAX) break
    }
  } catch {
    // What was read will do.
  }
  return text
}

// Never the message: some name the address.
function codeOf(error: unknown): string {
  for (let each = error; each instanceof Error; each = each.cause) {
    const { code } = each as NodeJS.ErrnoException
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,63}$/.test(code)) return code
  }
  return 'the connection failed'
}
