// The gates of a roll are tried before anything moves: stacks that no question suits as it stands, and stacks that are sick before.

import { describe, expect, test } from 'vitest'
import type { StackConfig } from '../../../agent/config/config.ts'
import { findFaults } from '../../../agent/roll/stuck/consistency.ts'
import type { Hurt } from '../../support/world/containers.ts'
import { FakeWorld, HEALTH, type Life, type WorldOptions } from '../../support/fake-world.ts'

const V2 = { image: 'ghcr.io/acme/hello:v2' }
const health = (over: Partial<StackConfig['health']>): Partial<StackConfig> => ({
  health: { ...HEALTH, ...over },
})
const pass = 'location / { proxy_pass http://apps; proxy_set_header Host $host; }'
const site = (name: string, body = pass, listen = '80') =>
  `server { listen ${listen}; server_name ${name}; ${body} }\n`

const orderOf = (life: Life) =>
  life.events.flatMap((event) => (event.type === 'planned' ? event.plan.instances : []))
const warningsOf = (life: Life) =>
  life.events.flatMap((event) => (event.type === 'warning' ? [event.problem.code] : []))

const shown = (life: Life, world: FakeWorld) => `${JSON.stringify(life.end)}\n${world.story()}`

describe('a stack that no question suits as it stands is rolled all the same:', () => {
  test.each<[string, WorldOptions, string[]]>([
    ['nothing but 404', { app: { pages: { '*': 404 } } }, ['health-by-comparison']],
    ['a login at /', { app: { pages: { '*': 401 } } }, ['health-by-comparison']],
    [
      'nothing at /, and a healthcheck that says where there is something',
      {
        app: { pages: { '*': 404, '/v1/up': 200 } },
        healthcheck: '{ test: [CMD-SHELL, "curl -f http://127.0.0.1:3000/v1/up || exit 1"], interval: 1s }',
      },
      [],
    ],
    [
      'a Host that a wildcard lets through',
      { app: { hosts: ['www.shop.example'] }, sites: site('*.shop.example') },
      [],
    ],
    [
      'a Host that ropeway.yml names',
      { app: { hosts: ['a.b'] }, sites: site('_'), stack: health({ host: 'a.b' }) },
      [],
    ],
    [
      'a status page and a catch-all first',
      {
        sites:
          'server { listen 127.0.0.1:8081; location / { stub_status; } }\n' +
          'server { listen 80 default_server; server_name _; return 444; }\n' +
          site('shop.example'),
      },
      [],
    ],
    [
      'another site whose backend is dead',
      { sites: site('blog.example', 'location / { proxy_pass http://127.0.0.1:1; }') + site('shop.example') },
      [],
    ],
    ['a rate limit', { sites: site('shop.example', `limit_req zone=page; ${pass}`) }, []],
    ['TLS', { sites: site('shop.example', pass, '443 ssl') }, []],
    [
      'TLS to the app, by a variable',
      {
        app: { speaks: 'https' },
        sites: site('shop.example', 'location / { set $to https://apps; proxy_pass $to; }'),
      },
      [],
    ],
    [
      'FastCGI',
      { app: { speaks: 'fastcgi' }, sites: site('x.example', 'location / { fastcgi_pass apps; }') },
      [],
    ],
    ['containers that only nginx reaches', { isRootless: true }, []],
    ['a TCP connection that is enough', { app: { pages: { '/': 500 } }, stack: health({ by: 'tcp' }) }, []],
    [
      'a Docker healthcheck alone',
      {
        app: { pages: { '*': 400, '/up': 200 } },
        healthcheck: '{ test: [CMD, wget, "http://localhost:3000/up"], interval: 1s }',
        stack: health({ by: 'docker' }),
      },
      [],
    ],
    [
      'a page that a Host is refused, and a healthcheck that knows better',
      { app: { pages: { '*': 403 } }, hasHealthcheck: true },
      ['health-by-docker'],
    ],
    [
      'containers that nobody reaches, and a healthcheck',
      { isRootless: true, programs: [], hasHealthcheck: true },
      ['health-by-docker'],
    ],
  ])('%s', async (_, options, warnings) => {
    const world = new FakeWorld({ image: 'ghcr.io/acme/hello:v1', ...options })
    const life = await world.roll(V2)
    expect(life.end, world.story()).toMatchObject({ type: 'succeeded', changed: true })
    expect(warningsOf(life)).toEqual(warnings)
    expect(await world.faultsAfter('changed')).toEqual([])
  })
})

