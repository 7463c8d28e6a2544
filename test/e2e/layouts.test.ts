// Stacks as people have them: every way to mount and write the two files, other nginx versions, other numbers of instances. One agent
// for all of them.

import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { under, type LoadOptions } from '../support/load.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../support/ropeway.ts'
import { SEED_COMPOSE, seedNginxConf, endAll, startStack, type Stack } from '../support/stack.ts'

interface Layout {
  readonly files: Record<string, string | Uint8Array>
  readonly composeFiles?: readonly string[]
  /** More of the stack's ropeway.yml. */
  readonly config?: object
}

const SEED_MOUNT = './proxy/nginx.conf:/etc/nginx/nginx.conf'
const CONF_D = `# ours
keepalive_min_timeout 1s;
upstream apps {
	least_conn; # tabs, odd spacing, parameters
	server  app1:3000 weight=2 max_fails=3 ;	# first
	server app2:3000;
}
server {
	listen 80;
	location / { proxy_pass http://apps; }
}
`
const ANCHORS = `x-app: &app
  expose: ["3000"] # both
  image: &image "ropeway-test-app:\${TAG}"
  environment: &env
    LOG: 'on' # quoted

services:
  nginx: { image: nginx:1.30, volumes: ['${SEED_MOUNT}'] }
  app1:
    <<: *app
    image: *image
    environment:
      <<: *env
      MESSAGE: "app1,v1" # double quoted
  app2:
    <<: *app
    environment: { <<: *env, 'MESSAGE': 'app2,v1', OTHER: x } # a flow map
`
// A database, a migration that has run, and an nginx that compose restarts with its apps: none is the roll's affair.
const DEPENDING = `services:
  db: { image: nginx:1.30, healthcheck: { test: [CMD, 'true'], interval: 1s } }
  migrate: { image: nginx:1.30, command: ['true'], depends_on: { db: { condition: service_healthy } } }
  nginx:
    image: nginx:1.30
    volumes: ['${SEED_MOUNT}']
    depends_on:
      app1: { condition: service_started, restart: true }
      app2: { condition: service_started, restart: true }
  app1: &app
    image: ropeway-test-app:v1
    env_file: app.env
    environment: { MESSAGE: 'app1,v1' }
    depends_on: { db: { condition: service_healthy }, migrate: { condition: service_completed_successfully } }
  app2:
    <<: *app
    environment: { MESSAGE: 'app2,v1' }
`
// LEVEL is set nowhere when the stack is started.
const OVERRIDE = `services:
  app1:
    environment: ['LEVEL=\${LEVEL}']
  app2:
    environment: ['MESSAGE=app2,v1'] # here for app2
`

/** Other test runs on this machine have networks of their own. */
const PREFIX = `fd00:${process.pid.toString(16)}:`

/**
 * A network of both families in which nginx reaches its servers by IPv6 alone. Each address keeps its MAC: older engines tell no neighbour when
 * one has moved to another.
 */
const OVER_IPV6 = `${SEED_COMPOSE.replace(
  '    volumes:',
  `    extra_hosts: ['app1:${PREFIX}:11', 'app2:${PREFIX}:12']\n    volumes:`,
).replaceAll(
  /  app(.):\n/g,
  (service, n: string) =>
    `${service}    mac_address: '02:42:00:00:00:1${n}'\n    networks: { default: { ipv6_address: '${PREFIX}:1${n}' } }\n`,
)}networks:
  default:
    enable_ipv6: true
    ipam: { config: [{ subnet: '${PREFIX}:/64' }] }
`

/** With a comment in ISO 8859-1, as older editors write it: no UTF-8. */
function latin1(nginxConf: string): Buffer {
  return Buffer.from(`# Größe\n${nginxConf}`, 'latin1')
}

