// From the sender to the agent whatever happens between: forged requests, a relay that dies, a wire that breaks, an agent that stops.

import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { finalOf, idOfHook, secretName, startRopeway, type Ropeway } from '../support/ropeway.ts'
import type { HookOptions } from '../support/hook.ts'
import { SEED_COMPOSE, endAll, startStack, until, type Stack } from '../support/stack.ts'
import { under } from '../support/load.ts'
import { startWire, type Wire } from './wire.ts'

const COMPOSE = SEED_COMPOSE.replaceAll('    expose:', '    volumes: [./gate:/gate]\n    expose:')

let stack: Stack
let wire: Wire
let ropeway: Ropeway
let nginxConf: string

beforeAll(async () => {
  stack = await startStack({
    'docker-compose.yml': COMPOSE,
    'gate/README': 'see app/server.js',
    'other.secret': `whsec_${randomBytes(32).toString('base64')}\n`,
  })
  nginxConf = await stack.read('proxy/nginx.conf')
  ropeway = await startRopeway({
    stacks: {
      hello: { compose: stack.composeFiles[0], health: { path: '/ready' }, allow: { env: ['MESSAGE'] } },
      other: {
        compose: stack.composeFiles[0],
        triggers: {
          deploy: { type: 'standard-webhooks', secret: { file: join(stack.folder, 'other.secret') } },
        },
      },
      twin: { compose: stack.composeFiles[0] },
    },
    throughPort: async (relayPort) => (wire = await startWire(relayPort)).port,
  })
})
afterEach((context) => ropeway.explain(context))
afterAll(() =>
  endAll(
    () => ropeway?.stop(),
    () => wire?.close(),
    () => stack?.remove(),
  ),
)

const BODY = { env: { MESSAGE: '{service},v2' } }
const now = () => Math.floor(Date.now() / 1000)

const REFUSED: Record<string, { status: number; body?: object | string; options: HookOptions }> = {
  'a body that was changed': {
    status: 401,
    options: { tamper: (request) => (request.body = request.body.replace('v2', 'v3')) },
  },
  'an id that was changed': {
    status: 401,
    options: { tamper: ({ headers }) => (headers['webhook-id'] += 'x') },
  },
  'a time that was changed': {
    status: 401,
    options: { tamper: ({ headers }) => (headers['webhook-timestamp'] = String(now() - 1)) },
  },
  'a signature that was changed': {
    status: 401,
    options: {
      tamper: ({ headers }) =>
        (headers['webhook-signature'] = `v1,${Buffer.alloc(32, 1).toString('base64')}`),
    },
  },
  'no signature': {
    status: 401,
    options: { tamper: ({ headers }) => void delete headers['webhook-signature'] },
  },
  'a stale request': { status: 401, options: { timestampSeconds: now() - 3600 } },
  'a request from the future': { status: 401, options: { timestampSeconds: now() + 3600 } },
  'another stack’s address': {
    status: 401,
    options: { tamper: (request) => (request.url = request.url.replace('/hello/', '/other/')) },
  },
  'an unknown stack’s address': {
    status: 401,
    options: { tamper: (request) => (request.url = request.url.replace('/hello/', '/nowhere/')) },
  },
  'another host’s address': {
    status: 401,
    options: { tamper: (request) => (request.url = request.url.replace('/vps-1/', '/vps-2/')) },
  },
  'another trigger’s address': {
    status: 401,
    options: { tamper: (request) => (request.url = request.url.replace('/deploy', '/push')) },
  },
  'a name that is none': {
    status: 401,
    options: { tamper: (request) => (request.url = request.url.replace('/hello/', '/..%2fhello/')) },
  },
  'a form': {
    status: 415,
    options: { tamper: ({ headers }) => (headers['content-type'] = 'application/x-www-form-urlencoded') },
  },
  'a body that is too big': { status: 413, body: { reason: 'x'.repeat(300_000) }, options: {} },
  'a body that is no JSON': { status: 400, body: 'MESSAGE=v2', options: {} },
  'a field that is none of ours': { status: 400, body: { command: 'reboot' }, options: {} },
  'an image that is an option': { status: 400, body: { image: '--privileged' }, options: {} },
  'an image that is a command': { status: 400, body: { image: 'app:v2;reboot' }, options: {} },
}

test.each(Object.entries(REFUSED))('refused before anything happens: %s', async (_what, refused) => {
  const before = await stack.containers()
  const deploys = await ropeway.get('/deploys?limit=100')
  const { status, body } = await ropeway.hook('hello', refused.body ?? BODY, refused.options)
  expect(status).toBe(refused.status)
  // Whoever cannot sign learns nothing: one answer for every reason.
  if (status === 401)
    expect(body).toEqual({
      error: { code: 'unauthorized', message: 'the credentials are missing, wrong or expired' },
    })
  expect(await ropeway.get('/deploys?limit=100')).toEqual(deploys)
  expect(await stack.containers()).toEqual(before)
})

// No address is part of what Standard Webhooks sign: with one secret, a hook for one stack would be as good for the other.
test('an agent whose stacks share a secret does not start, and says which', async () => {
  const { exitCode, stderr } = await ropeway.cli(['agent'], {
    [secretName('twin')]: ropeway.secretOf('hello'),
  })
  expect(exitCode).toBe(2)
  expect(stderr).toContain('stacks.twin.triggers.deploy.secret')
  expect(stderr).toContain('stacks.hello.triggers.deploy.secret')
  expect(stderr).not.toContain(ropeway.secretOf('hello'))
})

