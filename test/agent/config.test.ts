import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findConfig, loadConfig } from '../../agent/config.ts'
import { parseDuration } from '../../agent/config-schema.ts'
import { relayOrigin } from '../../agent/relay-origin.ts'
import { Problem } from '../../shared/problems.ts'
import { OTHER_SECRET, SECRET, tempDir } from '../support/host.ts'

function write(text: string): string {
  const dir = tempDir()
  writeFileSync(join(dir, 'docker-compose.yml'), 'services: {}\n')
  mkdirSync(join(dir, 'proxy'))
  writeFileSync(join(dir, 'proxy/nginx.conf'), 'events {}\n')
  writeFileSync(join(dir, 'secret'), `${SECRET}\n`)
  writeFileSync(join(dir, 'ropeway.yml'), text)
  return join(dir, 'ropeway.yml')
}

async function faultsOf(text: string, env: NodeJS.ProcessEnv = {}): Promise<readonly string[]> {
  const error: unknown = await loadConfig(write(text), env).catch((thrown: unknown) => thrown)
  if (!(error instanceof Problem)) throw new Error('it was accepted')
  expect(error.code).toBe('config-invalid')
  return error.log ?? [error.message]
}

const MINIMAL = `relay: http://127.0.0.1:8787
host: vps-1
stacks:
  hello:
    compose: ./docker-compose.yml
`

describe('what is right', () => {
  test('a stack needs nothing but its compose file; the rest are the documented defaults', async () => {
    const path = write(MINIMAL)
    expect(await loadConfig(path, {})).toEqual({
      path,
      relay: 'http://127.0.0.1:8787',
      host: 'vps-1',
      stacks: [
        {
          name: 'hello',
          compose: [join(path, '../docker-compose.yml')],
          project: undefined,
          proxy: {},
          instances: undefined,
          health: {
            path: '/',
            status: { min: 200, max: 399 },
            intervalMs: 100,
            successes: 2,
            timeoutMs: 60_000,
          },
          drainTimeoutMs: 30_000,
          soakMs: 0,
          allow: { images: undefined, env: [] },
          triggers: [],
        },
      ],
    })
  })

  test('every key of the design is read, and paths are relative to the file', async () => {
    const path = write(`
relay: https://ropeway.acme.workers.dev/
host: vps-1
stacks:
  hello:
    compose: [./docker-compose.yml]
    project: hello
    proxy: { service: nginx, config: ./proxy/nginx.conf, upstream: apps }
    instances: [app1, app2]
    health: { path: /up?x=1, status: 200, interval: 1s, successes: 3, timeout: 2m }
    drain: { timeout: 10s }
    soak: 1.5s
    allow: { images: [ghcr.io/acme/hello, hello], env: [MESSAGE] }
    triggers:
      deploy: { type: standard-webhooks, secret: { env: A } }
      ci: { type: standard-webhooks, secret: [{ env: B }, { file: ./secret }] }
`)
    const config = await loadConfig(path, { A: SECRET, B: OTHER_SECRET })
    expect(config.relay).toBe('https://ropeway.acme.workers.dev')
    expect(config.stacks[0]).toEqual({
      name: 'hello',
      compose: [join(path, '../docker-compose.yml')],
      project: 'hello',
      proxy: { service: 'nginx', config: join(path, '../proxy/nginx.conf'), upstream: 'apps' },
      instances: ['app1', 'app2'],
      health: {
        path: '/up?x=1',
        status: { min: 200, max: 200 },
        intervalMs: 1000,
        successes: 3,
        timeoutMs: 120_000,
      },
      drainTimeoutMs: 10_000,
      soakMs: 1500,
      allow: { images: ['ghcr.io/acme/hello', 'docker.io/library/hello'], env: ['MESSAGE'] },
      triggers: [
        { type: 'standard-webhooks', stack: 'hello', name: 'deploy', secrets: [SECRET] },
        { type: 'standard-webhooks', stack: 'hello', name: 'ci', secrets: [OTHER_SECRET, SECRET] },
      ],
    })
  })

  test('a command without the agent’s environment reads all but the triggers', async () => {
    const path = write(
      `${MINIMAL}    triggers: { deploy: { type: standard-webhooks, secret: { env: NOT_SET } } }\n`,
    )
    const config = await loadConfig(path, {}, { withSecrets: false })
    expect(config.stacks[0]?.triggers).toEqual([])
    await expect(loadConfig(path, {})).rejects.toThrow('has a fault')
  })
})

