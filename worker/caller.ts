// Who asks, as the request says it: a token by Authorization, or a browser's session by cookie. Whether it is any good, the hub says.

import { getCookie } from 'hono/cookie'
import { NAME_PATTERN } from '../shared/limits.ts'
import { relayOrigin, type Ctx } from './env.ts'
import type { Hub } from './hub/hub.ts'
import type { Caller } from './hub/verify.ts'
import { UNAUTHORIZED, refusalResponse } from './refusal.ts'

/** Ours have some 400. A longer one is refused unread. */
const TOKEN_CHARS_MAX = 8192
const TOKEN = /^[\w.-]+$/

type Route = (hub: DurableObjectStub<Hub>, caller: Caller) => Promise<Response>

/** Runs a route for whoever sent a token, on the hub of the route's host. */
export function asHolder(c: Ctx, route: Route): Promise<Response> {
  return asCaller(c, tokenOf(c), route)
}

/**
 * As asHolder, for what only reads: a browser's cookie will do. It counts for nothing but GET, since a browser also sends it for a page
 * that its user did not mean to act by; and only where no Authorization says something else.
 */
export function asReader(c: Ctx, route: Route): Promise<Response> {
  const mayBeCookie = c.req.method === 'GET' && c.req.header('authorization') === undefined
  return asCaller(c, mayBeCookie ? getCookie(c, cookieName(hostOf(c))) : tokenOf(c), route)
}

async function asCaller(c: Ctx, token: string | undefined, route: Route): Promise<Response> {
  const host = hostOf(c)
  if (!NAME_PATTERN.test(host) || token === undefined || token.length > TOKEN_CHARS_MAX || !TOKEN.test(token))
    return refusalResponse(UNAUTHORIZED)
  return route(c.env.HUB.getByName(host), { token, audience: relayOrigin(c.env, c.req.raw) })
}

/** The cookie of a session: kept from scripts, from other sites' requests and from other hosts' routes. */
export function sessionCookie(
  c: Ctx,
  { token, expiresAt }: { token: string; expiresAt: number },
  now: number,
): string {
  const host = hostOf(c)
  const seconds = Math.max(0, Math.floor((expiresAt - now) / 1000))
  const secure = relayOrigin(c.env, c.req.raw).startsWith('https:') ? '; Secure' : ''
  return `${cookieName(host)}=${token}; HttpOnly; SameSite=Strict; Path=/v1/hosts/${host}/; Max-Age=${seconds}${secure}`
}

function tokenOf(c: Ctx): string | undefined {
  return /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
}

const hostOf = (c: Ctx) => c.req.param('host') ?? ''
const cookieName = (host: string) => `ropeway-${host}`