test('a replay is the same deploy, and runs once', async () => {
  const replay = { id: 'msg_replay', timestampSeconds: now() }
  const first = await ropeway.hook('hello', { env: { MESSAGE: '{service},v1b' } }, replay)
  expect(first).toMatchObject({ status: 202, body: { status: 'accepted', agent: 'online' } })
  const id = String(first.body.deploy.id)
  expect(id).toBe(await idOfHook('hello', 'msg_replay'))
  const during = await ropeway.hook('hello', { env: { MESSAGE: '{service},v1b' } }, replay)
  const events = await ropeway.outcome(id)
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })

  const containers = await stack.containers()
  const after = await ropeway.hook('hello', { env: { MESSAGE: '{service},v1b' } }, replay)
  for (const again of [during, after])
    expect(again).toMatchObject({ status: 200, body: { status: 'duplicate', deploy: { id } } })
  expect((await ropeway.deploys('hello')).filter((one) => one === id)).toHaveLength(1)
  expect(await ropeway.eventsNow(id)).toEqual(events)
  expect(await stack.containers()).toEqual(containers)
})

test('an agent that is offline gets the request when it comes', async () => {
  await ropeway.stopAgent()
  const { status, body } = await ropeway.hook('hello', { env: { MESSAGE: '{service},v1c' } })
  expect({ status, body }).toMatchObject({ status: 202, body: { status: 'accepted', agent: 'offline' } })
  const id = String(body.deploy.id)
  expect((await ropeway.eventsNow(id)).map(({ event }) => event.type)).toEqual(['accepted'])
  await ropeway.startAgent()
  expect(finalOf(await ropeway.outcome(id))).toMatchObject({ type: 'succeeded', changed: true })
})

test('the relay is killed in the middle of a roll: the roll goes on, and every event arrives once when it is back', async () => {
  await standing('v2', async (id, go) => {
    await ropeway.killRelay()
    await go()
    await until(hasRolled('v2'), 'the roll ends without its relay')
    await ropeway.startRelay()
    const events = await ropeway.outcome(id)
    expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
    expectEveryStepOnce(events)
  })
})

test('the wire breaks in the middle of a roll: the roll goes on, and every event arrives once when it is mended', async () => {
  await standing('v3', async (id, go) => {
    wire.cut()
    await go()
    await until(hasRolled('v3'), 'the roll ends without its wire')
    wire.mend()
    const events = await ropeway.outcome(id)
    expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
    expectEveryStepOnce(events)
  })
})

test('the agent is told to stop in the middle of a roll: it undoes it first', async () => {
  const before = await picture()
  await standing('v2', async (id) => {
    await ropeway.stopAgent('SIGTERM')
    expect(await picture()).toEqual(before)
    const events = await ropeway.outcome(id)
    expect(finalOf(events)).toMatchObject({ type: 'failed', problem: { code: 'interrupted' } })
  })
  await ropeway.startAgent()
})

test('the agent is killed in the middle of a roll: the next one takes the stack back to what it was', async () => {
  const before = await picture()
  await standing('v2', async (id) => {
    await ropeway.stopAgent('SIGKILL')
    // Left in the middle: the new version stands, out of the upstream.
    expect(await picture()).not.toEqual(before)
    await ropeway.startAgent()
    const events = await ropeway.outcome(id)
    expect(finalOf(events)).toMatchObject({ type: 'failed', problem: { code: 'interrupted' } })
    expect(await picture()).toEqual(before)
    expect(new Set(await stack.answers()).size).toBe(2)
  })
  // And the stack can be rolled again.
  const events = await ropeway.roll('hello', { env: { MESSAGE: '{service},v1d' } })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
})

/** Begins a roll to a version that is not ready until `go`, under load, of which nothing may fail. */
async function standing(
  version: string,
  work: (id: string, go: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const gate = join(stack.folder, `gate/closed-${version}`)
  const go = () => rm(gate, { force: true })
  await writeFile(gate, '')
  try {
    const [load] = await under({ ip: stack.ip, port: 80, kind: 'keepalive', connections: 4 }, async () => {
      const id = await ropeway.deploy('hello', { image: `ropeway-test-app:${version}` })
      await ropeway.reached(id, ({ kind }) => kind === 'await-healthy')
      // Up, though not ready: a process that has only just begun would sit out Docker's whole grace time when it is stopped again.
      const ip = (await stack.containers())['app2']?.ip
      await until(async () => (await fetch(`http://${ip}:3000/ready`)).status === 503, 'the new app stands')
      await work(id, go)
    })
    expect({ failed: load.failed, failures: load.failures }).toEqual({ failed: 0, failures: [] })
  } finally {
    await go()
  }
}

/** Whether nothing is left to do: both instances run the version, and nginx.conf is the user's own again. */
function hasRolled(version: string): () => Promise<boolean> {
  return async () => {
    const { app1, app2 } = await stack.containers()
    const isThere = [app1, app2].every((app) => app?.env.includes(`VERSION=${version}`))
    return isThere && (await stack.read('proxy/nginx.conf')) === nginxConf
  }
}

async function picture() {
  const containers = Object.entries(await stack.containers()).map(([service, { state, imageId, env }]) => [
    service,
    { state, imageId, env },
  ])
  return {
    compose: await stack.read('docker-compose.yml'),
    nginx: await stack.read('proxy/nginx.conf'),
    containers: Object.fromEntries(containers) as object,
  }
}

function expectEveryStepOnce(events: Awaited<ReturnType<Ropeway['outcome']>>): void {
  const planned = events.find(({ event }) => event.type === 'planned')?.event
  const count = planned?.type === 'planned' ? planned.plan.steps.length : 0
  const steps = Array.from({ length: count }, (_, step) => step)
  for (const type of ['step-started', 'step-finished'] as const)
    expect(events.flatMap(({ event }) => (event.type === type ? [event.step] : []))).toEqual(steps)
}
