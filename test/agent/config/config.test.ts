import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findConfig, loadConfig } from '../../../agent/config/config.ts'
import { parseDuration, parseLifetime } from '../../../agent/config/values.ts'
import { relayOrigin } from '../../../agent/config/relay-origin.ts'
import { Problem } from '../../../shared/problems.ts'
import { triggerSchema } from '../../../shared/triggers/index.ts'
import { OTHER_SECRET, SECRET, tempDir } from '../../support/host.ts'

const THIRD_SECRET = `whsec_${btoa('abcdefghijklmnopqrstuvwx')}`
const PUBLIC_KEY = 'whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='
const OTHER_PUBLIC_KEY = `whpk_${btoa('0123456789abcdefghijklmnopqrstuv')}`
const URL_SECRET = '0123456789abcdef-0123456789_ABCDEF'
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

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

const trigger = (type: string, name: string, ttlMs: number, keys: readonly string[]) => ({
  type,
  stack: 'hello',
  name,
  ttlMs,
  keys,
})

const command = (argv: readonly string[]) => ({
  service: undefined,
  command: argv,
  timeoutMs: 600_000,
  onRetry: 'fail',
})

describe('what is right', () => {
  test('a stack needs nothing but its compose file; the rest are the documented defaults', async () => {
    const path = write(MINIMAL)
    expect(await loadConfig(path, {})).toEqual({
      path,
      relay: 'http://127.0.0.1:8787',
      host: 'vps-1',
      chats: [],
      stacks: [
        {
          name: 'hello',
          compose: [join(path, '../docker-compose.yml')],
          project: undefined,
          envFiles: undefined,
          profiles: [],
          proxy: {},
          instances: undefined,
          health: {
            by: undefined,
            path: undefined,
            host: undefined,
            status: undefined,
            intervalMs: 250,
            successes: 7,
            timeoutMs: 60_000,
          },
          drainTimeoutMs: 30_000,
          soakMs: 0,
          deadlineMs: 3600_000,
          before: undefined,
          after: undefined,
          releasesKept: 5,
          allow: { images: undefined, env: [] },
          triggers: [],
          notify: [],
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
    env_files: [./secret, proxy/nginx.conf]
    profiles: prod
    proxy: { service: nginx, config: ./proxy/nginx.conf, upstream: apps }
    instances: [app1, app2]
    health: { path: /up?x=1, host: shop.example, status: 200, interval: 1s, successes: 3, timeout: 2m }
    drain: { timeout: 10s }
    soak: 1.5s
    deadline: 20m
    releases: 9
    before: { service: app1, command: [./migrate, --all], timeout: 90s, on_retry: run }
    after: { command: ./warm-up && echo done }
    allow: { images: [ghcr.io/acme/hello, hello], env: [MESSAGE] }
    triggers:
      deploy: { type: standard-webhooks, secret: { env: A } }
      ci: { type: standard-webhooks, secret: [{ env: B }, { file: ./secret }], ttl: 90m }
      release: { type: standard-webhooks-v1a, publicKey: ${PUBLIC_KEY}, ttl: 7d }
      other: { type: standard-webhooks-v1a, publicKey: [${OTHER_PUBLIC_KEY}] }
      registry: { type: url, secret: { env: U } }
`)
    const config = await loadConfig(path, { A: THIRD_SECRET, B: OTHER_SECRET, U: URL_SECRET })
    expect(config.relay).toBe('https://ropeway.acme.workers.dev')
    expect(config.stacks[0]).toEqual({
      name: 'hello',
      compose: [join(path, '../docker-compose.yml')],
      project: 'hello',
      envFiles: [join(path, '../secret'), join(path, '../proxy/nginx.conf')],
      profiles: ['prod'],
      proxy: { service: 'nginx', config: join(path, '../proxy/nginx.conf'), upstream: 'apps' },
      instances: ['app1', 'app2'],
      health: {
        by: undefined,
        path: '/up?x=1',
        host: 'shop.example',
        status: { min: 200, max: 200 },
        intervalMs: 1000,
        successes: 3,
        timeoutMs: 120_000,
      },
      drainTimeoutMs: 10_000,
      soakMs: 1500,
      deadlineMs: 1200_000,
      releasesKept: 9,
      before: {
        service: 'app1',
        command: ['./migrate', '--all'],
        timeoutMs: 90_000,
        onRetry: 'run',
      },
      after: command(['sh', '-c', './warm-up && echo done']),
      allow: { images: ['ghcr.io/acme/hello', 'docker.io/library/hello'], env: ['MESSAGE'] },
      triggers: [
        trigger('standard-webhooks', 'deploy', 24 * 3600_000, [THIRD_SECRET]),
        trigger('standard-webhooks', 'ci', 5400_000, [OTHER_SECRET, SECRET]),
        trigger('standard-webhooks-v1a', 'release', 7 * 24 * 3600_000, [PUBLIC_KEY]),
        trigger('standard-webhooks-v1a', 'other', 24 * 3600_000, [OTHER_PUBLIC_KEY]),
        trigger('url', 'registry', 3600_000, [sha256(URL_SECRET)]),
      ],
      notify: [],
    })
  })

  test.each([
    ['a line', './migrate --all', ['sh', '-c', './migrate --all']],
    ['words', '[./migrate, --all]', ['./migrate', '--all']],
    ['words below each other', '\n      - ./migrate\n      - ""', ['./migrate', '']],
  ])('a command may stand alone: %s', async (_, text, argv) => {
    const { stacks } = await loadConfig(write(`${MINIMAL}    before: ${text}\n`), {})
    expect(stacks[0]?.before).toEqual(command(argv))
  })

  test('the plain secret of a url trigger is nowhere in the configuration', async () => {
    const path = write(`${MINIMAL}    triggers: { a: { type: url, secret: { env: U } } }\n`)
    expect(JSON.stringify(await loadConfig(path, { U: URL_SECRET }))).not.toContain(URL_SECRET)
  })

  test('every trigger is one that the relay takes', async () => {
    const path = write(`${MINIMAL}    triggers:
      a: { type: standard-webhooks, secret: { env: A } }
      b: { type: standard-webhooks-v1a, publicKey: [${PUBLIC_KEY}, ${OTHER_PUBLIC_KEY}] }
      c: { type: url, secret: [{ env: U }, { env: V }], ttl: 1s }
`)
    const { stacks } = await loadConfig(path, { A: SECRET, U: URL_SECRET, V: `${URL_SECRET}2` })
    for (const each of stacks[0]?.triggers ?? []) expect(triggerSchema.parse(each)).toEqual(each)
    expect(stacks[0]?.triggers).toHaveLength(3)
  })

  test('a command without the agent’s environment reads all but the triggers', async () => {
    const path = write(`${MINIMAL}    triggers:
      deploy: { type: standard-webhooks, secret: { env: NOT_SET } }
      again: { type: standard-webhooks, secret: [{ env: NOT_SET }, { file: ./nowhere }] }
      hint: { type: url, secret: { env: NOT_SET } }
`)
    const config = await loadConfig(path, {}, { withSecrets: false })
    expect(config.stacks[0]?.triggers).toEqual([])
    await expect(loadConfig(path, {})).rejects.toThrow('has 4 faults')
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
    env_files: [./proxy] # a folder
    profiles: [-x]
    helth: {}
    health: { path: up, status: 700, interval: 5, successes: 0, host: 'a b', tcp: true }
    instances: [app1, app1]
    allow: { images: ["hello:v1"], env: ["A-B"] }
    triggers:
      deploy: { type: standard-webhooks, secret: { env: NOT_SET } }
      short: { type: standard-webhooks, secret: { env: SHORT } }
      inline: { type: standard-webhooks, secret: whsec_abc }
      odd: { type: smoke-signal, secret: { file: ./nowhere } }
      none: { secret: { env: SHORT } }
      gone: { type: standard-webhooks, secret: { file: ./nowhere } }
      mixed: { type: standard-webhooks, secret: { env: GOOD }, publicKey: ${PUBLIC_KEY} }
      public: { type: standard-webhooks-v1a, secret: { env: GOOD } }
      private: { type: standard-webhooks-v1a, publicKey: whsk_abc }
      hidden: { type: standard-webhooks-v1a, publicKey: { env: GOOD } }
      hint: { type: url, secret: { env: SHORT }, publicKey: ${PUBLIC_KEY} }
      soon: { type: url, secret: { env: U }, ttl: 500ms }
      late: { type: standard-webhooks, secret: { env: GOOD }, ttl: 8d }
      when: { type: standard-webhooks-v1a, publicKey: ${PUBLIC_KEY}, ttl: 3600 }
  other: {}
`,
      { SHORT: 'whsec_YWJj', GOOD: SECRET, U: URL_SECRET },
    )
    expect(faults.map((fault) => fault.replace(/\/tmp\/[^/]+/g, 'DIR'))).toEqual([
      'line 1: relay: sends tokens in the clear over a public network: use https',
      'line 2: host: a name is up to 63 lower-case letters, digits and dashes, and begins with no dash',
      'line 3: colour: is not a key that Ropeway knows',
      'line 6: stacks.hello.compose: there is no file DIR/missing.yml',
      'line 7: stacks.hello.env_files.0: there is no file DIR/proxy',
      'line 8: stacks.hello.profiles.0: is not the name of a compose profile',
      'line 9: stacks.hello.helth: is not a key that Ropeway knows',
      'line 10: stacks.hello.health.path: should begin with / and have no spaces',
      'line 10: stacks.hello.health.host: is not the name of a host',
      'line 10: stacks.hello.health.status: should be a status as 200 or a range as 200-399',
      'line 10: stacks.hello.health.interval: should be a duration as 100ms, 60s, 2m or 1h',
      'line 10: stacks.hello.health.successes: Too small: expected number to be >=1',
      'line 11: stacks.hello.instances: names a service twice',
      'line 12: stacks.hello.allow.images.0: should be an image repository without a tag or digest',
      'line 12: stacks.hello.allow.env.0: is not the name of an environment variable',
      'line 14: stacks.hello.triggers.deploy.secret: NOT_SET is not set in the environment',
      'line 15: stacks.hello.triggers.short.secret: SHORT has 3 bytes, fewer than 24',
      'line 16: stacks.hello.triggers.inline.secret: should be { env: NAME } or { file: PATH }: the secret itself does not belong into this file',
      'line 17: stacks.hello.triggers.odd.type: should be one of standard-webhooks, standard-webhooks-v1a, url, github-actions, gitlab-ci, google, oidc, docker-hub, ghcr, distribution, harbor, quay, gitlab, gitea, ecr, artifact-registry, acr, zot, jfrog',
      'line 18: stacks.hello.triggers.none.type: is missing',
      'line 19: stacks.hello.triggers.gone.secret: DIR/nowhere cannot be read: ENOENT',
      'line 20: stacks.hello.triggers.mixed.publicKey: belongs to type standard-webhooks-v1a; this one has a secret',
      'line 21: stacks.hello.triggers.public.publicKey: is missing',
      'line 21: stacks.hello.triggers.public.secret: belongs to type standard-webhooks; this one has the sender’s publicKey',
      'line 22: stacks.hello.triggers.private.publicKey: is not `whpk_` and an Ed25519 public key in base64',
      'line 23: stacks.hello.triggers.hidden.publicKey: should be the key itself, as whpk_…',
      'line 24: stacks.hello.triggers.hint.secret: SHORT is not 24 to 128 letters, digits, - and _, as `openssl rand -hex 24` makes them',
      'line 24: stacks.hello.triggers.hint.publicKey: belongs to type standard-webhooks-v1a; this one has a secret',
      'line 25: stacks.hello.triggers.soon.ttl: should be from 1s to 7d',
      'line 26: stacks.hello.triggers.late.ttl: should be from 1s to 7d',
      'line 27: stacks.hello.triggers.when.ttl: should be a duration as 30m, 24h or 7d',
      'line 28: stacks.other.compose: is missing',
    ])
  })

  test('all faults of a command are told, each where it is', async () => {
    expect(
      await faultsOf(`${MINIMAL}    before:
      service: -x
      timeout: 10
      on_retry: maybe
      user: root
    after:
      command: ./a
      timeout: 0s
`),
    ).toEqual([
      'line 6: stacks.hello.before.command: is missing',
      'line 7: stacks.hello.before.service: is not a compose service name',
      'line 8: stacks.hello.before.timeout: should be a duration as 100ms, 60s, 2m or 1h',
      'line 9: stacks.hello.before.on_retry: should be run, skip or fail',
      'line 10: stacks.hello.before.user: is not a key that Ropeway knows',
      'line 13: stacks.hello.after.timeout: should be from 1000ms to 24h',
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

  const SHARED =
    'no signature covers the address, so whoever has a request to one could repeat it at the other. Give each its own'
  const bare = SECRET.replace('whsec_', '')
  // Base64 of 24 bytes without padding: it could be a signing secret as well as a part of an address.
  const ambiguous = 'QUJDREVGR0hJSktMTU5PUFFSU1RVVldY'
  test.each([
    ['as it is', ['standard-webhooks', SECRET], ['standard-webhooks', SECRET]],
    ['with and without its prefix', ['standard-webhooks', SECRET], ['standard-webhooks', bare]],
    ['in an address', ['url', URL_SECRET], ['url', URL_SECRET]],
    [
      'in an address, where it is logged, and to sign',
      ['standard-webhooks', `whsec_${ambiguous}`],
      ['url', ambiguous],
    ],
  ])('a secret that two triggers share: %s', async (_, [type, one], [otherType, two]) => {
    const text = `${MINIMAL}    triggers: { a: { type: ${type}, secret: { env: ONE } } }
  other:
    compose: ./docker-compose.yml
    triggers:
      b:
        type: ${otherType}
        secret: { env: TWO }
`
    const faults = await faultsOf(text, { ONE: one, TWO: two })
    expect(faults).toEqual([
      `line 12: stacks.other.triggers.b.secret: is the same as stacks.hello.triggers.a.secret: ${SHARED}`,
    ])
    expect((await loadConfig(write(text), {}, { withSecrets: false })).stacks).toHaveLength(2)
  })

  test('a public key that two triggers share', async () => {
    const a = `{ type: standard-webhooks-v1a, publicKey: [${OTHER_PUBLIC_KEY}, ${PUBLIC_KEY}] }`
    const b = `{ type: standard-webhooks-v1a, publicKey: ${PUBLIC_KEY} }`
    expect(await faultsOf(`${MINIMAL}    triggers:\n      a: ${a}\n      b: ${b}\n`)).toEqual([
      `line 8: stacks.hello.triggers.b.publicKey: is the same as stacks.hello.triggers.a.publicKey: ${SHARED}`,
    ])
  })

  test('the same secret twice in one trigger, and shared ones, are told beside other faults', async () => {
    const faults = await faultsOf(
      `${MINIMAL}    soak: 1
    triggers:
      a: { type: standard-webhooks, secret: [{ env: A }, { file: ./secret }] }
      b: { type: standard-webhooks, secret: { env: A } }
      c: { type: standard-webhooks, secret: { env: NOT_SET } }
`,
      { A: SECRET },
    )
    expect(faults).toEqual([
      'line 6: stacks.hello.soak: should be a duration as 100ms, 60s, 2m or 1h',
      'line 8: stacks.hello.triggers.a.secret.1: is there twice',
      `line 9: stacks.hello.triggers.b.secret: is the same as stacks.hello.triggers.a.secret: ${SHARED}`,
      'line 10: stacks.hello.triggers.c.secret: NOT_SET is not set in the environment',
    ])
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
    [
      'a path longer than any file has',
      MINIMAL.replace('./docker-compose.yml', `./${'x'.repeat(5000)}`),
      'line 5: stacks.hello.compose: there is no file',
    ],
    ['a command alone that is empty', `${MINIMAL}    before: ' '\n`, 'line 6: stacks.hello.before: is empty'],
    ['no words', `${MINIMAL}    before: []\n`, 'line 6: stacks.hello.before: is empty'],
    ['no program', `${MINIMAL}    before: ['', a]\n`, 'line 6: stacks.hello.before: has no program'],
    [
      'a number among words that stand alone',
      `${MINIMAL}    before:\n      - sleep\n      - 5\n`,
      'line 8: stacks.hello.before.1: should be a text',
    ],
    [
      'a NUL among words',
      `${MINIMAL}    after:\n      command: [a, "b\\0"]\n`,
      'line 7: stacks.hello.after.command.1: has a NUL',
    ],
    ['no command', `${MINIMAL}    after:\n`, 'line 6: stacks.hello.after: should be a mapping'],
    [
      'a command that is a mapping',
      `${MINIMAL}    after:\n      command: { a: b }\n`,
      'line 7: stacks.hello.after.command: should be a list',
    ],
    [
      'more words than anybody writes',
      `${MINIMAL}    before: [${'a, '.repeat(257)}]\n`,
      'line 6: stacks.hello.before: has more than 256 words',
    ],
    [
      'a deadline without its unit’s worth',
      `${MINIMAL}    deadline: 999ms\n`,
      'line 6: stacks.hello.deadline: should be from 1000ms to 24h',
    ],
    ['no release', `${MINIMAL}    releases: 0\n`, 'line 6: stacks.hello.releases: Too small'],
    ['too many releases', `${MINIMAL}    releases: 101\n`, 'line 6: stacks.hello.releases: Too big'],
    ['half a release', `${MINIMAL}    releases: 1.5\n`, 'line 6: stacks.hello.releases: should be a whole'],
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
  ['7d', 7 * 24 * 3600_000],
  ['90m', 5400_000],
  ['1.5d', undefined],
  ['1w', undefined],
])('the lifetime %s', (text, ms) => {
  expect(parseLifetime(text)).toBe(ms)
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
