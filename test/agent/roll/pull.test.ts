// Which image a name means: the one that is here, where it was built here; else what its registry has.

import { describe, expect, test } from 'vitest'
import { Problem } from '../../../shared/problems.ts'
import { FakeWorld } from '../../support/fake-world.ts'
import { fakeImage, sha256 } from '../../support/world/images.ts'

const GHCR = 'ghcr.io/acme/hello'
const built = fakeImage('built v2')

/** On an engine whose image store makes a digest of every name, whoever has it. */
function onContainerd(): FakeWorld {
  const world = new FakeWorld()
  world.images.isContainerd = true
  // Somebody else has that name at Docker Hub.
  world.images.push('hello:v2', fakeImage('somebody else’s'))
  return world
}

function awayFrom(world: FakeWorld): void {
  Object.assign(world.ports.engine, {
    isInRegistry: () => Promise.reject(new Problem('pull-failed', 'no such host')),
  })
}

async function imageAfter(world: FakeWorld, image: string): Promise<string> {
  const life = await world.roll({ image })
  expect(life.end).toMatchObject({ type: 'succeeded', changed: true })
  expect(await world.faultsAfter('changed')).toEqual([])
  const images = world.instances.map((service) => world.containers.ofService(service)[0]?.imageName)
  expect(new Set(images).size).toBe(1)
  return images[0] ?? ''
}

describe('on a containerd image store', () => {
  test('what was built here is not looked for under its name elsewhere, and is pinned by its ID', async () => {
    expect(await imageAfter(onContainerd(), 'hello:v2')).toBe(built.id)
  })

  test('also where Docker Hub cannot be reached', async () => {
    const world = onContainerd()
    awayFrom(world)
    expect(await imageAfter(world, 'hello:v2')).toBe(built.id)
  })

  test('also where it was built under a name of another registry, which has it not', async () => {
    const world = onContainerd()
    world.images.build(`${GHCR}:v3`, fakeImage('built v3'))
    expect(await imageAfter(world, `${GHCR}:v3`)).toBe(fakeImage('built v3').id)
  })

  test('a name of a registry that cannot be reached is not guessed at', async () => {
    const world = onContainerd()
    world.images.build(`${GHCR}:v3`, fakeImage('built v3'))
    awayFrom(world)
    expect((await world.roll({ image: `${GHCR}:v3` })).end).toMatchObject({
      problem: { code: 'pull-failed' },
    })
    expect(await world.faultsAfter('unchanged')).toEqual([])
  })

  test('a tag that was pulled and has moved since is pulled anew, and pinned by its digest', async () => {
    const world = onContainerd()
    world.images.push(`${GHCR}:v1`, fakeImage('v1 built anew'))
    const digest = sha256(`manifest of ${fakeImage('v1 built anew').id}`)
    expect(await imageAfter(world, `${GHCR}:v1`)).toBe(`${GHCR}:v1@${digest}`)
  })

  test('it is gone back to by its ID, whatever has its name by then', async () => {
    const world = onContainerd()
    await imageAfter(world, 'hello:v2')
    world.images.build('hello:v2', fakeImage('built v2 again'))
    expect(await imageAfter(world, 'hello:v2')).toBe(fakeImage('built v2 again').id)
    expect((await world.roll({ release: 'previous' })).end).toMatchObject({
      type: 'succeeded',
      changed: true,
    })
    expect(world.containers.ofService('app1')[0]?.imageName).toBe(built.id)
  })
})

describe('a pull that moves the name which the compose file has', () => {
  const request = { image: `${GHCR}:v1`, env: { MESSAGE: '{service},v2' } }

  function moved(): FakeWorld {
    const world = new FakeWorld({ image: `${GHCR}:v1` })
    // Somebody has pushed another image of that name since.
    world.images.push(`${GHCR}:v1`, fakeImage('another v1'))
    return world
  }

  // A `docker compose up` by hand would bring the new image to a stack whose deploy has failed.
  test('and fails after that gives the name back', async () => {
    const world = moved().failAt({ method: 'engine.pull', nth: 1, kind: 'throw-after-effect' })
    expect(await world.roll(request)).toMatchObject({ status: 'failed' })
    expect(await world.faultsAfter('unchanged')).toEqual([])
  })

  test('and was the agent’s end gives it back, where the roll that begins again is refused', async () => {
    const world = moved().failAt({ method: 'engine.pull', nth: 1, kind: 'crash-after-effect' })
    expect(await world.roll(request)).toMatchObject({ hasCrashed: true })
    world.failAt({ method: 'compose.model', nth: 1, kind: 'throw' })
    expect(await world.recover()).toMatchObject({ status: 'failed' })
    expect(await world.faultsAfter('unchanged')).toEqual([])
  })

  test('and was the agent’s end gives it back, where the one that begins again is its end too', async () => {
    const world = moved().failAt({ method: 'engine.pull', nth: 1, kind: 'crash-after-effect' })
    await world.roll(request)
    world.failAt({ method: 'compose.model', nth: 1, kind: 'crash' })
    expect(await world.recover()).toMatchObject({ hasCrashed: true })
    expect(await world.recover()).toMatchObject({ status: 'failed' })
    expect(await world.faultsAfter('unchanged')).toEqual([])
  })
})
