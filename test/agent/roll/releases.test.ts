// Which release a rollback means, which build is too old, and which images go with a release that is forgotten.

import { describe, expect, test } from 'vitest'
import { forgetOld, keepImages } from '../../../agent/roll/releases/kept-images.ts'
import { type Release, type Releases, isSameVersion } from '../../../agent/roll/releases/release.ts'
import {
  checkOrder,
  imagesOf,
  releaseToGoBackTo,
  wantedByDeploy,
  wantedByRelease,
} from '../../../agent/roll/wanted.ts'
import { FakeWorld } from '../../support/fake-world.ts'
import { fakeImage } from '../../support/world/images.ts'

function release(number: number, over: Partial<Release> = {}): Release {
  const image = { image: `hello:v${number}`, imageId: `sha256:${number}`, env: {} }
  return {
    number,
    deploy: `d${number}`,
    actor: 'ci',
    reason: null,
    at: number,
    builtAt: null,
    of: number,
    services: { app1: image, app2: image },
    files: { before: {}, after: {} },
    ...over,
  }
}

describe('the release that a rollback means', () => {
  const THREE = [release(1), release(2), release(3)]
  const BACK = [...THREE, release(4, { of: 2 })]
  test.each([
    ['the one before the newest', THREE, 'previous', true, 2],
    ['a number', THREE, 1, true, 1],
    ['after a rollback from 3 to 2: the one before 2', BACK, 'previous', true, 1],
    [
      'after two rollbacks and a deploy: the last one that ran before it',
      [...BACK, release(5)],
      'previous',
      true,
      4,
    ],
    ['the newest, when something else runs', THREE, 'previous', false, 3],
  ] as const)('%s', (_what, releases, wanted, isNewestRunning, expected) => {
    expect(releaseToGoBackTo(releases, wanted, isNewestRunning).number).toBe(expected)
  })

  test.each([
    ['no release at all', [], 'previous'],
    ['nothing before the first', [release(1)], 'previous'],
    ['a number that is forgotten', [release(7), release(8)], 3],
  ] as const)('there is none: %s', (_what, releases, wanted) => {
    expect(() => releaseToGoBackTo(releases, wanted, true)).toThrow(
      expect.objectContaining({
        code: 'release-unknown',
        cure: expect.stringMatching(/are kept: (none|1|7, 8)$/),
      }),
    )
  })

  test('an instance that a release had not cannot go back to it', () => {
    expect(wantedByRelease(release(2), ['app1'])).toEqual({
      app1: { image: 'hello:v2', imageId: 'sha256:2', env: {} },
    })
    expect(() => wantedByRelease(release(2), ['app1', 'app3'])).toThrow(/release 2 had no service app3/)
  })
})

describe('what a deploy asks for', () => {
  test('an env for each service, and no image where it names none', () => {
    const wanted = wantedByDeploy({ env: { MESSAGE: '{service},v2' } }, ['app1', 'app2'], ['hello:v1'])
    expect(wanted).toEqual({ app1: { env: { MESSAGE: 'app1,v2' } }, app2: { env: { MESSAGE: 'app2,v2' } } })
    expect(imagesOf(wanted)).toEqual([])
  })

  test('nothing at all means today’s tag again, without its digest', () => {
    const pinned = `ghcr.io/acme/hello:v1@sha256:${'a'.repeat(64)}`
    expect(imagesOf(wantedByDeploy({}, ['app1', 'app2'], [pinned, pinned]))).toEqual([
      'ghcr.io/acme/hello:v1',
    ])
  })
})

test.each([
  [[], 'no instance has an image with a name'],
  [['hello:v1', 'hello:v2'], 'the instances run several images'],
])('nothing at all cannot mean an image of %j', (running, why) => {
  expect(() => wantedByDeploy({}, ['app1', 'app2'], running)).toThrow(why)
})

describe('an older build', () => {
  const releases = [release(1, { builtAt: Date.parse('2026-11-20T10:00:00Z') }), release(2)]
  test.each([
    ['is refused', '2026-11-20T09:59:59Z', true],
    ['is refused by its own time zone', '2026-11-20T11:59:59+02:00', true],
    ['is no older than itself', '2026-11-20T10:00:00Z', false],
    ['is newer', '2026-11-20T10:00:00.001Z', false],
  ])('%s', (_what, builtAt, isRefused) => {
    const check = () => checkOrder({ builtAt }, releases)
    if (isRefused) expect(check).toThrow(expect.objectContaining({ code: 'request-outdated' }))
    else expect(check).not.toThrow()
  })

  test('says nothing without a time, and holds up no rollback', () => {
    expect(() => checkOrder({}, releases)).not.toThrow()
    expect(() => checkOrder({ release: 1 }, releases)).not.toThrow()
  })
})