function layouts(nginxConf: string) {
  const instances = ['app1', 'app2', 'app3']
  const app3 = SEED_COMPOSE.slice(SEED_COMPOSE.indexOf('  app2:')).replaceAll('app2', 'app3')
  return {
    directory: {
      files: {
        'docker-compose.yml': SEED_COMPOSE.replace(SEED_MOUNT, './nginx:/etc/nginx'),
        'nginx/nginx.conf': nginxConf,
        'nginx/mime.types': 'types { text/html html; }\n',
        'nginx/conf.d/none.conf': '',
      },
    },
    included: {
      files: {
        'docker-compose.yml': SEED_COMPOSE.replace(SEED_MOUNT, './conf.d:/etc/nginx/conf.d'),
        'conf.d/apps.conf': CONF_D,
        'conf.d/other.conf': 'upstream unrelated { server 127.0.0.1:9; }\n',
      },
    },
    anchors: { files: { 'docker-compose.yml': ANCHORS, '.env': 'TAG=v1\n' } },
    several: {
      files: {
        'docker-compose.yml': SEED_COMPOSE,
        'override.yml': OVERRIDE,
        'prod.env': 'LEVEL=info\n',
      },
      composeFiles: ['docker-compose.yml', 'override.yml'],
    },
    three: {
      files: {
        'docker-compose.yml': SEED_COMPOSE + app3,
        'proxy/nginx.conf': nginxConf
          .replace('server app2:3000;', 'server app2:3000;\n        server app3:3000 max_fails=2;')
          .replace('error.log warn', 'error.log notice'),
      },
      config: { instances },
    },
    down: {
      files: {
        'docker-compose.yml': SEED_COMPOSE + app3,
        'proxy/nginx.conf': nginxConf.replace(
          'server app2:3000;',
          'server app2:3000 down; # mine\n        server app3:3000;',
        ),
      },
    },
    old: {
      files: {
        'docker-compose.yml': SEED_COMPOSE.replace('nginx:1.30', 'nginx:1.22'),
        'proxy/nginx.conf': nginxConf.replace(/.*keepalive_min_timeout.*\n/g, ''),
      },
    },
    ipv6: {
      files: { 'docker-compose.yml': OVER_IPV6, 'proxy/nginx.conf': latin1(nginxConf) },
    },
    depending: { files: { 'docker-compose.yml': DEPENDING, 'app.env': 'LOG=on\n' } },
    init: {
      files: {
        'docker-compose.yml': SEED_COMPOSE.replace(
          '    volumes:',
          "    init: true\n    command: [nginx, -c, /cfg/nginx.conf, -g, 'daemon off;']\n    volumes:",
        ).replace(SEED_MOUNT, './proxy/nginx.conf:/cfg/nginx.conf'),
      },
    },
  } satisfies Record<string, Layout>
}
type Name = keyof ReturnType<typeof layouts>

const stacks = {} as Record<Name, Stack>
let ropeway: Ropeway

beforeAll(async () => {
  const all: [string, Layout][] = Object.entries(layouts(await seedNginxConf()))
  const start = async ([name, { files, composeFiles, config }]: [string, Layout]) => {
    const stack = await startStack(files, composeFiles)
    stacks[name as Name] = stack
    return [
      name,
      {
        compose: stack.composeFiles,
        allow: { images: ['ropeway-test-app'], env: ['MESSAGE'] },
        ...config,
      },
    ]
  }
  // Settled, so that one which fails leaves none that starts behind our back.
  const started = await Promise.allSettled(all.map(start))
  const faults = started.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
  if (faults.length > 0) throw new AggregateError(faults, faults.map(String).join('\n'))
  const configs = Object.fromEntries(
    started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])),
  ) as Record<string, object>
  ropeway = await startRopeway({ stacks: configs })
})
afterEach((context) => ropeway.explain(context))
afterAll(() => endAll(() => ropeway?.stop(), ...Object.values(stacks).map((stack) => () => stack.remove())))

const LOAD = { kind: 'idle', connections: 8, ms: 40 } as const
const VERSION = { env: { MESSAGE: '{service},v2' } }

