// How many verified requests a trigger and a host may make. It is counted in memory, since a row for each request would be billed. After a
// sleep of the hub every bucket is full again, which does no harm.

import { take, type Bucket } from '../buckets.ts'

export class Limiter {
  readonly #perTrigger: number
  readonly #perHost: number
  readonly #triggers = new Map<string, Bucket>()
  #host: Bucket | undefined

  constructor({ perTrigger, perHost }: { perTrigger: number; perHost: number }) {
    this.#perTrigger = perTrigger
    this.#perHost = perHost
  }

  /**
   * Counts a request, and returns the seconds to wait if it is one too many. Callers count verified requests only: otherwise a stranger could use
   * up a sender's allowance.
   */
  take(stack: string, trigger: string, now: number): number | undefined {
    const key = `${stack}/${trigger}`
    const ofTrigger = take(this.#triggers.get(key), this.#perTrigger, now)
    const ofHost = take(this.#host, this.#perHost, now)
    const waits = [ofTrigger, ofHost].flatMap(({ retryAfterSeconds }) => retryAfterSeconds ?? [])
    if (waits.length > 0) return Math.max(...waits)
    this.#triggers.set(key, ofTrigger.bucket)
    this.#host = ofHost.bucket
    return undefined
  }
}
