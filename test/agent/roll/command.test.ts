import { expect, test } from 'vitest'
import { parse } from 'yaml'
import type { CommandConfig } from '../../../agent/config/config.ts'
import type { Compose } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'
import { FakeWorld, type WorldOptions } from '../../support/fake-world.ts'
import { fakeImage } from '../../support/world/images.ts'

const MIGRATE: CommandConfig = {
  service: undefined,
  command: ['./manage', 'migrate'],
  timeoutMs: 60_000,
  onRetry: 'fail',
}
const V2 = { image: 'ghcr.io/acme/hello:v2', env: { MESSAGE: '{service},v2' } }

type Run = Parameters<Compose['run']>[2] & { readonly service: string }

/** A world whose commands do what the test says, and the runs that there were. */
function worldWith(
  stack: WorldOptions['stack'],
  run: (world: FakeWorld, run: Run, signal: AbortSignal) => ReturnType<Compose['run']>,
) {
  const world = new FakeWorld({ stack: stack ?? {} })
  const runs: Run[] = []
  const compose: Compose = world.compose
  compose.run = async (_stack, service, options, signal) => {
    const made = { ...options, service }
    runs.push(made)
    return await run(world, made, signal)
  }
  return { world, runs }
}

/** The one-off container of a run, which lasts until somebody removes it. */
function oneOff(world: FakeWorld, name: string) {
  const image = world.images.find('ghcr.io/acme/hello:v1') ?? fakeImage('none')
  const container = world.containers.create('one-off', {
    image,
    name: 'hello',
    env: {},
    mounts: [],
    hash: '',
    healthcheck: undefined,
    composeFiles: [],
  })
  container.name = name
  world.containers.start(container)
  return container
}

const names = (world: FakeWorld) => world.containers.all().map(({ name }) => name)

test('the command before a roll runs once, on the new image and env, before anything is touched', async () => {
  const { world, runs } = worldWith({ before: MIGRATE }, async (w) => {
    expect(w.compose.read(w.stack).services['app1']?.image).toBe('ghcr.io/acme/hello:v1')
    return { exitCode: 0, log: ['migrating', '3 migrations applied', ''] }
  })
  const { end, events } = await world.roll(V2)
  expect(end).toMatchObject({ type: 'succeeded' })
  expect(runs).toHaveLength(1)
  expect(runs[0]).toMatchObject({
    service: 'app2',
    command: ['./manage', 'migrate'],
    name: 'ropeway-deploy1-before',
  })
  const { services } = parse(Object.values(runs[0]!.replaced).join()) as {
    services: Record<string, { image: string; environment: string[] }>
  }
  for (const service of ['app1', 'app2']) {
    expect(services[service]?.image).toMatch(/^ghcr\.io\/acme\/hello:v2@sha256:/)
    expect(services[service]?.environment).toContain(`MESSAGE=${service},v2`)
  }
  expect(events.find((event) => event.type === 'step-finished' && event.step === 1)).toMatchObject({
    facts: { exitCode: 0, output: '3 migrations applied' },
  })
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('one that fails blocks the roll with its output, and nothing was touched', async () => {
  const { world } = worldWith({ before: MIGRATE }, async () => ({ exitCode: 3, log: ['no such table'] }))
  const { end } = await world.roll(V2)
  expect(end).toMatchObject({
    type: 'failed',
    problem: {
      code: 'command-failed',
      message: '`./manage migrate` in app2 ended with exit code 3',
      log: ['no such table'],
    },
  })
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('the command after a roll runs by the files as they are then', async () => {
  const { world, runs } = worldWith({ after: { ...MIGRATE, service: 'cache' } }, async (w) => {
    expect(w.compose.read(w.stack).services['app1']?.image).toMatch(/hello:v2@/)
    return { exitCode: 0, log: [] }
  })
  const { end } = await world.roll(V2)
  expect(end).toMatchObject({ type: 'succeeded' })
  expect(runs).toMatchObject([{ service: 'cache', name: 'ropeway-deploy1-after', replaced: {} }])
})

test('a command that takes longer than its time is ended, and its container removed', async () => {
  const { world } = worldWith({ before: { ...MIGRATE, timeoutMs: 5000 } }, async (w, { name }, signal) => {
    oneOff(w, name)
    await w.clock.sleep(3600_000, signal)
    return { exitCode: 0, log: [] }
  })
  const { end, events } = await world.roll(V2)
  expect(end).toMatchObject({ type: 'failed', problem: { code: 'deadline' } })
  expect(end?.type === 'failed' && end.problem.message).toContain('./manage migrate')
  expect(events.find(({ type }) => type === 'step-failed')).toMatchObject({
    step: 1,
    ms: expect.closeTo(5000, -2),
  })
  expect(names(world)).not.toContain('ropeway-deploy1-before')
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('a cancel ends the command at once, and its container is removed', async () => {
  const cancel = new AbortController()
  const { world } = worldWith({ before: MIGRATE }, async (w, { name }, signal) => {
    oneOff(w, name)
    w.clock.after(1000, () => {
      cancel.abort(new Problem('cancelled', 'the deploy was cancelled'))
      w.clock.wake()
    })
    await w.clock.sleep(50_000, signal)
    return { exitCode: 0, log: [] }
  })
  const { end } = await world.roll(V2, { signal: cancel.signal })
  expect(end).toMatchObject({ type: 'cancelled' })
  expect(end?.type === 'cancelled' && end.ms).toBeLessThan(5000)
  expect(names(world)).not.toContain('ropeway-deploy1-before')
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('what an agent that was killed has left running of the command is removed before it runs again', async () => {
  const { world } = worldWith({ before: MIGRATE }, async (w, { name }) => {
    expect(names(w)).not.toContain(name)
    return { exitCode: 0, log: [] }
  })
  const left = oneOff(world, 'ropeway-deploy1-before')
  const { end } = await world.roll(V2)
  expect(end).toMatchObject({ type: 'succeeded' })
  expect(world.containers.all()).not.toContain(left)
})

test('a container that cannot be removed is named, with the way to end it', async () => {
  const { world } = worldWith({ before: { ...MIGRATE, timeoutMs: 5000 } }, async (w, { name }, signal) => {
    oneOff(w, name)
    await w.clock.sleep(3600_000, signal)
    return { exitCode: 0, log: [] }
  })
  world.failAt({ method: 'engine.remove', nth: 1, kind: 'throw' })
  const { end } = await world.roll(V2)
  expect(end).toMatchObject({
    type: 'failed',
    problem: { code: 'command-failed', cure: 'end it with `docker rm --force ropeway-deploy1-before`' },
  })
})