/** Rolls a stack to v2 under load: nothing fails, all answer by it, and compose then finds nothing to do. */
async function rolls(
  name: Name,
  {
    load = LOAD,
    request = VERSION,
    answering = ['app1', 'app2'],
  }: { load?: Omit<LoadOptions, 'ip' | 'port'>; request?: object; answering?: string[] } = {},
) {
  const stack = stacks[name]
  const [result, events] = await under({ ip: stack.ip, port: 80, ...load }, () => ropeway.roll(name, request))
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  expect({ failed: result.failed, failures: result.failures }).toEqual({ failed: 0, failures: [] })
  expect(result.requests).toBeGreaterThan(0)
  expect(new Set(await stack.answers(12))).toEqual(
    new Set(answering.map((service) => `Hi there, I love ! ${service},v2`)),
  )
  await upByHandIsNoOp(stack)
  return { stack, events }
}

/** compose starts a container again that is there to end, at each `up`. */
async function upByHandIsNoOp(stack: Stack, ...options: string[]): Promise<void> {
  const seen = async () =>
    Object.fromEntries(
      Object.entries(await stack.containers()).map(([name, one]) => [
        name,
        name === 'migrate' ? one.id : one,
      ]),
    )
  const before = await seen()
  await stack.compose(...options, 'up', '-d', '--pull', 'never')
  expect(await seen()).toEqual(before)
}

const warningsOf = (events: Awaited<ReturnType<typeof rolls>>['events']) =>
  events.flatMap(({ event }) => (event.type === 'warning' ? [event.problem.code] : []))
const reloads = (events: Awaited<ReturnType<typeof rolls>>['events']) =>
  stepsOf(events).filter(({ step }) => step.kind === 'switch').length

test('nginx.conf in a mounted folder is replaced by rename, and nothing is left beside it', async () => {
  const path = join(stacks.directory.folder, 'nginx/nginx.conf')
  const before = { text: await stacks.directory.read('nginx/nginx.conf'), inode: (await stat(path)).ino }
  const { stack } = await rolls('directory')
  expect(await stack.read('nginx/nginx.conf')).toBe(before.text)
  expect((await stat(path)).ino).not.toBe(before.inode)
  expect((await readdir(join(stack.folder, 'nginx'))).toSorted()).toEqual([
    'conf.d',
    'mime.types',
    'nginx.conf',
  ])
})

test('nginx.conf mounted by itself keeps its inode', async () => {
  const path = join(stacks.several.folder, 'proxy/nginx.conf')
  const { ino } = await stat(path)
  await rolls('several')
  expect((await stat(path)).ino).toBe(ino)
  // Each file was edited where it says what runs.
  expect(await stacks.several.read('override.yml')).toBe(OVERRIDE.replace('app2,v1', 'app2,v2'))
  expect(await stacks.several.read('docker-compose.yml')).toBe(SEED_COMPOSE.replace('app1,v1', 'app1,v2'))
})

test('a variable that what runs has and the agent has not is no blank: it stops the roll, or comes from the same --env-file', async () => {
  const stack = stacks.several
  const level = async () =>
    (await stack.containers())['app1']?.env.find((entry) => entry.startsWith('LEVEL='))
  vi.stubEnv('LEVEL', 'exported')
  await stack.compose('up', '-d', '--pull', 'never').finally(() => vi.unstubAllEnvs())
  const before = await stack.containers()
  const refused = await ropeway.roll('several', { env: { MESSAGE: '{service},v3' } })
  expect(finalOf(refused)).toMatchObject({
    type: 'failed',
    problem: { code: 'compose-invalid', message: expect.stringContaining('LEVEL of app1') as string },
  })
  expect(await stack.containers()).toEqual(before)
  await stack.compose('--env-file', join(stack.folder, 'prod.env'), 'up', '-d', '--pull', 'never')
  const events = await ropeway.roll('several', { env: { MESSAGE: '{service},v3' } })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  expect(warningsOf(events)).toEqual([])
  expect(await level()).toBe('LEVEL=info')
  await upByHandIsNoOp(stack, '--env-file', join(stack.folder, 'prod.env'))
})