describe('what is wrong', () => {
  test('all faults are reported at once, each with its line and path, in the file’s order', async () => {
    const faults = await faultsOf(
      `relay: http://relay.example.com
host: VPS
colour: blue
stacks:
  hello:
    compose: ./missing.yml
    helth: {}
    health: { path: up, status: 700, interval: 5, successes: 0 }
    instances: [app1, app1]
    allow: { images: ["hello:v1"], env: ["A-B"] }
    triggers:
      deploy: { type: standard-webhooks, secret: { env: NOT_SET } }
      short: { type: standard-webhooks, secret: { env: SHORT } }
      inline: { type: standard-webhooks, secret: whsec_abc }
      odd: { type: smoke-signal, secret: { file: ./nowhere } }
  other: {}
`,
      { SHORT: 'whsec_YWJj' },
    )
    expect(faults.map((fault) => fault.replace(/\/tmp\/[^/]+/g, 'DIR'))).toEqual([
      'line 1: relay: sends tokens in the clear over a public network: use https',
      'line 2: host: a name is up to 63 lower-case letters, digits and dashes, and begins with no dash',
      'line 3: colour: is not a key that Ropeway knows',
      'line 6: stacks.hello.compose: there is no file DIR/missing.yml',
      'line 7: stacks.hello.helth: is not a key that Ropeway knows',
      'line 8: stacks.hello.health.path: should begin with / and have no spaces',
      'line 8: stacks.hello.health.status: should be a status as 200 or a range as 200-399',
      'line 8: stacks.hello.health.interval: should be a duration as 100ms, 60s, 2m or 1h',
      'line 8: stacks.hello.health.successes: Too small: expected number to be >=1',
      'line 9: stacks.hello.instances: names a service twice',
      'line 10: stacks.hello.allow.images.0: should be an image repository without a tag or digest',
      'line 10: stacks.hello.allow.env.0: is not the name of an environment variable',
      'line 12: stacks.hello.triggers.deploy.secret: NOT_SET is not set in the environment',
      'line 13: stacks.hello.triggers.short.secret: SHORT has 3 bytes, fewer than 24',
      'line 14: stacks.hello.triggers.inline.secret: should be { env: NAME } or { file: PATH }: the secret itself does not belong into this file',
      'line 15: stacks.hello.triggers.odd.type: should be standard-webhooks',
      'line 15: stacks.hello.triggers.odd.secret: DIR/nowhere cannot be read: ENOENT',
      'line 16: stacks.other.compose: is missing',
    ])
  })

  test('a secret never appears in a fault', async () => {
    const secret = 'whsec_c2VjcmV0LXNlY3JldA=='
    const faults = await faultsOf(
      `${MINIMAL}    triggers:\n      a: { type: standard-webhooks, secret: ${secret} }\n      b: { type: standard-webhooks, secret: { env: S } }\n`,
      { S: secret },
    )
    expect(faults).toHaveLength(2)
    expect(faults.join()).not.toContain('c2VjcmV0')
  })

  test.each([
    ['an empty file', '', 'line 1: relay: is missing'],
    ['a list', '- a\n', 'line 1: should be a mapping'],
    ['a stack without anything', `${MINIMAL}  empty:\n`, 'line 6: stacks.empty: should be a mapping'],
    ['no stack', 'relay: https://r.example\nhost: a\nstacks: {}\n', 'line 3: stacks: has no stack'],
    [
      'a bad stack name',
      `${MINIMAL}  Bad: { compose: ./docker-compose.yml }\n`,
      'line 6: stacks.Bad: a name is',
    ],
    ['a key twice', `${MINIMAL}    soak: 1s\n    soak: 2s\n`, 'line 7: the key soak is there twice'],
    [
      'three secrets',
      `${MINIMAL}    triggers: { a: { type: standard-webhooks, secret: [{env: A}, {env: A}, {env: A}] } }\n`,
      'line 6: stacks.hello.triggers.a.secret: has more than 2',
    ],
    [
      'a directory as compose file',
      MINIMAL.replace('./docker-compose.yml', './proxy'),
      'line 5: stacks.hello.compose: there is no file',
    ],
    ['a wait of a week', `${MINIMAL}    soak: 168h\n`, 'line 6: stacks.hello.soak: should be from'],
  ])('%s', async (_, text, expected) => {
    const faults = await faultsOf(text, { A: SECRET })
    expect(
      faults.some((fault) => fault.startsWith(expected)),
      faults.join('\n'),
    ).toBe(true)
  })

  test('a key that is there twice does not hide other faults', async () => {
    const faults = await faultsOf(`${MINIMAL}    soak: 1s\n    soak: 2\n`)
    expect(faults).toEqual([
      'line 6: stacks.hello.soak: should be a duration as 100ms, 60s, 2m or 1h',
      'line 7: the key soak is there twice',
    ])
  })

  test('text that is not YAML is one fault with its line, not a flood', async () => {
    const faults = await faultsOf('relay: "http://x\nhost: a\n')
    expect(faults).toHaveLength(1)
    expect(faults[0]).toMatch(/^line \d: /)
  })

  test('a file that is not there', async () => {
    await expect(loadConfig('/nowhere/ropeway.yml', {})).rejects.toMatchObject({ code: 'config-invalid' })
    expect(() => findConfig()).toThrow(/there is no .*ropeway.yml and no \/etc\/ropeway\/ropeway.yml/)
    expect(findConfig('/x/y.yml')).toBe('/x/y.yml')
  })
})

test.each([
  ['100ms', 100],
  ['60s', 60_000],
  ['2m', 120_000],
  ['1h', 3_600_000],
  ['0s', 0],
  ['1.5s', 1500],
  ['1', undefined],
  ['-1s', undefined],
  ['1 s', undefined],
  ['1d', undefined],
  [60, undefined],
])('the duration %s', (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})

test.each([
  ['https://relay.example/', 'https://relay.example'],
  ['http://localhost:8787', 'http://localhost:8787'],
  ['http://10.1.2.3', 'http://10.1.2.3'],
  ['http://172.31.0.1', 'http://172.31.0.1'],
  ['http://[::1]:80', 'http://[::1]'],
  ['http://172.32.0.1', undefined],
  ['http://relay.example', undefined],
  ['http://10.example.com', undefined],
  ['https://relay.example/path', undefined],
  ['https://user@relay.example', undefined],
  ['ftp://relay.example', undefined],
  ['relay.example', undefined],
])('the relay %s', (text, origin) => {
  const result = relayOrigin(text)
  expect('origin' in result ? result.origin : undefined).toBe(origin)
})
