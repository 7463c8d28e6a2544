import { existsSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadOrCreateKey } from '../../../agent/identity/identity.ts'
import type { DeployEvent } from '../../../shared/events.ts'
import { sha256Hex, verifyToken } from '../../../shared/tokens.ts'
import { fakeRelay, hostDir, json, ropeway, ropewayProcess, withToken, type Seen } from '../../support/cli.ts'
import { HOST } from '../../support/host.ts'

const ID = '0123456789abcdef'

describe('usage and configuration errors exit 2 with one sentence', () => {
  test.each([
    [['fly'], /^ropeway: unknown command 'fly' \(usage-invalid\)\.$/m],
    [['deploy'], /^ropeway: missing required argument 'stack'/],
    [['deploy', 'hello', '--imgae', 'x'], /unknown option '--imgae'/],
    [['deploy', 'hello', '--env', 'MESSAGE'], /--env MESSAGE is not KEY=VALUE \(usage-invalid\)/],
    [['deploy', 'hello', '--image', 'a b'], /--image not an image reference/],
    [['deploy', 'hello', '--built-at', 'noon'], /--built-at noon is not a time as 2026-11-25T09:30:00Z/],
    [['rollback', 'hello'], /there is no terminal to ask on, .*\(usage-invalid\)\. Say --yes/],
    [['rollback', 'hello', '--yes', '--to', 'two'], /--to two is no release’s number/],
    [['cancel'], /missing required argument 'deploy-or-stack'/],
    [['history'], /missing required argument 'stack'/],
    [['resolve', 'hello'], /there is no .*ropeway\.yml/],
    [['status', 'a', 'b'], /too many arguments/],
    [['token'], /there is no .*ropeway\.yml .*\(config-invalid\)\. Write one/],
    [['agent', '--config', '/nowhere.yml'], /\/nowhere\.yml cannot be read/],
    [['revoke'], /there is no .*ropeway\.yml/],
    [['rotate-key', '--keep', '367d'], /--keep 367d is not a time as 0s, 24h or 30d/],
    [['rotate-key', '--keep', '1.5'], /--keep 1\.5 is not a time/],
    [['relay', '--port', '99999'], /--port should be a number/],
    [['relay', '--port', '0'], /ROPEWAY_ENROLL_KEY is not set/],
    [['watch', '--relay', 'http://example.com', '--host', 'a'], /there is no .*ropeway\.yml/],
    [[], /Usage: ropeway/],
  ])('%j', async (args, expected) => {
    const { code, stdout, stderr } = await ropeway(args)
    expect(stderr).toMatch(expected)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  test('an enrolment key that is too short', async () => {
    const { code, stderr } = await ropeway(['relay'], { ROPEWAY_ENROLL_KEY: 'short' })
    expect(stderr).toContain('has fewer than 16 characters')
    expect(code).toBe(2)
  })

  test('a limit that is no number', async () => {
    const env = { ROPEWAY_ENROLL_KEY: '0123456789abcdef', HOST_REQUESTS_PER_MINUTE: 'many' }
    const { code, stderr } = await ropeway(['relay'], env)
    expect(stderr).toContain('HOST_REQUESTS_PER_MINUTE should be a number of requests, not "many"')
    expect(code).toBe(2)
  })

  test('an agent whose secret is missing does not start, and says which', async () => {
    const dir = hostDir()
    const { code, stderr } = await ropeway(['agent', '--data', join(dir, 'data')], {}, dir)
    expect(stderr).toContain(
      'line 6: stacks.hello.triggers.deploy.secret: NOT_SET is not set in the environment',
    )
    expect(code).toBe(2)
    expect(existsSync(join(dir, 'data'))).toBe(false)
  })

  test('a host without a key is told to enroll', async () => {
    const dir = hostDir()
    const { code, stderr } = await ropeway(['token', '--data', dir], {}, dir)
    expect(stderr).toMatch(/host-key\.json does not exist \(key-unusable\)\. Run `ropeway enroll`\./)
    expect(code).toBe(2)
  })

  test('a stack that the host does not have', async () => {
    const dir = hostDir()
    const { code, stderr } = await ropeway(['deploy', 'ghost', '--data', dir], {}, dir)
    await loadOrCreateKey(dir)
    expect(code).toBe(2)
    expect((await ropeway(['deploy', 'ghost', '--data', dir], {}, dir)).stderr).toMatch(
      /stack-unknown.*It has hello/,
    )
    expect(stderr).not.toBe('')
  })
})

test.each([['--help'], ['help'], ['deploy', '--help'], ['--version']])(
  'ropeway %s exits 0',
  async (...args) => {
    const { code, stdout, stderr } = await ropeway(args)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).not.toBe('')
  },
)

const accepted = (url: string) => ({
  status: 'accepted',
  deploy: { id: ID, host: HOST, stack: 'hello', url: `${url}/x` },
  agent: 'online',
})
const sse = (seq: number, event: DeployEvent) =>
  `id: ${seq}\ndata: ${JSON.stringify({ seq, at: 1000, event })}\n\n`

const ENDINGS: Record<string, DeployEvent> = {
  succeeded: { type: 'succeeded', ms: 1, changed: true, services: {} },
  failed: { type: 'failed', ms: 1, problem: { code: 'container-unhealthy', message: 'no' } },
  stuck: {
    type: 'stuck',
    ms: 1,
    problem: { code: 'container-unhealthy', message: 'no' },
    undo: { code: 'deadline', message: 'no' },
  },
  superseded: { type: 'superseded', by: 'x' },
}

describe('deploy', () => {
  test.each([
    ['succeeded', 0],
    ['failed', 1],
    ['stuck', 1],
    ['superseded', 1],
  ])('a deploy that %s exits %i', async (ending, expected) => {
    const relay = await fakeRelay(({ method }, response) => {
      if (method === 'POST') json(response, 202, accepted(relay.url))
      else response.end(sse(1, { type: 'received' }) + sse(2, ENDINGS[ending] as DeployEvent))
    })
    const dir = hostDir(relay.url)
    const { publicJwk } = await loadOrCreateKey(dir)
    const args = ['deploy', 'hello', '--image', 'hello:v2', '--env', 'A=b=c', '--reason', 'why', '--json']
    const { code, stdout } = await ropeway([...args, '--data', dir], {}, dir)
    expect(code).toBe(expected)
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { event: DeployEvent }).event.type),
    ).toEqual(['received', ending])

    const [post, get] = relay.seen
    expect(post?.url).toBe(`/v1/hosts/${HOST}/stacks/hello/deploys`)
    expect(JSON.parse(post?.body ?? '')).toEqual({ image: 'hello:v2', env: { A: 'b=c' }, reason: 'why' })
    const claims = await verifyToken(post?.headers.authorization?.slice(7) ?? '', [publicJwk], {
      host: HOST,
      audience: relay.url,
      now: new Date(),
    })
    expect(claims).toMatchObject({
      scopes: ['deploy'],
      stacks: ['hello'],
      actor: expect.stringMatching(/^cli:/),
    })
    expect(claims.bodySha256).toBe(await sha256Hex(new TextEncoder().encode(post?.body)))
    expect(get?.url).toBe(`/v1/hosts/${HOST}/deploys/${ID}/events`)
  })

  test('--tag, --digest, --force and --built-at are a part of the request', async () => {
    const relay = await fakeRelay((_, response) => json(response, 202, accepted(relay.url)))
    const digest = `sha256:${'a'.repeat(64)}`
    const image = ['--tag', 'v2', '--digest', digest]
    const args = ['deploy', 'hello', ...image, '--force', '--built-at', '2026-11-25T09:30:00Z', '--no-wait']
    expect((await ropeway(args, withToken(relay.url))).code).toBe(0)
    expect(JSON.parse(relay.seen[0]?.body ?? '')).toEqual({
      tag: 'v2',
      digest,
      force: true,
      builtAt: '2026-11-25T09:30:00Z',
    })
  })

  test('a stream that breaks is resumed after the last event, and each event is shown once', async () => {
    let streams = 0
    const relay = await fakeRelay(({ method, headers }, response) => {
      if (method === 'POST') return json(response, 202, accepted(relay.url))
      streams += 1
      if (streams === 1) {
        response.write(sse(1, { type: 'received' }) + sse(2, { type: 'started' }))
        setImmediate(() => response.destroy())
      } else if (streams === 2) json(response, 503, { error: { code: 'relay-unavailable', message: 'busy' } })
      else {
        expect(headers['last-event-id']).toBe('2')
        response.end(sse(3, ENDINGS['succeeded'] as DeployEvent))
      }
    })
    const dir = hostDir(relay.url)
    await loadOrCreateKey(dir)
    const { code, stdout, stderr } = await ropeway(['deploy', 'hello', '--data', dir], {}, dir)
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.slice(13)),
    ).toEqual(['received by the agent', 'preflight', 'succeeded in 0.00 s'])
    expect([code, stderr]).toEqual([0, ''])
  })

  test('a request that the relay could not store is sent again, the very same', async () => {
    let posts = 0
    const relay = await fakeRelay((_, response) => {
      posts += 1
      if (posts === 1) json(response, 503, { error: { code: 'relay-unavailable', message: 'busy' } })
      else json(response, 202, accepted(relay.url))
    })
    const dir = hostDir(relay.url)
    await loadOrCreateKey(dir)
    const { code, stdout } = await ropeway(['deploy', 'hello', '--no-wait', '--data', dir], {}, dir)
    expect([code, stdout]).toEqual([0, `${ID}\n`])
    const [first, second] = relay.seen
    expect(second?.headers.authorization).toBe(first?.headers.authorization)
    expect(second?.headers['idempotency-key']).toBe(first?.headers['idempotency-key'])
  })

  test('with a token it needs neither ropeway.yml nor key', async () => {
    const relay = await fakeRelay((_, response) => json(response, 202, accepted(relay.url)))
    const env = withToken(relay.url)
    const { code, stdout } = await ropeway(['deploy', 'hello', '--no-wait'], env)
    expect([code, stdout]).toEqual([0, `${ID}\n`])
    expect(relay.seen[0]?.headers.authorization).toBe('Bearer abc')
    const flags = await ropeway(['deploy', 'hello', '--no-wait', '--relay', relay.url, '--host', HOST], {
      ROPEWAY_TOKEN: 'abc',
    })
    expect(flags.code).toBe(0)
  })

  test('a refusal is told with its code and cure and exits 1', async () => {
    const relay = await fakeRelay((_, response) =>
      json(response, 401, { error: { code: 'unauthorized', message: 'no', cure: 'enroll' } }),
    )
    const env = withToken(relay.url)
    const { code, stderr } = await ropeway(['deploy', 'hello'], env)
    expect([code, stderr]).toEqual([1, 'ropeway: no (unauthorized). Enroll.\n'])
    expect(relay.seen).toHaveLength(1)
  })

  test('a relay that is not there exits 1', async () => {
    const env = withToken('http://127.0.0.1:9')
    const { code, stderr } = await ropeway(['status'], env)
    expect(stderr).toMatch(/^ropeway: http:\/\/127\.0\.0\.1:9 does not answer: .* \(relay-unreachable\)\./)
    expect(code).toBe(1)
  })

  test('a stack that is no name never becomes a part of the URL', async () => {
    const env = withToken('http://127.0.0.1:9')
    expect((await ropeway(['deploy', '../../x'], env)).code).toBe(2)
  })
})

