// The relay's routes, as a table of contents. They parse and answer; what is true and what happens is the hub's business.

import { Hono, type Context } from 'hono'
import { DEPLOYS_LISTED_MAX, NAME_PATTERN } from '../shared/limits.ts'
import { IDEMPOTENCY_KEY_PATTERN } from '../shared/triggers/index.ts'
import { acceptedResponse } from './accepted.ts'
import { readBody, readJsonBody } from './body.ts'
import { enroll } from './enroll.ts'
import { relayOrigin, type Env } from './env.ts'
import { receiveHook } from './hooks.ts'
import type { Hub } from './hub/hub.ts'
import type { Caller } from './hub/verify.ts'
import { openapi } from './openapi.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse, type Refusal } from './refusal.ts'
import { streamEvents } from './watch.ts'

type Ctx = Context<{ Bindings: Env }>

const DEPLOYS_LISTED_DEFAULT = 20
const TOKEN_CHARS_MAX = 8192

export const app = new Hono<{ Bindings: Env }>()

app.use(async (c, next) => {
  await next()
  if (c.res.status !== 101 && !c.res.headers.has('cache-control')) c.header('cache-control', 'no-store')
})

app.get('/healthz', (c) => c.json({ status: 'ok' }))
app.get('/openapi.json', (c) => c.json(openapi(relayOrigin(c.env, c.req.raw))))

app.post('/hooks/:host/:stack/:trigger', (c) => receiveHook(c.env, c.req.raw, c.req.param()))
app.all('/hooks/:host/:stack/:trigger', async (c) => {
  await readBody(c.req.raw)
  return refusalResponse({ refused: 'method', message: 'a hook is called by POST' })
})

app.get('/agent/:host', (c) => {
  if (c.req.header('upgrade')?.toLowerCase() !== 'websocket')
    return refusalResponse({ refused: 'malformed', message: 'the agent connects by WebSocket' })
  return asCaller(c, (hub, { audience }) =>
    hub.fetch(new Request(`https://hub/agent?${new URLSearchParams({ audience })}`, c.req.raw)),
  )
})

app.post('/v1/hosts/:host/enroll', (c) => enroll(c.env, c.req.raw, c.req.param('host')))

app.get('/v1/hosts/:host', (c) => asCaller(c, async (hub, caller) => answer(await hub.hostState(caller))))

app.get('/v1/hosts/:host/stacks/:stack', (c) =>
  asCaller(c, async (hub, caller) => answer(await hub.stackState(caller, c.req.param('stack')))),
)

app.post('/v1/hosts/:host/stacks/:stack/deploys', async (c) => {
  const body = await readJsonBody(c.req.raw)
  return asCaller(c, async (hub, caller) => {
    if (isRefusal(body)) return refusalResponse(body)
    const idempotencyKey = c.req.header('idempotency-key') ?? crypto.randomUUID()
    if (!IDEMPOTENCY_KEY_PATTERN.test(idempotencyKey))
      return refusalResponse({
        refused: 'malformed',
        message: `Idempotency-Key must match ${IDEMPOTENCY_KEY_PATTERN}`,
      })
    const { host, stack } = c.req.param()
    const accepted = await hub.deploy(caller, stack, { idempotencyKey, body })
    if (isRefusal(accepted)) return refusalResponse(accepted)
    if (c.req.query('wait') === undefined)
      return acceptedResponse(accepted, { host, stack, origin: caller.audience })
    return streamEvents(hub, caller, { deploy: accepted.deploy, after: 0, scope: 'deploy' }, c.req.raw.signal)
  })
})

app.get('/v1/hosts/:host/deploys', (c) =>
  asCaller(c, async (hub, caller) => {
    const limit = Number(c.req.query('limit') ?? DEPLOYS_LISTED_DEFAULT)
    if (!Number.isInteger(limit) || limit < 1 || limit > DEPLOYS_LISTED_MAX)
      return refusalResponse({
        refused: 'malformed',
        message: `limit must be a number from 1 to ${DEPLOYS_LISTED_MAX}`,
      })
    return answer(await hub.deploys(caller, { stack: c.req.query('stack'), limit }))
  }),
)

app.get('/v1/hosts/:host/deploys/:id', (c) =>
  asCaller(c, async (hub, caller) => answer(await hub.deployDetails(caller, c.req.param('id')))),
)

app.get('/v1/hosts/:host/deploys/:id/events', (c) =>
  asCaller(c, async (hub, caller) => {
    const deploy = c.req.param('id')
    // By the standard a browser sends back what it was sent; anything else means from the beginning.
    const after = Number(/^\d{1,15}$/.exec(c.req.header('last-event-id') ?? '')?.[0] ?? 0)
    if (c.req.method === 'HEAD' || c.req.header('accept')?.includes('application/json'))
      return answer(await hub.deployEvents(caller, deploy, after))
    return streamEvents(hub, caller, { deploy, after, scope: 'read' }, c.req.raw.signal)
  }),
)

app.notFound(async (c) => {
  await readBody(c.req.raw)
  return refusalResponse({
    refused: 'not-found',
    message: 'there is no such route',
    cure: 'see /openapi.json',
  })
})

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

/** Runs a route for whoever sent a token, on the hub of the route's host. Whether the token is any good is for the hub to say. */
async function asCaller(
  c: Ctx,
  route: (hub: DurableObjectStub<Hub>, caller: Caller) => Promise<Response>,
): Promise<Response> {
  const host = c.req.param('host') ?? ''
  const token = /^Bearer ([\w.-]+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
  if (!NAME_PATTERN.test(host) || token === undefined || token.length > TOKEN_CHARS_MAX)
    return refusalResponse(UNAUTHORIZED)
  return route(c.env.HUB.getByName(host), { token, audience: relayOrigin(c.env, c.req.raw) })
}

function answer(value: object | Refusal): Response {
  return isRefusal(value) ? refusalResponse(value) : Response.json(value)
}
