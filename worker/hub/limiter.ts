// How many verified requests a trigger and a host may make. In memory: after a nap of the hub every bucket is full again, which costs
// nobody anything, while a row for each request would be billed.

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

  /** Counts a verified request; only verified ones, so that nobody can use up a sender's allowance. Seconds to wait, if it is one too many. */
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
