// Whole rolls in the fake world: what they change, what they leave alone, how often nginx is reloaded, and how they go back.

import { describe, expect, test } from 'vitest'
import type { DeployRequest } from '../../../shared/request.ts'
import { FakeWorld, type Life } from '../../support/fake-world.ts'
import { fakeImage, sha256 } from '../../support/world/images.ts'
import { COMPOSE_PATH } from '../../support/world/stack-files.ts'

const V2 = { env: { MESSAGE: '{service},v2' } }
const IMAGE = 'ghcr.io/acme/hello'

function factsOf(life: Life, kind: string): unknown[] {
  const planned = life.events.find((event) => event.type === 'planned')
  const steps = planned?.plan.steps ?? []
  return life.events.flatMap((event) =>
    event.type === 'step-finished' && steps[event.step]?.kind === kind ? [event.facts] : [],
  )
}

function problemOf(life: Life): string | undefined {
  return life.end && 'problem' in life.end ? life.end.problem.code : undefined
}

for (const instances of [2, 3, 4])
  for (const mount of ['file', 'directory'] as const)
    for (const request of [V2, { image: `${IMAGE}:v2` }, { image: 'hello:v2', ...V2 }])
      test(`${instances} instances, mounted ${mount}: ${Object.keys(request).join(' and ')} in ${instances + 1} reloads`, async () => {
        const world = new FakeWorld({ instances, mount })
        const life = await world.roll(request)
        expect(life.end).toMatchObject({ type: 'succeeded', changed: true })
        expect(await world.faultsAfter('changed')).toEqual([])
        expect(world.nginx.newest().number - 1).toBe(instances + 1)
        expect(factsOf(life, 'drain')).toEqual(Array.from({ length: instances }, () => ({ cut: 0 })))
      })

const both = (image: string) => ({ app1: image, app2: image })

async function imagesAfter(request: DeployRequest, world = new FakeWorld()): Promise<unknown> {
  const { end } = await world.roll(request)
  expect(end).toMatchObject({ type: 'succeeded' })
  return end?.type === 'succeeded' ? end.images : undefined
}

/** Of the image that the world's registry has under a tag. */
const pushed = (tag: string) => sha256(`manifest of ${fakeImage(`hello ${tag}`).id}`)

describe('a success names what each service runs', () => {
  test('by the digest that a tag meant, which stands in the compose file too', async () => {
    const world = new FakeWorld()
    const image = `${IMAGE}:v2@${pushed('v2')}`
    expect(await imagesAfter({ tag: 'v2' }, world)).toEqual(both(image))
    expect(world.files.text(COMPOSE_PATH)).toContain(`image: ${image}`)
    expect(await world.faultsAfter('changed')).toEqual([])
  })

  test('also where nothing had to change', async () => {
    const world = new FakeWorld()
    const images = await imagesAfter({ tag: 'v2' }, world)
    for (const request of [{ image: `${IMAGE}:v2` }, { tag: 'v2', digest: pushed('v2') }, {}])
      expect(await imagesAfter(request, world)).toEqual(images)
  })

  test('by the digest that was asked for', async () => {
    const digest = pushed('v2')
    expect(await imagesAfter({ digest })).toEqual(both(`${IMAGE}@${digest}`))
  })

  test('by the digest where the compose file has a tag alone, and env was asked for', async () => {
    expect(await imagesAfter(V2)).toEqual(both(`${IMAGE}:v1@${pushed('v1')}`))
  })

  test('by its ID where no registry has it', async () => {
    expect(await imagesAfter({ image: 'hello:v2' })).toEqual(both(fakeImage('built v2').id))
  })
})