const limited = (response: ServerResponse, seconds: string) => {
  response.setHeader('retry-after', seconds)
  json(response, 429, { error: { code: 'rate-limited', message: 'too many' } })
}

describe('a relay that refuses', () => {
  test('because it was asked too often is asked again after the time that it names', async () => {
    const times: number[] = []
    const relay = await fakeRelay((_, response) => {
      times.push(Date.now())
      if (times.length === 1) limited(response, '1')
      else json(response, 202, accepted(relay.url))
    })
    const { code, stdout } = await ropeway(['deploy', 'hello', '--no-wait'], withToken(relay.url))
    expect([code, stdout]).toEqual([0, `${ID}\n`])
    // Timers may be a millisecond early.
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(995)
  })

  test('and names a long time is left alone, and the time is told', async () => {
    const relay = await fakeRelay((_, response) => limited(response, '60'))
    const { code, stderr } = await ropeway(['deploy', 'hello'], withToken(relay.url))
    expect([code, stderr]).toEqual([1, 'ropeway: too many (rate-limited). Try again in 60 s.\n'])
    expect(relay.seen).toHaveLength(1)
  })

  test.each([
    [-3600, /is 3[56]\d\d s ahead of the relay’s/],
    [3600, /is 3[56]\d\d s behind the relay’s/],
    [-20, undefined],
    [20, undefined],
  ])('a token, with a clock %i s from ours, may mean that ours is wrong', async (seconds, expected) => {
    const relay = await fakeRelay((_, response) => {
      response.setHeader('date', new Date(Date.now() + seconds * 1000).toUTCString())
      json(response, 401, { error: { code: 'unauthorized', message: 'no' } })
    })
    const { code, stderr } = await ropeway(['status'], withToken(relay.url))
    expect(code).toBe(1)
    if (expected) expect(stderr).toMatch(expected)
    else expect(stderr).toBe('ropeway: no (unauthorized).\n')
  })

  test('an enrolment key says nothing of clocks', async () => {
    const relay = await fakeRelay((_, response) => {
      response.setHeader('date', new Date(0).toUTCString())
      json(response, 401, { error: { code: 'unauthorized', message: 'no' } })
    })
    const dir = hostDir(relay.url)
    const env = { ROPEWAY_ENROLL_KEY: '0123456789abcdef' }
    const { stderr } = await ropeway(['enroll', '--data', dir], env, dir)
    expect(stderr).toBe('ropeway: no (unauthorized).\n')
  })
})

