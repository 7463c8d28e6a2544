// How many verified requests a trigger and a host may make. In memory: after a nap of the hub every bucket is full again, which costs
// nobody anything, while a row for each request would be billed.

/** What is left of a minute's allowance, at a time. */
interface Bucket {
  readonly left: number
  readonly at: number
}

const MINUTE_MS = 60_000

/** Takes one from a bucket that fills up by `perMinute`, and holds as many; or says after how many seconds there will be one. */
export function take(
  bucket: Bucket | undefined,
  perMinute: number,
  now: number,
): { bucket: Bucket; retryAfterSeconds: number | undefined } {
  const { left, at } = bucket ?? { left: perMinute, at: now }
  const filled = Math.min(perMinute, left + (Math.max(0, now - at) * perMinute) / MINUTE_MS)
  if (filled >= 1) return { bucket: { left: filled - 1, at: now }, retryAfterSeconds: undefined }
  const waitMs = ((1 - filled) * MINUTE_MS) / perMinute
  return { bucket: { left: filled, at: now }, retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) }
}

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
