import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadOrCreateKey } from '../../agent/identity.ts'
import type { DeployEvent } from '../../shared/events.ts'
import { sha256Hex, verifyToken } from '../../shared/tokens.ts'
import { HOST, tempDir } from '../support/host.ts'

const MAIN = join(import.meta.dirname, '../../agent/main.ts')
const ID = '0123456789abcdef'

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

async function ropeway(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = tempDir(),
): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, stdout, stderr }
}

function hostDir(relay = 'http://127.0.0.1:9'): string {
  const dir = tempDir()
  writeFileSync(join(dir, 'docker-compose.yml'), 'services: {}\n')
  writeFileSync(
    join(dir, 'ropeway.yml'),
    `relay: ${relay}
host: ${HOST}
stacks:
  hello:
    compose: ./docker-compose.yml
    triggers: { deploy: { type: standard-webhooks, secret: { env: NOT_SET } } }
`,
  )
  return dir
}

describe('usage and configuration errors exit 2 with one sentence', () => {
  test.each([
    [['fly'], /^ropeway: unknown command 'fly' \(usage-invalid\)\.$/m],
    [['deploy'], /^ropeway: missing required argument 'stack'/],
    [['deploy', 'hello', '--imgae', 'x'], /unknown option '--imgae'/],
    [['deploy', 'hello', '--env', 'MESSAGE'], /--env MESSAGE is not KEY=VALUE \(usage-invalid\)/],
    [['deploy', 'hello', '--image', 'a b'], /--image not an image reference/],
    [['status', 'a', 'b'], /too many arguments/],
    [['token'], /there is no .*ropeway\.yml .*\(config-invalid\)\. Write one/],
    [['agent', '--config', '/nowhere.yml'], /\/nowhere\.yml cannot be read/],
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

describe('token', () => {
  test('prints one token and nothing else, good for what was asked', async () => {
    const dir = hostDir()
    const { publicJwk } = await loadOrCreateKey(dir)
    const args = ['token', '--scope', 'read,deploy', '--stack', 'hello', '--ttl', '1h', '--actor', 'ci']
    const { code, stdout, stderr } = await ropeway([...args, '--data', dir], {}, dir)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    const check = (now: Date) =>
      verifyToken(stdout.trim(), publicJwk, { host: HOST, audience: 'http://127.0.0.1:9', now })
    expect(await check(new Date())).toMatchObject({
      actor: 'ci',
      scopes: ['read', 'deploy'],
      stacks: ['hello'],
    })
    await expect(check(new Date(Date.now() + 3600_000 + 120_000))).rejects.toThrow('not valid')
  })

  test.each([
    ['--scope', 'agent'],
    ['--scope', 'everything'],
    ['--ttl', '10y'],
    ['--ttl', '367d'],
    ['--ttl', '0s'],
    ['--stack', 'ghost'],
  ])('%s %s is refused', async (...args) => {
    const dir = hostDir()
    await loadOrCreateKey(dir)
    const { code, stdout } = await ropeway(['token', ...args, '--data', dir], {}, dir)
    expect([code, stdout]).toEqual([2, ''])
  })
})

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A relay's HTTP side that answers as the test says. */
async function fakeRelay(
  answer: (seen: Seen, response: ServerResponse) => void,
): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const one = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body }
      seen.push(one)
      answer(one, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

const json = (response: ServerResponse, status: number, body: unknown) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
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
    const claims = await verifyToken(post?.headers.authorization?.slice(7) ?? '', publicJwk, {
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
    const env = { ROPEWAY_TOKEN: 'abc', ROPEWAY_RELAY: relay.url, ROPEWAY_HOST: HOST }
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
    const env = { ROPEWAY_TOKEN: 'abc', ROPEWAY_RELAY: relay.url, ROPEWAY_HOST: HOST }
    const { code, stderr } = await ropeway(['deploy', 'hello'], env)
    expect([code, stderr]).toEqual([1, 'ropeway: no (unauthorized). Enroll.\n'])
    expect(relay.seen).toHaveLength(1)
  })

  test('a relay that is not there exits 1', async () => {
    const env = { ROPEWAY_TOKEN: 'abc', ROPEWAY_RELAY: 'http://127.0.0.1:9', ROPEWAY_HOST: HOST }
    const { code, stderr } = await ropeway(['status'], env)
    expect(stderr).toMatch(/^ropeway: http:\/\/127\.0\.0\.1:9 does not answer: .* \(relay-unreachable\)\./)
    expect(code).toBe(1)
  })

  test('a stack that is no name never becomes a part of the URL', async () => {
    const env = { ROPEWAY_TOKEN: 'abc', ROPEWAY_RELAY: 'http://127.0.0.1:9', ROPEWAY_HOST: HOST }
    expect((await ropeway(['deploy', '../../x'], env)).code).toBe(2)
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
      status: 'running',
      acceptedAt: 1,
      finishedAt: null,
    }
    json(response, 200, { deploys: [deploy] })
  })
  const env = { ROPEWAY_TOKEN: 'abc', ROPEWAY_RELAY: relay.url, ROPEWAY_HOST: HOST }
  const { code, stdout } = await ropeway(['watch'], env)
  expect(stdout).toContain('succeeded')
  expect(code).toBe(0)
  expect(relay.seen.map(({ url }) => url)).toEqual([
    `/v1/hosts/${HOST}/deploys?limit=1`,
    `/v1/hosts/${HOST}/deploys/${ID}/events`,
  ])
})

test('enroll makes a key and sends only its public half', async () => {
  const relay = await fakeRelay((_, response) => json(response, 201, { status: 'enrolled', host: HOST }))
  const dir = hostDir(relay.url)
  const data = join(dir, 'data')
  const { code, stdout } = await ropeway(
    ['enroll', '--data', data],
    { ROPEWAY_ENROLL_KEY: '0123456789abcdef' },
    dir,
  )
  expect(code).toBe(0)
  expect(stdout).toContain(`${HOST} is enrolled at ${relay.url}`)
  const { publicJwk } = await loadOrCreateKey(data)
  expect(relay.seen[0]).toMatchObject({ method: 'POST', url: `/v1/hosts/${HOST}/enroll` })
  expect(JSON.parse(relay.seen[0]?.body ?? '')).toEqual({ publicKey: publicJwk })
  expect(relay.seen[0]?.headers.authorization).toBe('Bearer 0123456789abcdef')
})