describe('status', () => {
  const state = {
    host: HOST,
    agent: { status: 'online', since: 1000, lastSeen: 2000, version: '0.1.0' },
    stacks: ['hello'],
  }
  const triggers = [
    {
      name: 'deploy',
      type: 'standard-webhooks',
      ttlMs: 1000,
      keys: [
        { fingerprint: '0a1b2c3d', lastUsed: 3600_000 },
        { fingerprint: 'deadbeef', lastUsed: null },
      ],
      stale: { at: 7200_000, message: 'the request was signed 400 s ago by this clock' },
    },
    {
      name: 'hint',
      type: 'url',
      ttlMs: 1000,
      keys: [{ fingerprint: 'cafecafe', lastUsed: null }],
      stale: null,
    },
  ]
  const answer = ({ url }: Seen, response: ServerResponse) => {
    if (url.includes('/deploys')) json(response, 200, { deploys: [] })
    else if (url.includes('/stacks/'))
      json(response, 200, { host: HOST, stack: 'hello', triggers, latest: null })
    else json(response, 200, state)
  }

  test('of a stack shows its triggers, when each key was last used, and a sender whose clock is wrong', async () => {
    const relay = await fakeRelay(answer)
    const { code, stdout } = await ropeway(['status', 'hello'], withToken(relay.url))
    expect(code).toBe(0)
    expect(stdout.trimEnd().split('\n')).toEqual([
      `${HOST}: agent online since 1970-01-01 00:00:01Z, 0.1.0`,
      'stacks: hello',
      'trigger deploy: standard-webhooks, key 0a1b2c3d last used 1970-01-01 01:00:00Z, key deadbeef not used yet',
      '  last request that was genuine and refused: 1970-01-01 02:00:00Z, the request was signed 400 s ago by this clock',
      'trigger hint: url, key cafecafe not used yet',
    ])
    const asJson = await ropeway(['status', 'hello', '--json'], withToken(relay.url))
    expect(JSON.parse(asJson.stdout)).toEqual({ ...state, triggers, deploys: [] })
  })

  test('of the host asks for no stack', async () => {
    const relay = await fakeRelay(answer)
    const { stdout } = await ropeway(['status'], withToken(relay.url))
    expect(stdout).not.toContain('trigger')
    expect(relay.seen.filter(({ url }) => url.includes('/stacks/'))).toEqual([])
  })
})

