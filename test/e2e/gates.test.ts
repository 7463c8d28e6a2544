// What a roll asks of a new version is asked of what runs first: stacks that no question suits as it stands, and stacks that are sick
// before. One agent for all of them.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { LoggedEvent } from '../../shared/events.ts'
import { under, type LoadOptions, type LoadResult } from '../support/load.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../support/ropeway.ts'
import { endAll, SEED_COMPOSE, startStack, type Stack } from '../support/stack.ts'

/**
 * A status page, a catch-all and another site come first, TLS before plain HTTP, and `/` allows one request a second: none of them is the
 * app's affair.
 */
const HARDENED = `user nginx;
events {}
http {
  keepalive_min_timeout 1s;
  limit_req_zone $binary_remote_addr zone=page:1m rate=1r/s;
  upstream api { server app1:3000; server app2:3000; }
  server { listen 127.0.0.1:8081; location / { stub_status; } }
  server { listen 80 default_server; server_name _; return 444; }
  server { listen 80; server_name blog.example; location / { proxy_pass http://127.0.0.1:1; } }
  server {
    listen 443 ssl;
    listen 80;
    ssl_certificate /etc/nginx/shop.example.pem;
    ssl_certificate_key /etc/nginx/shop.example.pem;
    server_name *.shop.example;
    location / { limit_req zone=page; proxy_pass http://api; proxy_set_header Host $host; }
    location /v1/ { proxy_pass http://api; proxy_set_header Host $host; }
  }
}
`
const withEnv = (text: string, ...lines: readonly string[]) =>
  text.replaceAll(/( {6}- 'MESSAGE=.*\n)/g, `$1${lines.map((line) => `      - '${line}'\n`).join('')}`)
const HEALTHCHECK = `    healthcheck:
      test: [CMD, node, -e, "fetch('http://localhost:3000/v1/up').then(({ ok }) => process.exit(ok ? 0 : 1))"]
      interval: 1s
    expose:`

const STACKS = {
  /** An API without a page at \`/\`, and nothing says where it has one. */
  api: {
    files: { 'docker-compose.yml': withEnv(SEED_COMPOSE, 'ROOT=404') },
    door: { path: '/v1/hello' },
  },
  /** It serves two names, of which nginx knows a wildcard, and its healthcheck says which page is there. */
  hardened: {
    files: {
      'docker-compose.yml': withEnv(SEED_COMPOSE, 'ROOT=401', 'HOST_NAMES=www.shop.example,localhost')
        .replaceAll('    expose:', HEALTHCHECK)
        .replace(
          '    volumes:\n',
          '    volumes:\n      - ./proxy/shop.example.pem:/etc/nginx/shop.example.pem\n',
        ),
      'proxy/nginx.conf': HARDENED,
      // A key and a certificate for it, made for these tests: nobody is to trust it.
      'proxy/shop.example.pem': await readFile(join(import.meta.dirname, 'tls/shop.example.pem')),
    },
    door: { path: '/v1/hello', host: 'www.shop.example' },
  },
  ill: { files: { 'docker-compose.yml': SEED_COMPOSE }, door: {} },
} as const
type Name = keyof typeof STACKS

const stacks = {} as Record<Name, Stack>
let ropeway: Ropeway

const configOf = (name: Name, health: object = {}) => ({
  compose: stacks[name].composeFiles[0],
  allow: { images: ['ropeway-test-app'], env: ['MESSAGE'] },
  // How often is asked is as by default, which here is the point; a version that is never well need not be waited for as long.
  health: { timeout: '5s', interval: '250ms', successes: 7, ...health },
})

beforeAll(async () => {
  for (const [name, { files, door }] of Object.entries(STACKS))
    stacks[name as Name] = await startStack(files, undefined, undefined, door)
  ropeway = await startRopeway({
    stacks: { api: configOf('api'), hardened: configOf('hardened'), ill: configOf('ill') },
  })
})
afterEach((context) => ropeway.explain(context))
afterAll(() => endAll(() => ropeway?.stop(), ...Object.values(stacks).map((stack) => () => stack.remove())))

const LOAD = { kind: 'fresh', connections: 2, ms: 40 } as const

async function underLoad(
  name: Name,
  image: string,
  load: Partial<LoadOptions> = {},
): Promise<[LoadResult, LoggedEvent[]]> {
  const { ip } = stacks[name]
  return await under({ ip, port: 80, ...LOAD, ...load }, () => ropeway.roll(name, { image }))
}

const noneFailed = ({ failed, failures }: LoadResult) =>
  expect({ failed, failures }).toEqual({ failed: 0, failures: [] })
const orderOf = (events: readonly LoggedEvent[]) =>
  stepsOf(events).flatMap(({ step }) => (step.kind === 'update' ? [step.service] : []))
const imagesOf = async (stack: Stack) =>
  Object.values(await stack.containers())
    .map(({ image }) => image)
    .filter((image) => !image.startsWith('nginx'))

describe('an API that answers 404 at `/`', () => {
  const load = { path: '/v1/hello' }

  test('is deployed: that is how a well one answers', async () => {
    const [result, events] = await underLoad('api', 'ropeway-test-app:v2', load)
    expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
    noneFailed(result)
  })

  // None of them is ever in traffic: each fails its gate before nginx is told.
  test.for(['sick', 'deaf', 'flaps', 'crashes-soon'])(
    'a version that is %s fails, and no client sees it',
    async (mode) => {
      const before = await imagesOf(stacks.api)
      const [result, events] = await underLoad('api', `ropeway-test-app:${mode}`, load)
      expect(finalOf(events)).toMatchObject({
        type: 'failed',
        problem: { code: mode === 'crashes-soon' ? 'container-exited' : 'container-unhealthy' },
      })
      noneFailed(result)
      expect(await imagesOf(stacks.api)).toEqual(before)
      expect(orderOf(events)).toEqual(['app2', 'app2'])
    },
  )
})

test('behind a status page, a catch-all, another site and a rate limit, with a Host that is checked', async () => {
  const plan = await ropeway.cli(['plan', 'hardened', '--image', 'ropeway-test-app:v2', '--json'])
  expect(JSON.parse(plan.stdout)).toMatchObject({
    gates: {
      probe: { kind: 'http', path: '/v1/up', host: 'www.shop.example' },
      before: { app1: { state: 'well' }, app2: { state: 'well' } },
      doors: [
        { tls: true, host: 'www.shop.example', path: '/v1/up', status: 200 },
        { tls: true, path: '/' },
      ],
    },
  })
  const load = { path: '/v1/hello', host: 'www.shop.example' }
  const [result, events] = await underLoad('hardened', 'ropeway-test-app:v2', load)
  expect(finalOf(events), JSON.stringify(finalOf(events))).toMatchObject({ type: 'succeeded', changed: true })
  noneFailed(result)
})

const setApp1 = async (image: string) => {
  const { ill } = stacks
  const text = await ill.read('docker-compose.yml')
  await ill.write('docker-compose.yml', text.replace(/(app1:\n\s+image: )\S+/, `$1ropeway-test-app:${image}`))
  await ill.compose('up', '-d', '--no-deps', '--pull', 'never', 'app1')
}

describe('a stack with an instance that is ill', () => {
  test('the sick one is rolled first, so that one always answers', async () => {
    await setApp1('sick')
    // By its name nginx finds the new container wherever its address is.
    await stacks.ill.compose('exec', '-T', 'nginx', 'nginx', '-s', 'reload')
    const [result, events] = await underLoad('ill', 'ropeway-test-app:v2')
    expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
    expect(orderOf(events)).toEqual(['app1', 'app2'])
    // Its own 500s, as long as it was in; never a 502.
    expect(result.failures.filter(({ why }) => why !== 'status 500')).toEqual([])
  })

  test('one that has crashed is brought back by the deploy that mends it', async () => {
    const { ill } = stacks
    const mended = await ill.read('docker-compose.yml')
    await setApp1('exits')
    // Nor could nginx be reloaded now: its configuration names a host that resolves nowhere.
    await expect.poll(async () => (await ill.containers())['app1']?.state).not.toBe('running')
    const nginx = await ill.read('proxy/nginx.conf')

    // Not by this one: then all is as it was.
    const [bad, failed] = await underLoad('ill', 'ropeway-test-app:sick')
    expect(finalOf(failed)).toMatchObject({ type: 'failed', problem: { code: 'container-unhealthy' } })
    // What nginx had sent to the crashed one's address before may still be on its way there.
    const out = stepsOf(failed).find(({ step }) => step.kind === 'switch')?.finishedAt ?? 0
    expect(bad.failures.filter(({ begunAt }) => begunAt > out)).toEqual([])
    expect(await ill.read('proxy/nginx.conf')).toBe(nginx)
    expect((await ill.containers())['app1']?.image).toBe('ropeway-test-app:exits')

    const [result, events] = await underLoad('ill', 'ropeway-test-app:v3')
    expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
    expect(orderOf(events)).toEqual(['app1', 'app2'])
    noneFailed(result)
    expect(await ill.read('proxy/nginx.conf')).toBe(nginx)
    expect(new Set(await ill.answers(8)).size).toBe(2)
    expect(await ill.read('docker-compose.yml')).not.toBe(mended)
  })
})