test('an app that listens on IPv4 alone is asked there alone, whatever Docker’s DNS tells nginx', async () => {
  const world = new FakeWorld({ isDualStack: true })
  const { get } = world.ports.http
  Object.assign(world.ports.http, {
    get: async (...[target, ...rest]: Parameters<typeof get>) =>
      target.ip.includes(':') ? { fault: 'ECONNREFUSED' } : await get(target, ...rest),
  })
  const life = await world.roll({ env: { MESSAGE: '{service},v2' } })
  expect(life.end, world.story()).toMatchObject({ type: 'succeeded', changed: true })
})

describe('what cannot be judged is refused before anything moves, with the key that settles it:', () => {
  test.each<[string, WorldOptions, RegExp]>([
    ['every Host is refused', { app: { hosts: ['secret.example'] }, sites: site('_') }, /health\.host/],
    ['everything is forbidden', { app: { pages: { '*': 403 } } }, /health\.host .* health\.status/],
    ['nobody can ask', { isRootless: true, programs: [] }, /docker: true/],
    [
      'the app wants a certificate of who asks',
      {
        app: { speaks: 'mtls' },
        sites: site('a.b', 'proxy_ssl_certificate a.pem; location / { proxy_pass https://apps; }'),
      },
      /tcp: true/,
    ],
    ['no healthcheck, though it is to decide', { stack: health({ by: 'docker' }) }, /health\.docker/],
  ])('%s', async (_, options, cure) => {
    const world = new FakeWorld(options)
    const life = await world.roll(V2)
    expect(life.end).toMatchObject({
      type: 'failed',
      problem: { code: 'gate-unusable', cure: expect.stringMatching(cure) },
    })
    expect([world.files.writes, await world.faultsAfter('unchanged')]).toEqual([0, []])
  })
})

