// `ropeway rollback`, `cancel` and `history` against a relay that answers as the test says; the terminal is made up.

import type { ServerResponse } from 'node:http'
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import * as cancel from '../../../agent/cli/cancel.ts'
import * as history from '../../../agent/cli/history.ts'
import type { Io } from '../../../agent/cli/io.ts'
import * as rollback from '../../../agent/cli/rollback.ts'
import { loadOrCreateKey } from '../../../agent/identity/identity.ts'
import type { ReleaseState } from '../../../shared/api.ts'
import type { DeployEvent } from '../../../shared/events.ts'
import { sha256Hex, verifyToken } from '../../../shared/tokens.ts'
import { fakeRelay, hostDir, json, withToken, type Seen } from '../../support/cli.ts'
import { HOST } from '../../support/host.ts'

const ID = '0123456789abcdef'
const at = Date.parse('2026-11-25T09:30:00Z')
const release = (number: number, over: Partial<ReleaseState> = {}): ReleaseState => ({
  release: number,
  deploy: ID,
  at,
  actor: 'ci',
  reason: null,
  services: { app1: `hello:v${number}`, app2: `hello:v${number}` },
  isCurrent: false,
  ...over,
})
const NOBODYS = release(1, { deploy: null, actor: null, services: { app1: 'hello:v1', app2: 'hello:v0' } })
const KNOWN = [release(3, { isCurrent: true, reason: 'because\nof that' }), release(2), NOBODYS]

interface World {
  readonly releases?: readonly ReleaseState[]
  readonly end?: DeployEvent
  readonly agent?: 'online' | 'offline'
  readonly deploys?: readonly object[]
  readonly onCancel?: (response: ServerResponse) => void
}

/** The world around a command; `answer` is what a person at a terminal types, undefined means there is none. */
const terminal = (
  answer?: string,
  env: Record<string, string> = {},
  signal = new AbortController().signal,
) => {
  const said = { out: '', err: '' }
  const stdin = Object.assign(new PassThrough(), answer === undefined ? {} : { isTTY: true })
  if (answer !== undefined) stdin.end(answer)
  const io = {
    env,
    stdin,
    stdout: { write: (text: string) => (said.out += text) },
    stderr: { write: (text: string) => (said.err += text) },
    signal,
  } as unknown as Io
  return { io, said }
}

/** A relay, and a host of its own. */
async function world({ releases = KNOWN, end, agent = 'online', deploys = [], onCancel }: World = {}) {
  const relay = await fakeRelay(({ url, method }: Seen, response) => {
    if (url.includes('/releases')) json(response, 200, { releases })
    else if (url.includes('/events')) {
      const event = end ?? { type: 'succeeded', ms: 1, changed: true, services: {} }
      response.end(`id: 1\ndata: ${JSON.stringify({ seq: 1, at, event })}\n\n`)
    } else if (url.endsWith('/cancel')) {
      if (onCancel) onCancel(response)
      else json(response, 202, { status: 'cancelling' })
    } else if (method === 'GET') json(response, 200, { deploys })
    else {
      const deploy = { id: ID, host: HOST, stack: 'hello', url: 'http://x.example/' }
      json(response, 202, { status: 'accepted', deploy, agent })
    }
  })
  const dir = hostDir(relay.url)
  const key = await loadOrCreateKey(dir)
  const posts = () => relay.seen.filter(({ method }) => method === 'POST')
  const claimsOf = ({ headers }: Seen) =>
    verifyToken(headers.authorization?.slice(7) ?? '', [key.publicJwk], {
      host: HOST,
      audience: relay.url,
      now: new Date(),
    })
  const config = `${dir}/ropeway.yml`
  return { relay, options: { config, data: dir, wait: true }, posts, claimsOf }
}

