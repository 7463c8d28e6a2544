// Nobody notices a roll: saturated connections, slow requests, idle clients and WebSockets, all through one stack.

import { once } from 'node:events'
import http from 'node:http'
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { under, type LoadOptions, type LoadResult } from '../support/load.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../support/ropeway.ts'
import {
  SEED_COMPOSE,
  docker,
  seedNginxConf,
  endAll,
  startStack,
  until,
  type Stack,
} from '../support/stack.ts'

/** Long enough to be seen at work, short enough to be waited for. */
const DRAIN = '1500ms'

let stack: Stack
let ropeway: Ropeway
let rolls = 0

beforeAll(async () => {
  stack = await startStack({
    'docker-compose.yml': SEED_COMPOSE,
    // nginx's own word on every reload that it made.
    'proxy/nginx.conf': (await seedNginxConf()).replace('error.log warn', 'error.log notice'),
  })
  const hello = { compose: stack.composeFiles[0], allow: { env: ['MESSAGE'] } }
  ropeway = await startRopeway({ stacks: { hello, impatient: { ...hello, drain: { timeout: DRAIN } } } })
})
afterEach((context) => ropeway.explain(context))
afterAll(() =>
  endAll(
    () => ropeway?.stop(),
    () => stack?.remove(),
  ),
)

/** Rolls to a version that was never there before; its name. */
async function rollOn(name = 'hello'): Promise<string> {
  rolls += 1
  const events = await ropeway.roll(name, { env: { MESSAGE: `{service},r${rolls}` } })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  return `r${rolls}`
}

/** Nothing failed; were it otherwise, the first reasons are shown. */
function expectNoneFailed({ failed, failures }: LoadResult): void {
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] })
}

const underLoad = <T>(options: Omit<LoadOptions, 'ip' | 'port'>, work: () => Promise<T>) =>
  under({ ip: stack.ip, port: 80, ...options }, work)

test('20 saturated keepalive connections lose none of 50,000 requests over three rolls, each of three reloads', async () => {
  const reloads = await reloadsByNginx()
  const [result, versions] = await underLoad(
    { kind: 'keepalive', connections: 20, atLeast: 50_000 },
    async () => [await rollOn(), await rollOn(), await rollOn()],
  )
  expectNoneFailed(result)
  expect(result.requests).toBeGreaterThanOrEqual(50_000)
  // The load did reach every version while it was there.
  for (const version of versions)
    for (const service of ['app1', 'app2'])
      expect(result.answers[`Hi there, I love ! ${service},${version}`]?.count).toBeGreaterThan(0)
  expect(await reloadsByNginx()).toBe(reloads + 9)
})

test('40 POST/s of 1.5 s each lose none, though the app exits at once on SIGTERM', async () => {
  const [result, version] = await underLoad({ kind: 'posts', perSecond: 40, ms: 1500 }, () => rollOn())
  expectNoneFailed(result)
  expect(result.requests).toBeGreaterThan(100)
  // The first to be rolled serves alone while the last is.
  expect(Object.keys(result.answers)).toContain(`Hi there, I love ! app2,${version}`)
})

// An old worker still answers a connection that was idle at the reload, for keepalive_min_timeout (1 s in the example), and by its old
// configuration: it may choose the server that was taken out. Here 160 clients come back after every time from 10 ms to 0.8 s.
test('an idle keepalive client never loses its next request, whenever after a reload it comes', async () => {
  const [result] = await underLoad({ kind: 'idle', connections: 160, ms: 800 }, async () => {
    for (let n = 0; n < 2; n += 1) await rollOn()
  })
  expectNoneFailed(result)
  expect(result.requests).toBeGreaterThan(1000)
})

test('a request that still runs at the drain timeout is cut, and the event says so', async () => {
  const slow = new Set<string>()
  const requests = ['app1', 'app2'].map(() => post(`http://${stack.ip}/?ms=120000`))
  // One went to each server: nginx takes turns.
  await until(async () => (await connectionsTo('app1')) > 0 && (await connectionsTo('app2')) > 0, 'both run')
  rolls += 1
  const events = await ropeway.roll('impatient', { env: { MESSAGE: `{service},r${rolls}` } })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded' })
  const drains = stepsOf(events).filter(({ step }) => step.kind === 'drain')
  expect(drains.map(({ facts }) => facts)).toEqual([
    { cut: 1, timedOut: true },
    { cut: 1, timedOut: true },
  ])
  for (const request of requests) slow.add(await request)
  // The gateway's error: the request was not answered by halves.
  expect(slow).toEqual(new Set(['502']))
})

test('a WebSocket works until its server is drained, and is bounded by the drain timeout', async () => {
  const [first, second] = [await connect(), await connect()]
  const on = (service: string) => [first, second].find(({ hello }) => hello.includes(service))
  const [one, two] = [on('app1'), on('app2')]
  expect([one?.hello, two?.hello]).not.toContain(undefined)
  rolls += 1
  const id = await ropeway.deploy('impatient', { env: { MESSAGE: `{service},r${rolls}` } })

  await ropeway.reached(id, (step) => step.kind === 'drain' && step.service === 'app2')
  expect(await two?.echo('still here')).toBe('still here')
  await two?.closed
  // Its server is gone; the other one's goes on.
  expect(await one?.echo('me too')).toBe('me too')
  await ropeway.reached(id, (step) => step.kind === 'drain' && step.service === 'app1')
  expect(await one?.echo('still here')).toBe('still here')
  await one?.closed

  const events = await ropeway.outcome(id)
  expect(finalOf(events)).toMatchObject({ type: 'succeeded' })
  for (const { step, facts } of stepsOf(events))
    if (step.kind === 'drain') expect(facts).toEqual({ cut: 1, timedOut: true })
  // New ones get to both again.
  const hellos = [await connect(), await connect()].map(({ hello }) => hello)
  expect(hellos.toSorted()).toEqual(['app1', 'app2'].map((service) => `hello from ${service},r${rolls}`))
})

async function reloadsByNginx(): Promise<number> {
  const log = await stack.compose('logs', '--no-log-prefix', 'nginx')
  return [...log.matchAll(/#\d+: reconfiguring$/gm)].length
}

/** A service's connections from anywhere, as its own kernel table has them. */
async function connectionsTo(service: string): Promise<number> {
  const { id } = (await stack.containers())[service]!
  const table = await docker('exec', id, 'cat', '/proc/net/tcp', '/proc/net/tcp6')
  return table.split('\n').filter((line) => /:0BB8 [0-9A-F]+:[0-9A-F]{4} 01 /.test(line)).length
}

async function post(url: string): Promise<string> {
  const request = http.request(url, { method: 'POST', agent: false })
  request.end()
  try {
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    response.resume()
    return String(response.statusCode)
  } catch (error) {
    return String(error)
  }
}

async function connect() {
  const socket = new WebSocket(`ws://${stack.ip}/`)
  onTestFinished(() => socket.terminate())
  const closed = once(socket, 'close')
  const [hello] = (await once(socket, 'message')) as [Buffer]
  const echo = async (text: string) => {
    socket.send(text)
    const [answer] = (await Promise.race([once(socket, 'message'), closed])) as [Buffer | number]
    return String(answer)
  }
  return { hello: String(hello), echo, closed }
}