describe('a stack that is sick before:', () => {
  const OLD = { image: 'ghcr.io/acme/hello:v1', stack: { health: { ...HEALTH, timeoutMs: 1000 } } }
  const HURTS: Readonly<Record<string, Hurt>> = {
    'answers 500': { mode: 'sick' },
    hangs: { mode: 'hangs' },
    'refuses connections': 'refuses',
    'has crashed': 'exited',
    'waits for its next start': 'restarting',
    'crashes again and again': 'looping',
  }
  /** A stack that has long run, of which something has happened to one instance. */
  const hurt = async (services: readonly string[], how: Hurt, options: WorldOptions = OLD) => {
    const world = new FakeWorld(options)
    await world.away()
    const ips = services.flatMap((service) => world.containers.ofService(service).map(({ ip }) => ip))
    for (const service of services) world.hurt(service, how)
    const known = new Set(world.traffic.failures.keys())
    // What its own clients got is as before.
    const failures = () =>
      [...world.traffic.failures.keys(), ...world.moments.failures.keys()].filter(
        (failure) => !known.has(failure) && !ips.some((ip) => failure.includes(` ${ip} `)),
      )
    return { world, failures }
  }

  test.each(Object.keys(HURTS))(
    'an instance that %s is rolled first, and another always answers',
    async (name) => {
      for (const [service, others] of [
        ['app1', ['app3', 'app2']],
        ['app3', ['app2', 'app1']],
      ] as const) {
        const { world, failures } = await hurt([service], HURTS[name]!, { ...OLD, instances: 3 })
        const life = await world.roll(V2)
        expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
        expect(orderOf(life)).toEqual([service, ...others])
        await world.settle()
        expect([...failures(), ...world.inconsistencies()]).toEqual([])
      }
    },
  )

  test.each(Object.keys(HURTS))('where one %s and no version mends it, all is as it was', async (name) => {
    for (const service of ['app1', 'app2']) {
      const { world, failures } = await hurt([service], HURTS[name]!)
      const before = world.files.text(world.proxyPath)
      const life = await world.roll({ image: 'ghcr.io/acme/hello:sick' })
      expect(life.end, shown(life, world)).toMatchObject({ type: 'failed' })
      expect([world.files.text(world.proxyPath), failures()]).toEqual([before, []])
    }
  })

  // Between two crashes its name resolves; at the reload it may not.
  test('one that crashes again and again is seen while it runs', async () => {
    const { world, failures } = await hurt(['app1'], 'looping', { ...OLD, instances: 3 })
    const isUp = () => world.containers.ofService('app1')[0]?.state === 'running'
    while (!isUp()) await world.away(10)
    const life = await world.roll(V2)
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
    expect(orderOf(life)).toEqual(['app1', 'app3', 'app2'])
    expect([...failures(), ...world.inconsistencies()]).toEqual([])
  })

  test('one that nginx names past the upstream too is not begun with', async () => {
    const sites = `${site('shop.example')}${site('admin.example', 'location / { proxy_pass http://app1:3000; }')}`
    const { world, failures } = await hurt(['app1'], 'exited', { ...OLD, sites })
    const life = await world.roll(V2)
    expect(life.end).toMatchObject({
      type: 'failed',
      problem: { code: 'container-missing', message: expect.stringMatching(/proxy_pass http:\/\/app1:3000/) },
    })
    expect([world.files.writes, failures()]).toEqual([0, []])
  })

  test('one bad answer makes nobody sick', async () => {
    const world = new FakeWorld({ ...OLD, instances: 3 })
    let isFirst = true
    const { get } = world.ports.http
    Object.assign(world.ports.http, {
      get: async (...[target, ...rest]: Parameters<typeof get>) => {
        const isApp1 = world.containers.byIp(target.ip)?.service === 'app1'
        if (!isApp1 || !isFirst) return await get(target, ...rest)
        isFirst = false
        return { status: 500 }
      },
    })
    const life = await world.roll(V2)
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
    expect([orderOf(life), isFirst]).toEqual([['app3', 'app2', 'app1'], false])
  })

  // Clients are served by it all the same, so it must answer before it is put back.
  test('one that Docker alone calls sick is waited for on the way back', async () => {
    const world = new FakeWorld({
      ...OLD,
      app: { pages: { '/nowhere': 404 }, startMs: 1500 },
      stack: health({ timeoutMs: 10_000 }),
      healthcheck: NOWHERE,
    })
    await world.away(5000)
    world.containers.ofService('app1')[0]!.health = 'healthy'
    const life = await world.roll({ image: 'ghcr.io/acme/hello:sick' })
    expect(life.end, shown(life, world)).toMatchObject({ type: 'failed' })
    expect(orderOf(life)).toEqual(['app2', 'app1'])
    await world.settle()
    expect([...world.traffic.failures.keys(), ...world.moments.failures.keys()]).toEqual([])
  })

  test('a healthcheck that works nowhere is not asked, though one instance is sick', async () => {
    const { world } = await hurt(
      ['app1'],
      { mode: 'sick' },
      {
        ...OLD,
        app: { pages: { '/nowhere': 404 } },
        healthcheck: NOWHERE,
      },
    )
    await world.away(5000)
    const life = await world.roll(V2)
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
    expect(warningsOf(life)).toEqual(['healthcheck-unusable'])
  })

  test('where all of them crashed, they are asked from where nginx’s own container is reached', async () => {
    const { world } = await hurt(['app1', 'app2'], 'exited', { ...OLD, isRootless: true })
    const life = await world.roll(V2)
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
  })

  test('where the next instance fails after a crashed one was mended, all is taken back', async () => {
    const { world, failures } = await hurt(['app1'], 'exited')
    const before = world.files.text(world.proxyPath)
    const life = await world.failAt({ method: 'compose.up', nth: 2, kind: 'throw' }).roll(V2)
    expect(life.end, shown(life, world)).toMatchObject({ type: 'failed' })
    expect([world.files.text(world.proxyPath), failures()]).toEqual([before, []])
  })

  test('one that a person had stopped, and that the way back starts, is put back once it answers', async () => {
    const { world, failures } = await hurt(['app1'], 'exited', { app: { startMs: 900 } })
    world.failAt({ method: 'compose.up', nth: 2, kind: 'throw' })
    const life = await world.roll({ image: 'ghcr.io/acme/hello:v2' })
    expect([life.status, orderOf(life)[0]]).toEqual(['failed', 'app1'])
    await world.settle()
    expect(failures()).toEqual([])
  })

  test('all of them crashed: the deploy that mends them is rolled', async () => {
    const { world } = await hurt(['app1', 'app2'], 'exited')
    const life = await world.roll(V2)
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
  })

  test('a version that runs already is rolled again where an instance of it has crashed', async () => {
    const { world, failures } = await hurt(['app1'], 'exited')
    const life = await world.roll({ image: OLD.image })
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
    expect([...failures(), ...world.inconsistencies()]).toEqual([])
  })

  test.each<[string, Hurt, string]>([
    ['the last one that answers is not taken out', { mode: 'sick' }, 'upstream-too-small'],
    ['nginx is not reloaded while one is missing', 'exited', 'container-missing'],
  ])('%s', async (_, how, code) => {
    const { world, failures } = await hurt(['app1'], how)
    const life = await world.roll({ ...V2, services: ['app2'] })
    expect(life.end).toMatchObject({
      type: 'failed',
      problem: { code, cure: expect.stringContaining('app1') },
    })
    expect([world.files.writes, failures()]).toEqual([0, []])
  })

  test('a healthcheck that calls everybody unhealthy is not asked', async () => {
    const world = new FakeWorld({ ...OLD, app: { pages: { '/nowhere': 404 } }, healthcheck: NOWHERE })
    await world.away(5000)
    const life = await world.roll(V2)
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
    expect(warningsOf(life)).toEqual(['healthcheck-unusable'])
  })

  test('a healthcheck that calls a slow start unhealthy, and takes that back, is waited for', async () => {
    const slow = { ...OLD, app: { startMs: 2500 }, stack: health({ timeoutMs: 10_000 }) }
    const world = new FakeWorld({
      ...slow,
      healthcheck: '{ test: [CMD, curl, -f, "http://localhost:3000/"], interval: 1s, retries: 1 }',
    })
    await world.away(5000)
    const life = await world.roll(V2)
    expect(life.events).toContainEqual(
      expect.objectContaining({
        type: 'step-progress',
        facts: { waiting: 'unhealthy by its Docker healthcheck' },
      }),
    )
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
    expect(await world.faultsAfter('changed')).toEqual([])
  })

  test('a healthcheck that looks long after the probe has its time is waited for', async () => {
    const world = new FakeWorld({ ...OLD, healthcheck: '{ test: [CMD, curl, localhost], interval: 90s }' })
    const life = await world.roll(V2)
    expect(life.end, shown(life, world)).toMatchObject({ type: 'succeeded', changed: true })
    expect(await world.faultsAfter('changed')).toEqual([])
  })
})

