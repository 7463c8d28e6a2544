// Whatever goes wrong, the deploy fails with its reason, the stack is as before, and no request notices.

import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { LoggedEvent, ToldEvent } from '../../shared/events.ts'
import { under, type LoadOptions, type LoadResult } from '../support/load.ts'
import { startRegistry, type Registry } from '../support/registry.ts'
import { freePort } from '../support/port.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../support/ropeway.ts'
import { SEED_COMPOSE, seedNginxConf, endAll, startStack, type Stack } from '../support/stack.ts'

/** Nobody is ever given this port. */
const noRegistry = '127.0.0.1:1'
const COMPOSE = SEED_COMPOSE.replaceAll('    expose:', '    volumes: [./gate:/gate]\n    expose:')

let stack: Stack
let ropeway: Ropeway
let registry: Registry
let nginxConf: string

beforeAll(async () => {
  nginxConf = await seedNginxConf()
  stack = await startStack({ 'docker-compose.yml': COMPOSE, 'gate/README': 'see app/server.js' })
  registry = await startRegistry(await freePort())
  const hello = {
    compose: stack.composeFiles[0],
    // Long, for a test may hold the gate closed; short where nobody gets healthy.
    health: { path: '/ready', timeout: '30s' },
    allow: { images: ['ropeway-test-app', `${registry.address}/app`, `${noRegistry}/app`], env: ['MESSAGE'] },
  }
  ropeway = await startRopeway({
    stacks: {
      hello,
      impatient: { ...hello, health: { ...hello.health, timeout: '5s' } },
      watched: { ...hello, soak: '30s' },
      thorough: { ...hello, health: { ...hello.health, successes: 3, interval: '200ms' } },
      strange: { ...hello, instances: ['app1', 'app9'] },
    },
  })
})
afterEach((context) => ropeway.explain(context))
afterAll(() =>
  endAll(
    () => ropeway?.stop(),
    () => stack?.remove(),
    () => registry?.stop(),
  ),
)

const LOAD = { kind: 'idle', connections: 8, ms: 40 } as const

interface Failure {
  readonly events: LoggedEvent[]
  readonly problem: Extract<ToldEvent, { type: 'failed' }>['problem']
  readonly load: LoadResult
}

/** Deploys under load what must fail, and sees that the stack is as before. Before any step, its very containers are. */
async function failing(
  name: string,
  request: object,
  options: { meanwhile?: (id: string) => Promise<void>; load?: Omit<LoadOptions, 'ip' | 'port'> } = {},
): Promise<Failure> {
  const before = await picture()
  const containers = await stack.containers()
  const [load, events] = await under({ ip: stack.ip, port: 80, ...(options.load ?? LOAD) }, async () => {
    const id = await ropeway.deploy(name, request)
    await options.meanwhile?.(id)
    return await ropeway.outcome(id)
  })
  const final = finalOf(events)
  if (final.type !== 'failed') throw new Error(`not failed: ${JSON.stringify(final)}`)
  expect(await picture()).toEqual(before)
  if (!stepsOf(events).some(({ step }) => step.kind !== 'pull'))
    expect(await stack.containers()).toEqual(containers)
  expect(new Set(await stack.answers())).toEqual(
    new Set(['Hi there, I love ! app1,v1', 'Hi there, I love ! app2,v1']),
  )
  // Every problem names its cure, or carries what the container said.
  expect(final.problem.cure ?? final.problem.log).toBeTruthy()
  return { events, problem: final.problem, load }
}

/** What a user would compare: both files, byte for byte, and what each service runs. */
async function picture() {
  const containers = Object.entries(await stack.containers()).map(([service, container]) => [
    service,
    { state: container.state, imageId: container.imageId, image: container.image, env: container.env },
  ])
  return {
    compose: await stack.read('docker-compose.yml'),
    nginx: await stack.read('proxy/nginx.conf'),
    containers: Object.fromEntries(containers) as Record<string, object>,
  }
}

function expectNoneFailed({ failed, failures, requests }: LoadResult): void {
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] })
  expect(requests).toBeGreaterThan(0)
}

test('an image that does not exist', async () => {
  const image = `${registry.address}/app:nope`
  const { problem, load } = await failing('hello', { image })
  expect(problem).toMatchObject({ code: 'image-not-found', message: `docker pull ${image} failed` })
  expect(problem.log?.join()).toContain('not found')
  expectNoneFailed(load)
})