const withEnv = (one: Release, env: Record<string, string | null>) =>
  Object.fromEntries(Object.entries(one.services).map(([name, service]) => [name, { ...service, env }]))

test('a variable that only one of two releases had to remember as not set makes no difference', () => {
  const [a, b] = [release(1), release(1)]
  expect(isSameVersion(withEnv(a, { A: 'x', B: null }), withEnv(b, { A: 'x' }))).toBe(true)
  expect(isSameVersion(withEnv(a, { A: 'x' }), withEnv(b, { A: 'y' }))).toBe(false)
  expect(isSameVersion(a.services, release(2).services)).toBe(false)
})

const idOf = (one: Release | undefined) => one?.services['app1']?.imageId ?? ''

describe('images of releases', () => {
  const signal = new AbortController().signal
  const IMAGE = 'ghcr.io/acme/hello'
  const OWNER = { project: 'hello', stack: 'web' }

  /** A world with three releases of pulled images, which run none of them, and one that was built here. */
  async function released() {
    const world = new FakeWorld()
    const { images } = world
    const all: Release[] = []
    for (const number of [1, 2, 3]) {
      const pushed = images.push(`${IMAGE}:r${number}`, fakeImage(`release ${number}`))
      images.pull(`${IMAGE}:r${number}`)
      const service = { image: `${IMAGE}:r${number}`, imageId: pushed.id, env: {} }
      all.push(release(number, { services: { app1: service } }))
    }
    const built = images.build('mine:r4', fakeImage('release 4'))
    all.push(release(4, { services: { app1: { image: built.id, imageId: built.id, env: {} } } }))
    const releases: Releases = {
      list: () => all,
      add: () => 0,
      forgetBefore: (number) =>
        void all.splice(
          0,
          all.findIndex((one) => one.number === number),
        ),
    }
    for (const one of all) await world.run(keepImages(OWNER, one, world.ports.engine, signal))
    const forget = (count: number) => world.run(forgetOld(OWNER, releases, count, world.ports.engine, signal))
    return { world, images, all, forget }
  }

  test('a kept release has a name of ours', async () => {
    const { images, all } = await released()
    for (const { number, services } of all)
      expect(images.find(`ropeway.invalid/hello:web.${number}`)?.id).toBe(services['app1']?.imageId)
  })

  test('a name without a stack goes with its release, unless it is of another stack’s image', async () => {
    const { world, images, all, forget } = await released()
    await world.run(world.ports.engine.tag(idOf(all[0]), 'ropeway.invalid/hello:1', signal))
    await world.run(world.ports.engine.tag(idOf(all[3]), 'ropeway.invalid/hello:2', signal))
    await forget(2)
    expect(images.find('ropeway.invalid/hello:1')).toBeUndefined()
    expect(images.find('ropeway.invalid/hello:2')).toBeDefined()
  })

  test('those of forgotten releases go, those of kept ones stay', async () => {
    const { images, all, forget } = await released()
    await forget(2)
    expect(all.map(({ number }) => number)).toEqual([3, 4])
    for (const number of [1, 2]) {
      expect(images.find(`ropeway.invalid/hello:web.${number}`)).toBeUndefined()
      expect(images.find(`${IMAGE}:r${number}`)).toBeUndefined()
    }
    expect(images.find(`${IMAGE}:r3`)).toBeDefined()
    expect(images.find('mine:r4')).toBeDefined()
  })

  test('never one that a container uses, nor one that a kept release has too', async () => {
    const { world: one, images, all, forget } = await released()
    const [first, second] = all
    const image = images.find(first?.services['app1']?.imageId ?? '')
    if (!image || !second) throw new Error('there is no image')
    const options = {
      image,
      name: 'x',
      env: {},
      hash: '',
      composeFiles: [],
      healthcheck: undefined,
      mounts: [],
    }
    one.containers.create('elsewhere', options)
    all[3] = { ...release(4), services: second.services }
    await forget(1)
    expect(all.map(({ number }) => number)).toEqual([4])
    expect(images.find(`${IMAGE}:r1`)).toBeDefined()
    expect(images.find(`${IMAGE}:r2`)).toBeDefined()
    expect(images.find(`${IMAGE}:r3`)).toBeUndefined()
  })

  test('what was built on this host keeps its builder’s name', async () => {
    const { images, all, forget } = await released()
    all.push(release(5, { services: all[0]?.services ?? {} }))
    await forget(1)
    expect(images.find('ropeway.invalid/hello:web.4')).toBeUndefined()
    expect(images.find('mine:r4')).toBeDefined()
    expect(images.find(`${IMAGE}:r1`)).toBeDefined()
  })
})
