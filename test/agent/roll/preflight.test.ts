// What a roll refuses before it touches anything: every code that preflight, observation and policy can give.

import { expect, test } from 'vitest'
import type { StackConfig } from '../../../agent/config/config.ts'
import type { ProblemCode } from '../../../shared/problems.ts'
import type { DeployRequest } from '../../../shared/request.ts'
import { FakeWorld, type WorldOptions } from '../../support/fake-world.ts'
import { COMPOSE_PATH, stackFiles } from '../../support/world/stack-files.ts'

interface Case {
  readonly code: ProblemCode
  readonly world?: WorldOptions
  readonly stack?: Partial<StackConfig>
  readonly request?: DeployRequest
  /** Done to the world before the deploy comes. */
  readonly before?: (world: FakeWorld) => void
}

const V2 = { env: { MESSAGE: '{service},v2' } }
const NGINX_PATH = '/srv/hello/proxy/nginx.conf'
const TEXTS = stackFiles(new FakeWorld().shape)

const edited = (path: string, from: string | RegExp, to: string): WorldOptions => ({
  files: { [path]: (TEXTS[path] ?? '').replace(from, to) },
})
const rewrite = (path: string, from: string | RegExp, to: string) => (world: FakeWorld) => {
  world.files.inode(path).text = world.files.text(path).replace(from, to)
}

const SHARED = (anchor: string, alias: string) => `  app2: ${anchor}
    image: hello:v1
    environment: { MESSAGE: v1 }
  app1:
    ${alias}
    environment: { MESSAGE: v1 }
  cache:`

const CASES: Readonly<Record<string, Case>> = {
  'an image of another repository': { code: 'image-not-allowed', request: { image: 'ghcr.io/evil/app:v1' } },
  'an image when only those that run are allowed': {
    code: 'image-not-allowed',
    stack: { allow: { images: undefined, env: [] } },
    request: { image: 'ghcr.io/acme/other:v1' },
  },
  'a variable that is not allowed': { code: 'env-not-allowed', request: { env: { PATH: '/tmp' } } },
  'nothing asked for, and several images run': {
    code: 'request-invalid',
    world: edited(COMPOSE_PATH, 'ghcr.io/acme/hello:v1', 'hello:v1'),
    request: {},
  },
  'a tag alone, and several repositories run': {
    code: 'request-invalid',
    world: edited(COMPOSE_PATH, 'ghcr.io/acme/hello:v1', 'hello:v1'),
    request: { tag: 'v2' },
  },
  'a digest that its repository has not': {
    code: 'image-not-found',
    request: { digest: `sha256:${'a'.repeat(64)}` },
  },
  'an image that is in no registry': { code: 'image-not-found', request: { image: 'ghcr.io/acme/hello:v9' } },
  'a proxy service that is not there': { code: 'service-unknown', stack: { proxy: { service: 'caddy' } } },
  'an instance that is not there': { code: 'service-unknown', stack: { instances: ['app1', 'app9'] } },
  'an instance that is in no upstream': { code: 'service-unknown', stack: { instances: ['app1', 'cache'] } },
  'an upstream that is not there': { code: 'upstream-unknown', stack: { proxy: { upstream: 'others' } } },
  'another configuration than the one with the upstream': {
    code: 'upstream-unknown',
    stack: { proxy: { config: COMPOSE_PATH } },
  },
  'no service that looks like nginx': {
    code: 'upstream-unknown',
    world: edited(COMPOSE_PATH, /image: redis:8\n/, 'image: redis:8\n'),
    before: rewrite(COMPOSE_PATH, /nginx:1.30\n    volumes:\n.*\n/, 'redis:8\n'),
  },
  'two services that look like nginx': {
    code: 'upstream-unknown',
    before: rewrite(
      COMPOSE_PATH,
      'image: redis:8',
      'image: nginx:1.30\n    volumes: ["./proxy:/etc/nginx/x"]',
    ),
  },
  'only one live server': { code: 'upstream-too-small', world: { instances: 2, down: ['app1'] } },
  'two live servers of one service': {
    code: 'upstream-too-small',
    world: edited(NGINX_PATH, 'server app2:3000;', 'server app1:3001;'),
  },
  'a compose file that cannot be written': {
    code: 'file-unusable',
    before: ({ files }) => files.readOnly.add(COMPOSE_PATH),
  },
  'an nginx file that cannot be written': {
    code: 'file-unusable',
    before: ({ files }) => files.readOnly.add(NGINX_PATH),
  },
  'an instance without a container': {
    code: 'container-missing',
    before: (world) => void (world.containers.ofService('app2')[0]!.state = 'paused'),
  },
  'nginx without a container': {
    code: 'nginx-not-running',
    before: (world) => world.containers.stop(world.nginx.container, 0),
  },
  'a configuration that nginx refuses': {
    code: 'nginx-refused',
    before: rewrite(NGINX_PATH, 'weight=2', 'wait=2'),
  },
  'a mounted file that an editor has replaced': {
    code: 'nginx-stale',
    before: (world) => world.files.replace(NGINX_PATH, `${world.files.text(NGINX_PATH)}# new\n`),
  },
  'a compose file that is no YAML': {
    code: 'compose-invalid',
    before: rewrite(COMPOSE_PATH, 'services:', 'services: ]'),
  },
  'an environment that another service takes over': {
    code: 'compose-edit-spills',
    world: edited(
      COMPOSE_PATH,
      /  app1:[^]*  cache:/,
      `  app1: &app
    image: hello:v1
    environment: { MESSAGE: v1 }
  app2:
    image: hello:v1
  cache:
    <<: *app`,
    ),
    before: rewrite(COMPOSE_PATH, 'image: redis:8', 'restart: always'),
  },
  // In the end both would have what is wanted; after the first step the other has it too.
  'an image that the next instance takes over by an anchor': {
    code: 'compose-edit-spills',
    world: edited(COMPOSE_PATH, /  app1:[^]*  cache:/, SHARED('&app', '<<: *app')),
    request: { image: 'hello:v2' },
  },
  'an image that the next instance takes over by extends': {
    code: 'compose-edit-spills',
    world: edited(COMPOSE_PATH, /  app1:[^]*  cache:/, SHARED('', 'extends: { service: app2 }')),
    request: { image: 'hello:v2' },
  },
}

for (const [name, { code, world: options, stack, request = V2, before }] of Object.entries(CASES))
  test(`${name}: ${code}`, async () => {
    const world = new FakeWorld({ ...options, stack: { ...options?.stack, ...stack } })
    before?.(world)
    const picture = world.picture()
    const life = await world.roll(request)
    expect(life.end).toMatchObject({ type: 'failed', problem: { code } })
    expect([world.picture(), world.files.writes]).toEqual([picture, 0])
    expect(life.calls.some(({ method }) => method === 'compose.up' || method === 'engine.hangUp')).toBe(false)
  })
