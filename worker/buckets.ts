// Token buckets, pure: so many in a minute, all of which may come at once.

/** What is left of a minute's allowance, at a time. */
export interface Bucket {
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