describe('rollback', () => {
  test('shows what runs and what it goes back to, asks, and asks the relay for just that', async () => {
    const { options, posts, claimsOf } = await world()
    const { io, said } = terminal('y\n')
    expect(await rollback.run('hello', { ...options, reason: 'slow' }, io)).toBe(0)
    expect(said.out.split('\n').slice(0, 6)).toEqual([
      'hello runs release 3, since 2026-11-25 09:30:00Z by ci, deploy 0123456789abcdef (because of that)',
      '  app1  hello:v3',
      '  app2  hello:v3',
      'it goes back to release 2, since 2026-11-25 09:30:00Z by ci, deploy 0123456789abcdef',
      '  app1  hello:v2',
      '  app2  hello:v2',
    ])
    expect(said.err).toBe('Go back? [y/N] ')
    expect(said.out).toContain('succeeded')
    const [post] = posts()
    expect(post?.url).toBe(`/v1/hosts/${HOST}/stacks/hello/rollback`)
    expect(JSON.parse(post?.body ?? '')).toEqual({ release: 2, reason: 'slow' })
    const claims = await claimsOf(post!)
    expect(claims).toMatchObject({ scopes: ['rollback'], stacks: ['hello'] })
    expect(claims.bodySha256).toBe(await sha256Hex(Buffer.from(post!.body)))
  })

  test.each(['n\n', '\n', '', 'maybe\n'])('answered %j, it does nothing', async (answer) => {
    const { options, posts } = await world()
    const { io, said } = terminal(answer)
    expect(await rollback.run('hello', options, io)).toBe(1)
    expect(said.err).toContain('nothing was done')
    expect(posts()).toEqual([])
  })

  test('interrupted at the question, it does nothing', async () => {
    const { options, posts } = await world()
    const stop = new AbortController()
    const { io, said } = terminal('', {}, stop.signal)
    Object.assign(io, { stdin: Object.assign(new PassThrough(), { isTTY: true }) })
    const ended = rollback.run('hello', options, io)
    await expect.poll(() => said.err).toContain('Go back?')
    stop.abort()
    expect(await ended).toBe(1)
    expect(posts()).toEqual([])
  })

  test('where nobody can be asked it needs --yes, and says so before it asks the relay', async () => {
    const { relay, options } = await world()
    await expect(rollback.run('hello', options, terminal().io)).rejects.toMatchObject({
      code: 'usage-invalid',
    })
    expect(relay.seen).toEqual([])
    expect(await rollback.run('hello', { ...options, yes: true }, terminal().io)).toBe(0)
  })

  test.each<[string, string | undefined, readonly ReleaseState[], number | 'previous', RegExp]>([
    ['to a number', '1', KNOWN, 1, /goes back to release 1, since .* by no deploy \(ran before\)/],
    ['to one that the relay does not know', '9', KNOWN, 9, /goes back to release 9, as the agent has it/],
    [
      'after a rollback, to what was before that',
      undefined,
      [release(4, { isCurrent: true, of: 2 }), release(3), release(2), NOBODYS],
      1,
      /runs release 4, .*\(release 2 again\)\n.*\n.*\nit goes back to release 1,/,
    ],
    [
      'to what the relay’s log does not reach',
      undefined,
      [release(3, { isCurrent: true })],
      'previous',
      /goes back to the release before that, as the agent has it/,
    ],
    ['with nothing known', undefined, [], 'previous', /runs what the relay’s log does not tell/],
  ])('%s', async (_, to, releases, asked, shown) => {
    const { options, posts } = await world({ releases })
    const { io, said } = terminal()
    await rollback.run('hello', { ...options, yes: true, ...(to === undefined ? {} : { to }) }, io)
    expect(said.out).toMatch(shown)
    expect(JSON.parse(posts()[0]?.body ?? '')).toEqual({ release: asked })
  })

  test.each(['0', '-1', '1.5', 'two', ''])('--to %j is no release', async (to) => {
    const { options } = await world()
    const refused = rollback.run('hello', { ...options, yes: true, to }, terminal().io)
    await expect(refused).rejects.toMatchObject({
      code: 'usage-invalid',
      message: expect.stringContaining(`--to ${to} is no release`),
    })
  })

  test('its exit code says how it ended; --no-wait and --json print no words', async () => {
    const failed = { type: 'failed', ms: 5, problem: { code: 'release-unknown', message: 'no' } } as const
    const { options } = await world({ end: failed })
    expect(await rollback.run('hello', { ...options, yes: true }, terminal().io)).toBe(1)
    const asJson = terminal()
    expect(await rollback.run('hello', { ...options, yes: true, json: true }, asJson.io)).toBe(1)
    expect(
      asJson.said.out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).event.type),
    ).toEqual(['failed'])
    const plain = terminal()
    await rollback.run('hello', { ...options, yes: true, wait: false }, plain.io)
    expect(plain.said.out).toBe(`${ID}\n`)
    expect(plain.said.err).toContain('goes back to release 2')
    const noWait = terminal()
    expect(await rollback.run('hello', { ...options, yes: true, json: true, wait: false }, noWait.io)).toBe(0)
    expect(JSON.parse(noWait.said.out)).toMatchObject({ status: 'accepted', deploy: { id: ID } })
  })

  test('an agent that is away is told of, with what waits for it', async () => {
    const { options } = await world({ agent: 'offline' })
    const { io, said } = terminal()
    await rollback.run('hello', { ...options, yes: true }, io)
    expect(said.err).toContain(`the agent of ${HOST} is offline; deploy ${ID} waits for it`)
  })

  test('with a token it needs no files of the host', async () => {
    const { relay, posts } = await world()
    const { io } = terminal(undefined, withToken(relay.url))
    expect(await rollback.run('hello', { data: '/nowhere', yes: true, wait: true }, io)).toBe(0)
    expect(posts()[0]?.headers.authorization).toBe('Bearer abc')
    await expect(rollback.run('../x', { data: '/nowhere', yes: true, wait: true }, io)).rejects.toMatchObject(
      { code: 'usage-invalid' },
    )
  })
})