test('a registry that is not there', async () => {
  const { problem, load } = await failing('hello', { image: `${noRegistry}/app:v2` })
  expect(problem.code).toBe('pull-failed')
  expect(problem.log?.join()).toContain('connection refused')
  expectNoneFailed(load)
})

test('a container that exits at its start', async () => {
  const { problem, load, events } = await failing('hello', { image: 'ropeway-test-app:exits' })
  expect(problem).toMatchObject({ code: 'container-exited', log: ['cannot reach the database'] })
  expect(problem.message).toMatch(/app2-1 stopped with exit code 3$/)
  // The other instance was never touched.
  expect(stepsOf(events).some(({ step }) => step.kind === 'update' && step.service === 'app1')).toBe(false)
  expectNoneFailed(load)
})

test('a container that never gets healthy', async () => {
  const { problem, load } = await failing('impatient', { image: 'ropeway-test-app:sick' })
  expect(problem).toMatchObject({ code: 'container-unhealthy', log: ['cannot write to the disk'] })
  expect(problem.message).toMatch(/^app2 was not healthy within 5 s: GET \/ready at .* answers 500$/)
  expectNoneFailed(load)
})

test('a container that was healthy and crashes in its soak time', async () => {
  const { problem, load } = await failing(
    'watched',
    { image: 'ropeway-test-app:v2' },
    { meanwhile: (id) => crash(id, 'app2', 'soak') },
  )
  expect(problem).toMatchObject({ code: 'container-exited', log: ['out of memory'] })
  // The old instance is in too, and nginx asks it instead.
  expectNoneFailed(load)
})

test('a container that answers two probes and crashes before a third', async () => {
  const { problem, load } = await failing('thorough', { image: 'ropeway-test-app:crashes' })
  expect(problem.code).toBe('container-exited')
  expect(problem.message).toMatch(/app2-1 stopped with exit code 4$/)
  expectNoneFailed(load)
})

// Without a soak time and with two instances only, the new one serves alone while the other is replaced. If it crashes just then, nobody
// is left to answer until another is back: the one failure that loses requests, for as long as the way back takes, and the reason
// for `soak`.
test('without a soak time, a container that crashes while it serves alone: undone, and from then on all is answered', async () => {
  const { problem, load, events } = await failing(
    'hello',
    { image: 'ropeway-test-app:v2' },
    { meanwhile: (id) => crash(id, 'app2', 'update', 'app1'), load: { kind: 'fresh', connections: 2 } },
  )
  expect(problem).toMatchObject({ code: 'container-exited', log: ['out of memory'] })
  expect(problem.message).toMatch(/app2-1 stopped with exit code 4$/)
  const steps = stepsOf(events)
  const crashable = steps.find(({ step }) => step.kind === 'update' && step.service === 'app1')
  const putBack = steps.findLast(({ step }) => step.kind === 'switch' && step.back === 'app1')
  expect(putBack?.isUndo).toBe(true)
  for (const { begunAt, at } of load.failures) {
    expect(at).toBeGreaterThanOrEqual(crashable?.startedAt ?? Infinity)
    expect(begunAt).toBeLessThanOrEqual(putBack?.finishedAt ?? 0)
  }
})

test('an nginx.conf that nginx refuses', async () => {
  const broken = nginxConf.replace('proxy_redirect off;', 'proxy_redirect of;;')
  await stack.write('proxy/nginx.conf', broken)
  const { problem, load } = await failing('hello', { env: { MESSAGE: '{service},v2' } })
  expect(problem).toMatchObject({ code: 'nginx-refused' })
  expect(problem.message).toContain('service nginx')
  expect(problem.log?.join('\n')).toMatch(/\/etc\/nginx\/nginx\.conf:\d+/)
  expectNoneFailed(load)
  await stack.write('proxy/nginx.conf', nginxConf)
})

test('a service that does not exist', async () => {
  const { problem, load } = await failing('strange', { env: { MESSAGE: '{service},v2' } })
  expect(problem).toMatchObject({ code: 'service-unknown', cure: 'correct stacks.strange.instances' })
  expect(problem.message).toContain('app9')
  expectNoneFailed(load)
})

test('a stack with one live server', async () => {
  await stack.write('proxy/nginx.conf', nginxConf.replace('server app2:3000;', 'server app2:3000 down;'))
  const { compose, nginx, containers } = await picture()
  const [load, events] = await under({ ip: stack.ip, port: 80, ...LOAD }, () =>
    ropeway.roll('hello', { env: { MESSAGE: '{service},v2' } }),
  )
  expect(finalOf(events)).toMatchObject({ type: 'failed', problem: { code: 'upstream-too-small' } })
  expect(stepsOf(events)).toEqual([])
  expect(await picture()).toEqual({ compose, nginx, containers })
  expectNoneFailed(load)
  await stack.write('proxy/nginx.conf', nginxConf)
})

