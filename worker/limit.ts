// The first limit, before any hub is asked: whoever floods a host from one place does not get as far as its Durable Object. A guard, not
// an account: Cloudflare counts in each of its locations. What a trigger may ask for is limited in the hub (hub/limiter.ts).

import { createMiddleware } from 'hono/factory'
import { NAME_PATTERN } from '../shared/limits.ts'
import type { App } from './env.ts'
import { refusalResponse } from './refusal.ts'

/** The period of REQUEST_LIMIT in wrangler.toml: after it there is room again. */
const REQUEST_PERIOD_SECONDS = 10

export const limitRequests = createMiddleware<App>(async (c, next) => {
  const host = c.req.param('host') ?? ''
  // The one header that Cloudflare itself sets; whatever else names an address may be the sender's own invention.
  const source = c.req.header('cf-connecting-ip') ?? ''
  const key = `${source} ${NAME_PATTERN.test(host) ? host : ''}`
  const outcome = await c.env.REQUEST_LIMIT?.limit({ key })
  if (outcome?.success !== false) return next()
  return refusalResponse({
    refused: 'too-many',
    message: 'too many requests from one address',
    retryAfterSeconds: REQUEST_PERIOD_SECONDS,
  })
})