test('an upstream in an included file, with parameters, tabs and comments', async () => {
  const { stack } = await rolls('included')
  expect(await stack.read('conf.d/apps.conf')).toBe(CONF_D)
})

test('environment in maps, quoted, with anchors and merges', async () => {
  const { stack } = await rolls('anchors')
  expect(await stack.read('docker-compose.yml')).toBe(ANCHORS.replaceAll(/(app\d),v1/g, '$1,v2'))
})

test('an image behind an anchor is changed there', async () => {
  const stack = stacks.anchors
  const { app1 } = await stack.containers()
  const events = await ropeway.roll('anchors', { image: 'ropeway-test-app:v3' })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  const after = await stack.containers()
  expect(after['app1']?.imageId).not.toBe(app1?.imageId)
  expect(after['app2']?.imageId).toBe(after['app1']?.imageId)
  const text = await stack.read('docker-compose.yml')
  expect(text.replace(/image: &image ".*"/, 'image: &image "ropeway-test-app:${TAG}"')).toBe(
    ANCHORS.replaceAll(/(app\d),v1/g, '$1,v2'),
  )
  expect(warningsOf(events)).toEqual(['image-variable', 'image-variable'])
  await upByHandIsNoOp(stack)
})

test('what the instances depend on is left alone, forward and on the way back, and so is what depends on them', async () => {
  const stack = stacks.depending
  const others = async () => {
    const { db, migrate, nginx } = await stack.containers()
    return { db, migrate, nginx }
  }
  const before = await others()
  const failed = await ropeway.roll('depending', { image: 'ropeway-test-app:exits' })
  expect(finalOf(failed)).toMatchObject({ type: 'failed' })
  expect(await others()).toEqual(before)
  await upByHandIsNoOp(stack)
  const between = await others()
  const events = await ropeway.roll('depending', { ...VERSION, force: true })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  expect(await others()).toEqual(between)
  await upByHandIsNoOp(stack)
  expect(warningsOf(events)).toEqual([])
})

test('three instances cost four reloads', async () => {
  const { stack, events } = await rolls('three', { answering: ['app1', 'app2', 'app3'] })
  expect(reloads(events)).toBe(4)
  const log = await stack.compose('logs', '--no-log-prefix', 'nginx')
  expect([...log.matchAll(/#\d+: reconfiguring$/gm)]).toHaveLength(4)
})

test('a server that its user has marked down is updated and stays down', async () => {
  const { stack, events } = await rolls('down', { answering: ['app1', 'app3'] })
  expect((await stack.containers())['app2']?.env).toContain('MESSAGE=app2,v2')
  expect(reloads(events)).toBe(3)
  expect(await stack.read('proxy/nginx.conf')).toContain('server app2:3000 down; # mine\n')
})

test('an nginx without keepalive_min_timeout gives a warning, and loses nothing but idle connections', async () => {
  const { events } = await rolls('old', { load: { kind: 'fresh', connections: 4 } })
  expect(warningsOf(events)).toEqual(['no-keepalive-min-timeout'])
})

test('requests that go by IPv6, longer than old workers live, and an nginx.conf that is not UTF-8', async () => {
  const { stack, events } = await rolls('ipv6', { load: { kind: 'idle', connections: 8, ms: 2500 } })
  const drains = stepsOf(events).filter(({ step }) => step.kind === 'drain')
  expect(drains.map(({ facts }) => facts)).toEqual([{ cut: 0 }, { cut: 0 }])
  expect(await readFile(join(stack.folder, 'proxy/nginx.conf'))).toEqual(latin1(await seedNginxConf()))
})

test('an nginx whose master is not the first process of its container, with a configuration file of its own name', async () => {
  const { events } = await rolls('init')
  expect(warningsOf(events)).toEqual([])
})