const NOWHERE = '{ test: [CMD, curl, -f, "http://localhost:3000/nowhere"], interval: 1s, retries: 1 }'

describe('a version that is no good is taken back, and no client sees it:', () => {
  test.each(['sick', 'flaps', 'hangs', 'never-listens', 'crashes', 'restarts', 'exits'])(
    '%s',
    async (mode) => {
      // As long as by default: what crashes a quarter of a second after it listens is seen.
      const world = new FakeWorld({
        image: 'ghcr.io/acme/hello:v1',
        stack: health({ timeoutMs: 5000, successes: 7, intervalMs: 250 }),
      })
      const life = await world.roll({ image: `ghcr.io/acme/hello:${mode}` })
      expect([life.status, orderOf(life)]).toEqual(['failed', ['app2', 'app1']])
      expect(await world.faultsAfter('unchanged')).toEqual([])
    },
  )
})

describe('several nginx that send requests to the same instances', () => {
  test.each(['container', 'service'] as const)('a second %s is refused', async (secondNginx) => {
    const world = new FakeWorld({ secondNginx, stack: { proxy: { service: 'nginx' } } })
    const life = await world.roll({ env: { MESSAGE: '{service},v2' } })
    expect(life.end).toMatchObject({ type: 'failed', problem: { code: 'proxy-several' } })
    expect([world.files.writes, world.failures()]).toEqual([0, []])
  })
})

test('a second nginx is seen also while the name of a crashed instance keeps it from loading', async () => {
  const world = new FakeWorld({ secondNginx: 'service', stack: { proxy: { service: 'nginx' } } })
  world.hurt('app1', 'exited')
  const life = await world.roll({ image: 'ghcr.io/acme/hello:v2' })
  expect(life.end).toMatchObject({ type: 'failed', problem: { code: 'proxy-several' } })
  expect(world.files.writes).toBe(0)
})

test('a worker_shutdown_timeout is warned of', async () => {
  const world = new FakeWorld()
  const path = world.proxyPath
  world.files.inode(path).text = `worker_shutdown_timeout 5s;\n${world.files.text(path)}`
  const life = await world.roll({ env: { MESSAGE: '{service},v2' } })
  expect(warningsOf(life)).toEqual(['worker-shutdown-timeout'])
})

test('`resolve` asks as the roll does, and takes what was sick before for what it was', async () => {
  const world = new FakeWorld({ app: { hosts: ['hello.example'] } })
  const never = new AbortController().signal
  expect(await world.run(findFaults(world.stack, world.ports, never))).toEqual([])
  world.hurt('app1', { mode: 'sick' })
  expect(await world.run(findFaults(world.stack, world.ports, never))).toEqual([
    expect.stringMatching(/^app1: .* 500/),
  ])
})
