// What nginx and those who answer behind it may do while a roll is under way, and what a roll makes of it.

import { expect, test } from 'vitest'
import { FakeWorld, HEALTH, type Life, type WorldOptions } from '../../support/fake-world.ts'
import { Problem } from '../../../shared/problems.ts'

const V2 = { env: { MESSAGE: '{service},v2' } }
const site = (listen: string, location: string) =>
  `  server {\n    listen ${listen};\n    server_name hello.example;\n    location / { ${location} }\n  }\n`

function problemOf({ end }: Life): string | undefined {
  return end && 'problem' in end ? end.problem.code : undefined
}

/** Something happens the first time that a method of a port is called after a moment; before the call, and it may answer in its place. */
function once<P extends object, K extends keyof P>(
  port: P,
  method: K,
  isTime: (...args: unknown[]) => boolean,
  happens: (...args: unknown[]) => unknown,
): void {
  const real = port[method] as (...args: unknown[]) => unknown
  let hasHappened = false
  const replaced = async (...args: unknown[]) => {
    if (hasHappened || !isTime(...args)) return await Reflect.apply(real, port, args)
    hasHappened = true
    return (await happens(...args)) ?? (await Reflect.apply(real, port, args))
  }
  Object.assign(port, { [method]: replaced })
}

test.each<[string, WorldOptions]>([
  [
    'a health path of its own, and nothing at /',
    {
      app: { pages: { '*': 404, '/up': 204 } },
      stack: {
        health: { ...HEALTH, path: '/up' },
      },
    },
  ],
  [
    'an app that knows its own name only',
    {
      app: { hosts: ['hello.example'] },
      sites: site('80', 'proxy_set_header Host $host; proxy_pass http://apps;'),
    },
  ],
  ['nginx behind TLS', { sites: site('443 ssl', 'proxy_pass http://apps;') }],
  ['addresses of both families', { isDualStack: true }],
  [
    'a healthcheck of three seconds',
    { healthcheck: '{ test: [CMD, wget, "http://localhost:3000/"], interval: 3s }' },
  ],
  [
    'an anchor that changes nothing',
    {
      files: {
        '/srv/hello/docker-compose.yml': `x-app: &app
  expose: ["3000"]
services:
  nginx: { image: 'nginx:1.30', volumes: ['./proxy/nginx.conf:/etc/nginx/nginx.conf'] }
  base: { image: 'redis:8', restart: always }
  app1:
    <<: *app
    image: hello:v1
    environment: ['MESSAGE=app1,v1']
  app2:
    extends: { service: base }
    image: hello:v1
    environment: ['MESSAGE=app2,v1']
`,
      },
    },
  ],
])('a stack with %s is rolled', async (_, options) => {
  const world = new FakeWorld(options)
  const life = await world.roll(V2)
  expect(life.end, world.story()).toMatchObject({ type: 'succeeded', changed: true })
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('a text that nginx refuses in the middle of a roll is taken back, with what nginx says', async () => {
  const world = new FakeWorld()
  world.nginx.refuse = (text) => (/app2:3000 down/.test(text) ? 'no such parameter' : undefined)
  const life = await world.roll(V2)
  expect(life.end).toMatchObject({
    type: 'failed',
    problem: {
      code: 'nginx-refused',
      log: expect.arrayContaining([expect.stringContaining('no such parameter')]),
    },
  })
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('a mounted file that an editor replaces just before it is written is not reloaded', async () => {
  const world = new FakeWorld()
  const { files, proxyPath } = world
  once(
    files,
    'write',
    (path) => path === proxyPath,
    () => files.replace(proxyPath, files.text(proxyPath)),
  )
  const life = await world.roll(V2)
  expect([life.status, problemOf(life)]).toEqual(['failed', 'nginx-stale'])
  expect(world.nginx.newest().number).toBe(1)
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test.each([502, 503, 504])('a new version that nginx gets %i of is taken back', async (status) => {
  // By TLS: a plain request there is answered by nginx itself, with 400 whatever runs behind it.
  const world = new FakeWorld({ sites: site('443 ssl', 'proxy_pass http://apps;') })
  const isNew = () =>
    ['app1', 'app2'].every((service) =>
      world.containers.ofService(service)[0]?.env['MESSAGE']?.endsWith('v2'),
    )
  const { get } = world.ports.http
  Object.assign(world.ports.http, {
    get: async (...[target, ...rest]: Parameters<typeof get>) =>
      target.ip === world.nginx.container.ip && target.tls === true && isNew()
        ? { status }
        : await get(target, ...rest),
  })
  const life = await world.roll(V2)
  expect([life.status, problemOf(life)]).toEqual(['failed', 'proxy-unhealthy'])
  expect(await world.faultsAfter('unchanged')).toEqual([])
})

test('a request that comes between two looks of the drain is not cut', async () => {
  const world = new FakeWorld()
  const { engine } = world.ports
  const { processes, connections } = engine
  let gone: readonly number[] | undefined
  Object.assign(engine, {
    // The last worker of the former configuration sends it, and is gone.
    connections: async (...args: Parameters<typeof connections>) => {
      const count = await connections(...args)
      if (count > 0 || gone) return count
      gone = world.nginx.generations()[0]?.pids
      world.traffic.hold('app2', 1500, 'former')
      return count
    },
    processes: async (...args: Parameters<typeof processes>) =>
      (await processes(...args)).filter(({ pid }) => !gone?.includes(pid)),
  })
  expect((await world.roll(V2)).status).toBe('succeeded')
  expect(await world.faultsAfter('changed')).toEqual([])
})

test('nginx is told anew of an address that changes while the way back fails', async () => {
  const world = new FakeWorld()
  const isBack = () => world.story().includes('] undoing')
  const [app1] = world.containers.ofService('app1')
  if (!app1) throw new Error('app1 does not run')
  once(
    world.ports.http,
    'get',
    (target) => isBack() && (target as { ip: string }).ip === world.nginx.container.ip,
    () => {
      world.traffic.excuse(app1)
      Object.assign(app1, { ip: '172.18.200.1' })
      throw new Problem('engine-unreachable', 'it restarts')
    },
  )
  const life = await world.failAt({ method: 'compose.up', nth: 2, kind: 'throw' }).roll(V2)
  expect(life.status, world.story()).toBe('failed')
  expect(world.nginx.newest().servers[0]?.ips).toEqual(['172.18.200.1'])
  expect(await world.faultsAfter('unchanged')).toEqual([])
})
