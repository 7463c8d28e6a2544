// What holds for every request and every answer, whatever the route.

import { createMiddleware } from 'hono/factory'
import { HOOK_BODY_BYTES_MAX, PUSH_BODY_BYTES_MAX } from '../shared/limits.ts'
import { readBody } from './body.ts'
import type { App } from './env.ts'
import { untilUnauthorizedMayLeave } from './unauthorized.ts'

export const every = createMiddleware<App>(async (c, next) => {
  const isHook = c.req.path.startsWith('/hooks/')
  c.set('body', await readBody(c.req.raw, isHook ? PUSH_BODY_BYTES_MAX : HOOK_BODY_BYTES_MAX))
  // Only now, for a sender who takes long over the body must not use up the time that a 401 takes.
  const cameAt = Date.now()
  await next()
  if (c.res.status === 101) return
  if (c.res.status === 401) await untilUnauthorizedMayLeave(cameAt)
  if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store')
  // Whose signatures are refused can see here whether their own clock is wrong.
  c.header('date', new Date().toUTCString())
})