test('the same deploy again changes nothing and writes nothing', async () => {
  const world = new FakeWorld()
  for (const request of [V2, { image: `${IMAGE}:v2` }]) {
    await world.roll(request)
    const writes = world.files.writes
    expect((await world.roll(request)).end).toMatchObject({ type: 'succeeded', changed: false })
    expect(world.files.writes).toBe(writes)
  }
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('with a soak time each instance serves before the next is taken out', async () => {
  const world = new FakeWorld({ instances: 3, stack: { soakMs: 500 } })
  expect((await world.roll(V2)).status).toBe('succeeded')
  expect(await world.faultsAfter('changed')).toEqual([])
  expect(world.nginx.newest().number - 1).toBe(6)
})

test('a server that is down is updated, and stays down', async () => {
  const world = new FakeWorld({ instances: 3, down: ['app2'] })
  expect((await world.roll(V2)).status).toBe('succeeded')
  expect(await world.faultsAfter('changed')).toEqual([])
  expect(world.nginx.newest().number - 1).toBe(3)
})

test('where nginx is not PID 1, its own command reloads it', async () => {
  const world = new FakeWorld()
  world.nginx.masterPid += 7
  const life = await world.roll(V2)
  expect(life.status).toBe('succeeded')
  expect(life.calls.some(({ method }) => method === 'engine.hangUp')).toBe(false)
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('without keepalive_min_timeout, workers that linger with a request hold nobody up', async () => {
  const world = new FakeWorld({ keepaliveMinTimeoutMs: 0, requestMs: 700 })
  expect((await world.roll(V2)).status).toBe('succeeded')
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('a request that outlasts the drain timeout is cut, and said to be', async () => {
  const world = new FakeWorld({ stack: { drainTimeoutMs: 1000 } })
  world.traffic.hold('app2', 60_000)
  const life = await world.roll(V2)
  expect(life.status).toBe('succeeded')
  expect(factsOf(life, 'drain')).toEqual([{ cut: 1, timedOut: true }, { cut: 0 }])
  expect(await world.faultsAfter('changed')).toEqual(['1 x app2 was stopped while it had a request'])
})

test.each([
  ['exits', 'container-exited'],
  ['sick', 'container-unhealthy'],
  ['flaps', 'container-unhealthy'],
  ['hangs', 'container-unhealthy'],
  ['never-listens', 'container-unhealthy'],
])('an image that %s is taken back: %s', async (tag, code) => {
  const world = new FakeWorld({ instances: 3 })
  const life = await world.roll({ image: `${IMAGE}:${tag}` })
  expect([life.status, problemOf(life)]).toEqual(['failed', code])
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test.each(['crashes', 'restarts'])(
  'an image that %s right after it was healthy is taken back',
  async (tag) => {
    // It dies alone in traffic: nothing can save requests until nginx has the other one back. But then all is as it was.
    const world = new FakeWorld({ instances: 2, isRetried: true })
    const life = await world.roll({ image: `${IMAGE}:${tag}` })
    expect([life.status, problemOf(life)]).toEqual(['failed', 'container-exited'])
    const wrong = await world.faultsAfter('unchanged')
    expect(wrong.filter((fault) => !/was stopped while|servers answer|app2 .* refuses/.test(fault))).toEqual(
      [],
    )
  },
)

test('Docker’s own healthcheck must agree', async () => {
  const world = new FakeWorld({ hasHealthcheck: true })
  expect((await world.roll(V2)).status).toBe('succeeded')
  expect(await world.faultsAfter('changed')).toEqual([])
})

test.each([
  ['a second update', undefined],
  ['a command before any', { service: undefined, command: ['false'], timeoutMs: 5000, onRetry: 'fail' }],
] as const)('a tag that the pull has moved is put back after %s that fails', async (_, before) => {
  const world = new FakeWorld({ image: `${IMAGE}:v1`, stack: { before } })
  world.images.push(`${IMAGE}:v1`, fakeImage('v1 built anew'))
  world.failAt({ method: 'compose.up', nth: 2, kind: 'throw-after-effect' })
  const life = await world.roll({ image: `${IMAGE}:v1` })
  expect(life.status).toBe('failed')
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('a container that has restarted long ago is no failure of this deploy', async () => {
  const world = new FakeWorld({ instances: 3 })
  for (const service of ['app1', 'app2']) world.containers.ofService(service)[0]!.restarts = 2
  world.failAt({ method: 'compose.up', nth: 2, kind: 'throw' })
  expect((await world.roll(V2)).status).toBe('failed')
  expect(await world.faultsAfter('unchanged')).toEqual([])
  expect((await world.roll(V2)).status).toBe('succeeded')
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('a reload that nginx never does leaves everything as it was', async () => {
  const world = new FakeWorld()
  world.nginx.isWedged = true
  const life = await world.roll(V2)
  expect(problemOf(life)).toBe('nginx-reload-failed')
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('somebody else’s change of a file during the roll is not overwritten', async () => {
  const world = new FakeWorld()
  const path = world.stack.compose[0]!
  world.clock.after(700, () => world.files.replace(path, `${world.files.text(path)}# mine\n`))
  const life = await world.roll(V2)
  expect([life.status, problemOf(life)]).toEqual(['stuck', 'compose-changed'])
  expect(world.files.text(path)).toContain('# mine')
  expect([...world.traffic.failures]).toEqual([])
})

test('a deploy for some of the services leaves the others as they are', async () => {
  const world = new FakeWorld({ instances: 3 })
  const ids = () => ['app1', 'app2', 'app3'].map((service) => world.containers.ofService(service)[0]!.id)
  const before = ids()
  const life = await world.roll({ image: `${IMAGE}:v2`, services: ['app2'] })
  expect(life.end).toMatchObject({ type: 'succeeded', changed: true })
  const after = ids()
  expect([after[0] === before[0], after[1] === before[1], after[2] === before[2]]).toEqual([
    true,
    false,
    true,
  ])
  expect(world.nginx.newest().number - 1).toBe(2)
  expect([...world.traffic.failures]).toEqual([])
  // And back, when it fails.
  world.failAt({ method: 'compose.up', nth: 1, kind: 'throw-after-effect' })
  const failed = await world.roll({ image: `${IMAGE}:v1`, services: ['app2'] })
  expect(failed.status).toBe('failed')
  expect([ids()[0], ids()[2]]).toEqual([before[0], before[2]])
  expect([...world.traffic.failures]).toEqual([])
})

test('a service that is no instance is named, and nothing is touched', async () => {
  const world = new FakeWorld()
  const life = await world.roll({ image: `${IMAGE}:v2`, services: ['app1', 'worker'] })
  expect(problemOf(life)).toBe('service-unknown')
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('an upgrade is none to a lower version than what runs', async () => {
  const world = new FakeWorld({ image: `${IMAGE}:1.9.0` })
  for (const version of ['1.10.0', '1.9.1']) world.images.push(`${IMAGE}:${version}`)
  const upgrade = (version: string) => world.roll({ image: `${IMAGE}:${version}`, upgradeOnly: true })
  expect((await upgrade('1.10.0')).end).toMatchObject({ type: 'succeeded', changed: true })
  expect(problemOf(await upgrade('1.9.1'))).toBe('request-outdated')
  expect((await upgrade('1.10.0')).end).toMatchObject({ type: 'succeeded', changed: false })
  // A person who says it plainly is obeyed.
  expect((await world.roll({ image: `${IMAGE}:1.9.1` })).end).toMatchObject({
    type: 'succeeded',
    changed: true,
  })
})

test('an image for another platform is refused before anything moves, unless such a one runs', async () => {
  const world = new FakeWorld()
  world.images.push(`${IMAGE}:arm`, fakeImage('arm', { platform: 'linux/arm64' }))
  const life = await world.roll({ image: `${IMAGE}:arm` })
  expect(problemOf(life)).toBe('platform-missing')
  expect(await world.faultsAfter('unchanged')).toEqual([])
  const emulating = new FakeWorld({ image: `${IMAGE}:arm` })
  emulating.images.push(`${IMAGE}:arm2`, fakeImage('arm2', { platform: 'linux/arm64' }))
  for (const service of ['app1', 'app2']) {
    const { imageId } = emulating.containers.ofService(service)[0]!
    Object.assign(emulating.images.find(imageId)!, { platform: 'linux/arm64' })
  }
  expect((await emulating.roll({ image: `${IMAGE}:arm2` })).status).toBe('succeeded')
})

test.each([
  ['forward', 3 * 3600_000],
  ['back', -3 * 3600_000],
])(
  'the machine’s clock is set %s in the middle of a roll: no wait ends early, and none late',
  async (_, byMs) => {
    const world = new FakeWorld()
    world.images.push(`${IMAGE}:slow`, fakeImage('slow', { startMs: 1500 }))
    // Both while an instance starts, and while the other drains.
    for (const at of [1000, 2500]) world.clock.after(at, () => world.clock.set(byMs))
    const life = await world.roll({ image: `${IMAGE}:slow` })
    expect(life.end).toMatchObject({ type: 'succeeded', changed: true })
    expect(life.end?.type === 'succeeded' && life.end.ms).toBeLessThan(60_000)
    expect(await world.faultsAfter('changed')).toEqual([])
  },
)
