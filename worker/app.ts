// The relay's routes, as a table of contents. They parse and answer; what is true and what happens is the hub's business.

import { Hono } from 'hono'
import type { z } from 'zod'
import { revocationSchema, rotationSchema, type cancelSchema, type sessionSchema } from '../shared/api.ts'
import { DEPLOYS_LISTED_MAX } from '../shared/limits.ts'
import { receiveAsk } from './asks.ts'
import { jsonBody, jsonBytes } from './body.ts'
import { asHolder, asReader, sessionCookie } from './caller.ts'
import { receiveChat } from './chats.ts'
import { enroll } from './enroll.ts'
import { relayOrigin, type App, type Ctx } from './env.ts'
import { every } from './every.ts'
import { receiveHint, receiveHook } from './hooks.ts'
import type { Query } from './hub/reads.ts'
import { limitRequests } from './limit.ts'
import { openapi } from './openapi.ts'
import { watchPage } from './page.ts'
import { isRefusal, refusalResponse, type Refusal } from './refusal.ts'
import { streamEvents } from './watch.ts'

const DEPLOYS_LISTED_DEFAULT = 20

export const app = new Hono<App>()

app.use(every)
app.use('/hooks/:host/*', limitRequests)
app.use('/agent/:host', limitRequests)
app.use('/v1/hosts/:host/*', limitRequests)

app.get('/healthz', (c) => c.json({ status: 'ok' }))
app.get('/openapi.json', (c) => c.json(openapi(relayOrigin(c.env, c.req.raw))))
app.get('/watch', () => watchPage())

app.post('/hooks/:host/:chat', (c) => receiveChat(c, c.req.param()))
app.post('/hooks/:host/:stack/:trigger', (c) => receiveHook(c, c.req.param()))
app.post('/hooks/:host/:stack/:trigger/:secret', (c) => receiveHint(c, c.req.param()))
const isNoPost = () => refusalResponse({ refused: 'method', message: 'a hook is called by POST' })
app.all('/hooks/:host/:chat', isNoPost)
app.all('/hooks/:host/:stack/:trigger/:secret?', isNoPost)

app.get('/agent/:host', (c) => {
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket')
    return refusalResponse({ refused: 'malformed', message: 'the agent connects by WebSocket' })
  return asHolder(c, (hub, { audience }) =>
    hub.fetch(`https://hub/agent?${new URLSearchParams({ audience })}`, { headers: c.req.raw.headers }),
  )
})

app.post('/v1/hosts/:host/enroll', (c) => enroll(c, c.req.param('host')))

app.post('/v1/hosts/:host/keys', (c) =>
  asHolder(c, async (hub, caller) => {
    const rotation = jsonBody(c, rotationSchema)
    return answer(isRefusal(rotation) ? rotation : await hub.rotateKey(caller, rotation))
  }),
)

app.put('/v1/hosts/:host/revoked', (c) =>
  asHolder(c, async (hub, caller) => {
    const revocation = jsonBody(c, revocationSchema)
    return answer(isRefusal(revocation) ? revocation : await hub.revoke(caller, revocation.ids))
  }),
)

app.post('/v1/hosts/:host/session', (c) =>
  asHolder(c, async (hub, caller) => {
    const session = await hub.session(caller)
    if (isRefusal(session)) return refusalResponse(session)
    const { expiresAt } = session
    const cookie = sessionCookie(c, session, Date.now())
    return Response.json({ expiresAt } satisfies z.infer<typeof sessionSchema>, {
      headers: { 'set-cookie': cookie },
    })
  }),
)

app.get('/v1/hosts/:host', (c) => answerRead(c, { kind: 'host' }))

app.get('/v1/hosts/:host/stacks/:stack', (c) => answerRead(c, { kind: 'stack', stack: c.req.param('stack') }))

app.post('/v1/hosts/:host/stacks/:stack/deploys', (c) => receiveAsk(c, 'deploy', c.req.param()))
app.post('/v1/hosts/:host/stacks/:stack/rollback', (c) => receiveAsk(c, 'rollback', c.req.param()))

app.get('/v1/hosts/:host/stacks/:stack/releases', (c) =>
  answerRead(c, limited(c, { kind: 'releases', stack: c.req.param('stack') })),
)

app.get('/v1/hosts/:host/deploys', (c) =>
  answerRead(c, limited(c, { kind: 'deploys', stack: c.req.query('stack') })),
)

app.get('/v1/hosts/:host/deploys/:id', (c) => answerRead(c, { kind: 'deploy', id: c.req.param('id') }))

app.get('/v1/hosts/:host/deploys/:id/events', (c) =>
  asReader(c, async (hub, caller) => {
    const deploy = c.req.param('id')
    // By the standard a browser sends back what it was sent; anything else means from the beginning.
    const after = Number(/^\d{1,15}$/.exec(c.req.header('last-event-id') ?? '')?.[0] ?? 0)
    if (c.req.method === 'HEAD' || c.req.header('accept')?.includes('application/json'))
      return answer(await hub.read(caller, { kind: 'events', id: deploy, after }))
    return streamEvents(hub, caller, { deploy, after, scope: 'read' }, c.req.raw.signal)
  }),
)

app.post('/v1/hosts/:host/deploys/:id/cancel', (c) =>
  asHolder(c, async (hub, caller) => {
    const body = jsonBytes(c)
    if (isRefusal(body)) return refusalResponse(body)
    const cancelled = await hub.cancel(caller, c.req.param('id'), body)
    if (isRefusal(cancelled)) return refusalResponse(cancelled)
    return Response.json(cancelled satisfies z.infer<typeof cancelSchema>, {
      status: cancelled.status === 'cancelling' ? 202 : 200,
    })
  }),
)

app.notFound(() =>
  refusalResponse({
    refused: 'not-found',
    message: 'there is no such route',
    cure: 'see /openapi.json',
  }),
)

// The hub could not be reached or could not store: nothing was accepted, and the sender may try again. The message stays out of the
// log, since it may quote what was sent.
app.onError((error) => {
  console.error(`${error.name}\n${error.stack?.match(/^\s+at .*$/gm)?.join('\n')}`)
  return refusalResponse({
    refused: 'unavailable',
    message: 'the relay could not store or look up what was asked',
    cure: 'try again in a few seconds',
  })
})

/** The query, with how many the caller wants listed. */
function limited<Q extends object>(c: Ctx, query: Q): (Q & { limit: number }) | Refusal {
  const limit = Number(c.req.query('limit') ?? DEPLOYS_LISTED_DEFAULT)
  if (Number.isInteger(limit) && limit >= 1 && limit <= DEPLOYS_LISTED_MAX) return { ...query, limit }
  return { refused: 'malformed', message: `limit must be a number from 1 to ${DEPLOYS_LISTED_MAX}` }
}

// Whoever sends no token gets 401, also where the query makes no sense.
function answerRead(c: Ctx, query: Query | Refusal): Promise<Response> {
  return asReader(c, async (hub, caller) => answer(isRefusal(query) ? query : await hub.read(caller, query)))
}

function answer(value: object | Refusal): Response {
  return isRefusal(value) ? refusalResponse(value) : Response.json(value)
}