test('rollback, history and cancel as processes of their own', async () => {
  const relay = await fakeRelay(({ method, url }, response) => {
    if (url.includes('/releases')) json(response, 200, { releases: [] })
    else if (url.endsWith('/cancel')) json(response, 200, { status: 'cancelled' })
    else if (method === 'POST') json(response, 202, accepted(relay.url))
    else response.end(sse(1, { type: 'cancelled' }))
  })
  const env = withToken(relay.url)
  const rolled = await ropewayProcess(['rollback', 'hello', '--yes', '--to', '3', '--no-wait', '--json'], env)
  expect([rolled.code, JSON.parse(rolled.stdout)]).toEqual([0, accepted(relay.url)])
  expect(relay.seen.at(-1)).toMatchObject({
    url: `/v1/hosts/${HOST}/stacks/hello/rollback`,
    body: '{"release":3}',
  })
  const history = await ropewayProcess(['history', 'hello', '--json'], env)
  expect([history.code, history.stdout]).toEqual([0, '{"releases":[]}\n'])
  const cancelled = await ropewayProcess(['cancel', ID], env)
  expect([cancelled.code, cancelled.stdout.slice(13)]).toEqual([0, 'cancelled before it began\n'])
  const wrong = await ropewayProcess(['fly'])
  expect([wrong.code, wrong.stdout, wrong.stderr]).toEqual([
    2,
    '',
    "ropeway: unknown command 'fly' (usage-invalid).\n",
  ])
  expect(await ropewayProcess(['--version'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
  })
})

test('watch without an argument follows the latest deploy', async () => {
  const relay = await fakeRelay(({ url }, response) => {
    if (url.includes('/events')) return void response.end(sse(1, ENDINGS['succeeded'] as DeployEvent))
    const deploy = {
      id: ID,
      host: HOST,
      stack: 'hello',
      trigger: 'api',
      actor: 'ci',
      trust: 'signed',
      status: 'running',
      acceptedAt: 1,
      finishedAt: null,
    }
    json(response, 200, { deploys: [deploy] })
  })
  const env = withToken(relay.url)
  const { code, stdout } = await ropeway(['watch'], env)
  expect(stdout).toContain('succeeded')
  expect(code).toBe(0)
  expect(relay.seen.map(({ url }) => url)).toEqual([
    `/v1/hosts/${HOST}/deploys?limit=1`,
    `/v1/hosts/${HOST}/deploys/${ID}/events`,
  ])
})
