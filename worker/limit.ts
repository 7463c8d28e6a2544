// The first limits, before any hub is asked: whoever floods from one address, or guesses, does not get as far as a Durable Object. Counted
// in the memory of this isolate, so a guard and not an account: what a trigger may ask for is counted in the hub (hub/limiter.ts).

import { createMiddleware } from 'hono/factory'
import { NAME_PATTERN, SOURCE_FAILURES_PER_MINUTE, SOURCE_REQUESTS_PER_MINUTE } from '../shared/limits.ts'
import { take, type Bucket } from './buckets.ts'
import type { App } from './env.ts'
import { refusalResponse } from './refusal.ts'

/** Sources that are remembered, some 100 bytes each. Of more the one that was seen first is forgotten. */
const SOURCES_MAX = 10_000

const requests = new Map<string, Bucket>()
const failures = new Map<string, Bucket>()

export const limitRequests = createMiddleware<App>(async (c, next) => {
  const now = Date.now()
  const perMinute = Number(c.env.SOURCE_REQUESTS_PER_MINUTE) || SOURCE_REQUESTS_PER_MINUTE
  const failuresPerMinute = Number(c.env.SOURCE_FAILURES_PER_MINUTE) || SOURCE_FAILURES_PER_MINUTE
  const host = c.req.param('host') ?? ''
  // The one header that Cloudflare itself sets; whatever else names an address may be the sender's own invention.
  const source = c.req.header('cf-connecting-ip') ?? ''
  const waitSeconds =
    take(failures.get(source), failuresPerMinute, now).retryAfterSeconds ??
    count(requests, `${source} ${NAME_PATTERN.test(host) ? host : ''}`, perMinute, now)
  if (waitSeconds !== undefined)
    return refusalResponse({
      refused: 'too-many',
      message: 'too many requests from one address',
      retryAfterSeconds: waitSeconds,
    })
  await next()
  // Each may have woken the hub of a name that nobody has: these are counted over all hosts.
  if (c.res.status === 401) count(failures, source, failuresPerMinute, now)
})

function count(
  buckets: Map<string, Bucket>,
  key: string,
  perMinute: number,
  now: number,
): number | undefined {
  const { bucket, retryAfterSeconds } = take(buckets.get(key), perMinute, now)
  buckets.set(key, bucket)
  for (const oldest of buckets.keys()) {
    if (buckets.size <= SOURCES_MAX) break
    buckets.delete(oldest)
  }
  return retryAfterSeconds
}