const deploy = (id: string, status: string) => ({
  id,
  host: HOST,
  stack: 'hello',
  trigger: 'api',
  actor: 'ci',
  trust: 'signed',
  status,
  acceptedAt: 1,
  finishedAt: null,
})

describe('cancel', () => {
  const CANCELLED = { type: 'cancelled', ms: 5, by: 'cli:x' } as const

  test('of a deploy, by a token for that deploy alone, follows it to its end', async () => {
    const { options, posts, claimsOf } = await world({ end: CANCELLED })
    const { io, said } = terminal()
    expect(await cancel.run(ID, options, io)).toBe(0)
    expect(said.out).toContain('cancelled by cli:x after')
    const [post] = posts()
    expect(post?.url).toBe(`/v1/hosts/${HOST}/deploys/${ID}/cancel`)
    expect(post?.body).toBe(`{"cancel":"${ID}"}`)
    const claims = await claimsOf(post!)
    expect(claims).toMatchObject({ scopes: ['deploy'], stacks: undefined })
    expect(claims.bodySha256).toBe(await sha256Hex(Buffer.from(post!.body)))
  })

  const WAITS = deploy('bbbbbbbbbbbbbbbb', 'queued')

  const OVER = deploy('aaaaaaaaaaaaaaaa', 'failed')

  test.each([
    [
      'the one that runs, and says what waits behind it',
      [WAITS, deploy(ID, 'running')],
      `ropeway: after deploy ${ID} of hello comes what waits: ${WAITS.id}\n`,
    ],
    ['the one that runs, and says nothing where nothing waits', [OVER, deploy(ID, 'running')], ''],
    ['the only one that waits, behind which there is none', [OVER, deploy(ID, 'queued')], ''],
  ])('of a stack means %s', async (_, deploys, behind) => {
    const { options, posts, claimsOf } = await world({ deploys, end: CANCELLED })
    const { io, said } = terminal()
    expect(await cancel.run('hello', options, io)).toBe(0)
    expect(posts().map(({ url, body }) => [url, body])).toEqual([
      [`/v1/hosts/${HOST}/deploys/${ID}/cancel`, `{"cancel":"${ID}"}`],
    ])
    expect(said.err).toBe(behind)
    expect(await claimsOf(posts()[0]!)).toMatchObject({ stacks: ['hello'] })
  })

  test('of a stack of which several wait and none runs cancels none, and lists them', async () => {
    const { options, posts } = await world({ deploys: [WAITS, deploy(ID, 'queued')] })
    await expect(cancel.run('hello', options, terminal().io)).rejects.toMatchObject({
      code: 'not-cancellable',
      message: expect.stringContaining(`${WAITS.id}, ${ID}`),
    })
    expect(posts()).toEqual([])
  })

  test('of a stack that is at rest says so', async () => {
    const { options, posts } = await world({ deploys: [deploy(ID, 'succeeded')] })
    await expect(cancel.run('hello', options, terminal().io)).rejects.toMatchObject({
      code: 'not-cancellable',
    })
    expect(posts()).toEqual([])
  })

  test('of one that ends otherwise exits 1, one that is refused says why', async () => {
    const { options } = await world()
    expect(await cancel.run(ID, options, terminal().io)).toBe(1)
    const error = { code: 'agent-offline', message: 'away', cure: 'wait' }
    const refusing = await world({ onCancel: (response) => json(response, 409, { error }) })
    await expect(cancel.run(ID, refusing.options, terminal().io)).rejects.toMatchObject(error)
    expect(refusing.posts()).toHaveLength(1)
  })
})

describe('history', () => {
  test('is a table, newest first', async () => {
    const { options } = await world({
      releases: [release(4, { isCurrent: true, of: 2, reason: 'slow' }), ...KNOWN.slice(1)],
    })
    const { io, said } = terminal()
    expect(await history.run('hello', options, io)).toBe(0)
    expect(said.out.trimEnd().split('\n')).toEqual([
      '  release  since                 images                        by      why',
      '* 4        2026-11-25 09:30:00Z  hello:v4                      ci      release 2 again: slow',
      '  2        2026-11-25 09:30:00Z  hello:v2                      ci',
      '  1        2026-11-25 09:30:00Z  app1 hello:v1, app2 hello:v0  nobody  ran before',
    ])
  })

  test('for a program is what the relay said; without a release it says so', async () => {
    const { options } = await world()
    const { io, said } = terminal()
    await history.run('hello', { ...options, json: true }, io)
    expect(JSON.parse(said.out)).toEqual({ releases: KNOWN })
    const none = await world({ releases: [] })
    const empty = terminal()
    expect(await history.run('hello', none.options, empty.io)).toBe(0)
    expect(empty.said.out).toContain('no release of hello is known')
  })
})
