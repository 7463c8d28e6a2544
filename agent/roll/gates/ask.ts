// Asks a member, or the proxy itself. The agent asks; where it reaches no container, as with a rootless engine or one in a virtual machine, the
// question is asked from where the proxy stands.

import type { Http, Remote } from '../../ports.ts'

/** The limit of one question. A healthy app answers well within it, and an app that hangs must not hold up the gate. */
export const ASK_MS_MAX = 2_000
/** The limit of a request through the proxy, which may first wait for another server. */
export const DOOR_MS_MAX = 5_000
/** From where a question is asked. */
export type From = 'agent' | 'proxy'

export interface HttpTarget extends Remote {
  readonly path: string
  readonly host: string
  readonly tls: boolean
}

/** A status, or why there is none. */
export type Answer = { readonly status: number } | Unanswered

export interface Unanswered {
  readonly fault: string
  /**
   * `silence`: nothing was heard of the other side, not even a refusal. `unasked`: there was no way to ask. `no-http`: it took the connection,
   * and speaks something else.
   */
  readonly kind?: 'silence' | 'unasked' | 'no-http'
}

export interface Asker {
  http(target: HttpTarget, signal: AbortSignal, timeoutMs?: number): Promise<Answer>
  /** Whether a TCP connection is taken: why not, or undefined. */
  tcp(remote: Remote, signal: AbortSignal): Promise<Unanswered | undefined>
}

const SILENCE = /^(?:EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|ECONNABORTED|EADDRNOTAVAIL|no answer\b)/

/** Node's errors where the answer was no HTTP, the TLS handshake failed, or the other side hung up. Curl's 1, 8, 35, 52 and 56 mean the same. */
const NO_HTTP = /^(?:HPE_|ERR_SSL|ERR_TLS|EPROTO|ECONNRESET|EPIPE|no HTTP|curl's fault (?:1|8|35|52|56)$)/

/** Why there was no answer, by what an HTTP client or one of our scripts says. */
export function unanswered(fault: string): Unanswered {
  const kind = SILENCE.test(fault) ? 'silence' : NO_HTTP.test(fault) ? 'no-http' : undefined
  return { fault, ...(kind === undefined ? {} : { kind }) }
}

/** Asks from where the agent stands. */
export function askerHere(http: Http): Asker {
  return {
    async http(target, signal, timeoutMs = ASK_MS_MAX) {
      const answer = await http.get(target, timeoutMs, signal)
      return 'fault' in answer ? unanswered(answer.fault) : answer
    },
    async tcp(remote, signal) {
      const fault = await http.connect(remote, ASK_MS_MAX, signal)
      return fault === undefined ? undefined : unanswered(fault)
    },
  }
}