test('an image that the policy does not allow', async () => {
  const { problem, events } = await failing('hello', { image: 'evil.example/ropeway-test-app:v2' })
  expect(problem).toMatchObject({
    code: 'image-not-allowed',
    cure: 'add it to stacks.hello.allow.images if it should be',
  })
  expect(problem.message).toContain('evil.example/ropeway-test-app')
  expect(stepsOf(events)).toEqual([])
})

test('an env variable that the policy does not allow', async () => {
  const { problem, events } = await failing('hello', { env: { MESSAGE: 'x', LD_PRELOAD: '/tmp/x.so' } })
  expect(problem).toMatchObject({
    code: 'env-not-allowed',
    cure: 'add it to stacks.hello.allow.env if it should be',
  })
  expect(problem.message).toContain('LD_PRELOAD')
  expect(stepsOf(events)).toEqual([])
})

// What somebody writes during a roll is theirs: Ropeway neither overwrites it nor loads it, and so can only stop and say where.
test('somebody changes nginx.conf during the roll: it is left as they wrote it, and a person is told', async () => {
  const { load, final } = await changedMeanwhile('proxy/nginx.conf')
  expect(final).toMatchObject({
    type: 'stuck',
    problem: { code: 'nginx-changed' },
    undo: { code: 'nginx-changed' },
  })
  expect(final.undo.message).toContain(join(stack.folder, 'proxy/nginx.conf'))
  expect(final.undo.cure).toBeTruthy()
  expectNoneFailed(load)
  await repair()
})

test('somebody changes the compose file during the roll: it is left as they wrote it, and a person is told', async () => {
  const { load, final } = await changedMeanwhile('docker-compose.yml')
  expect(final).toMatchObject({
    type: 'stuck',
    problem: { code: 'compose-changed' },
    undo: { code: 'compose-changed' },
  })
  expect(final.undo.message).toContain(stack.composeFiles[0])
  expect(final.undo.cure).toBeTruthy()
  expectNoneFailed(load)
  await repair()
})

/** Adds a line to a file while the roll waits for its first new container. */
async function changedMeanwhile(path: string) {
  const gate = join(stack.folder, 'gate/closed-v2')
  await writeFile(gate, '')
  let written = ''
  const [load, events] = await under({ ip: stack.ip, port: 80, ...LOAD }, async () => {
    const id = await ropeway.deploy('hello', { image: 'ropeway-test-app:v2' })
    await ropeway.reached(id, ({ kind }) => kind === 'await-healthy')
    written = `${await stack.read(path)}# mine\n`
    await stack.write(path, written)
    await rm(gate)
    return await ropeway.outcome(id)
  })
  expect(await stack.read(path)).toBe(written)
  const final = finalOf(events)
  if (final.type !== 'stuck') throw new Error(`not stuck: ${JSON.stringify(final)}`)
  expect(final.damage?.repair.at(-1)).toBe('ropeway resolve hello')
  // Until a person has said that it is whole again, nothing that comes by itself rolls it.
  const refused = finalOf(await ropeway.roll('hello', { env: { MESSAGE: '{service},v3' } }))
  expect(refused).toMatchObject({ type: 'failed', problem: { code: 'stack-locked' } })
  return { load, final }
}

/** What a person does then: their files as they want them, and both told. */
async function repair(): Promise<void> {
  await stack.write('docker-compose.yml', COMPOSE)
  await stack.compose('up', '-d', '--no-deps', '--pull', 'never', 'app1', 'app2')
  await stack.write('proxy/nginx.conf', nginxConf)
  await stack.compose('exec', '-T', 'nginx', 'nginx', '-s', 'reload')
  const resolved = await ropeway.cli(['resolve', 'hello'])
  expect([resolved.exitCode, resolved.stderr]).toEqual([0, ''])
}

/** Crashes a service's new container once a step has begun. */
async function crash(id: string, service: string, kind: string, of = service): Promise<void> {
  await ropeway.reached(id, (step) => step.kind === kind && 'service' in step && step.service === of)
  const { ip } = (await stack.containers())[service]!
  await fetch(`http://${ip}:3000/crash`).catch(() => {}) // it dies without an answer
}
