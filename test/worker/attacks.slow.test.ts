// What must not work. Each test is named after its row in our list of attacks on webhooks.

import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { HINT_TTL_MS, HOOK_BODY_BYTES_MAX, PUSH_BODY_BYTES_MAX, REQUEST_TTL_MS } from '../../shared/limits.ts'
import type { FromHub } from '../../shared/protocol.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { fingerprint, type Trigger } from '../../shared/triggers/index.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { startRelayProcess } from '../support/relay-process.ts'
import { TestHost, ask, testRelay, type AgentSocket } from '../support/relay.ts'

let relay: Relay
let host: TestHost
let agent: AgentSocket

/** Keys of each type of trigger: what its sender holds, twice, for both of two count. */
const urlSecrets = [randomBytes(24).toString('base64url'), randomBytes(24).toString('base64url')] as const
const edKeys = [edKey(), edKey()] as const
const secondSecret = `whsec_${randomBytes(32).toString('base64')}`

async function triggers(of: TestHost): Promise<Trigger[]> {
  const common = { stack: 'hello', ttlMs: REQUEST_TTL_MS }
  return [
    of.trigger('hello'),
    of.trigger('other'),
    { ...common, type: 'standard-webhooks', name: 'two', keys: [of.secret, secondSecret] },
    { ...common, type: 'standard-webhooks-v1a', name: 'asymmetric', keys: edKeys.map((key) => key.public) },
    {
      ...common,
      type: 'url',
      name: 'push',
      ttlMs: HINT_TTL_MS,
      keys: await Promise.all(urlSecrets.map((secret) => sha256Hex(Buffer.from(secret)))),
    },
  ]
}

/** As Svix writes them: the private key is the seed and the public key. */
function edKey(): { private: string; public: string } {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const [seed, point] = [Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')]
  return {
    private: `whsk_${Buffer.concat([seed, point]).toString('base64')}`,
    public: `whpk_${point.toString('base64')}`,
  }
}

beforeAll(async () => {
  relay = await testRelay()
  host = await TestHost.enrolled(relay)
  agent = await host.agent(['hello', 'other'], await triggers(host))
}, 90_000)
afterAll(() => relay.stop())

const seconds = () => Math.floor(Date.now() / 1000)
const UNAUTHORIZED = {
  status: 401,
  body: { error: { code: 'unauthorized', message: 'the credentials are missing, wrong or expired' } },
}

/** Asks again after a refusal, on purpose: whatever was sent, nothing may have reached the agent. */
async function nothingHappened(): Promise<void> {
  expect(await agent.drained()).toEqual([])
}

/** What has reached the agent. It ends each at once, or the hub would offer it again in the middle of another test. */
async function reached(): Promise<FromHub[]> {
  const frames = await agent.drained()
  for (const frame of frames)
    if (frame.type === 'deploy') agent.report(frame.id, 1, { type: 'received' }, { type: 'cancelled' })
  await agent.drained()
  return frames
}

test('1: a replayed request is a duplicate and runs once', async () => {
  const id = `msg_${randomUUID()}`
  const first = await host.hook('{}', { id })
  const again = await host.hook('{}', { id })
  const later = await host.hook('{}', { id, at: seconds() + 7 })
  expect([first.status, again.status, later.status]).toEqual([202, 200, 200])
  for (const answer of [again, later]) expect(answer.body).toEqual({ ...first.body, status: 'duplicate' })
  expect(await reached()).toMatchObject([{ type: 'deploy', id: first.body.deploy.id }])
})

test('1: twenty at once are one deploy', async () => {
  const id = `msg_${randomUUID()}`
  const answers = await Promise.all(Array.from({ length: 20 }, () => host.hook('{}', { id })))
  expect(answers.map(({ status }) => status).toSorted()).toEqual([...Array(19).fill(200), 202])
  expect((await reached()).length).toBe(1)
})

test.each([
  ['stale', () => String(seconds() - 301)],
  ['from the future', () => String(seconds() + 310)],
  ['empty', () => ''],
  ['a word', () => 'abc'],
  ['an exponent', () => '1e9'],
  ['negative', () => '-1'],
  ['with a sign', () => `+${seconds()}`],
  ['a fraction', () => `${seconds()}.5`],
  ['twenty digits', () => `${seconds()}0000000000`],
  ['milliseconds', () => String(Date.now())],
  ['with junk after it', () => `${seconds()}abc`],
])('3: a timestamp that is %s', async (_, timestamp) => {
  // Signed as it is sent, so that nothing but the timestamp is wrong.
  const id = `msg_${randomUUID()}`
  const sent = timestamp()
  const signed = await sign(id, sent, '{}')
  expect(
    await host.hook('{}', {
      headers: { 'webhook-id': id, 'webhook-timestamp': sent, 'webhook-signature': signed },
    }),
  ).toMatchObject(UNAUTHORIZED)
  await nothingHappened()
})

test('3: no timestamp', async () => {
  expect(await host.hook('{}', { headers: { 'webhook-timestamp': undefined } })).toMatchObject(UNAUTHORIZED)
})

test.each(['webhook-id', 'webhook-timestamp', 'webhook-signature'])('4: two headers %s', async (name) => {
  const signed = await signStandardWebhook(host.secret, {
    id: 'msg_4',
    timestampSeconds: seconds(),
    body: Buffer.from('{}'),
  })
  const value = signed[name as keyof typeof signed]
  const headers = { ...signed, 'content-type': 'application/json', [name]: [value, value] }
  expect((await send({ headers, body: '{}' })).status).toBe(401)
  await nothingHappened()
})

test('4: two Authorization headers', async () => {
  const token = `Bearer ${await host.token(['deploy'])}`
  const headers = { authorization: [token, token], 'content-type': 'application/json' }
  // node:http sends only the first of two, but a list of raw pairs as it is.
  const pairs = Object.entries(headers).flatMap(([name, value]) =>
    [value].flat().flatMap((each) => [name, each]),
  )
  const path = `/v1/hosts/${host.name}/stacks/hello/deploys`
  expect(
    (await send({ path, headers: ['host', new URL(relay.url).host, ...pairs], body: '{}' })).status,
  ).toBe(401)
  await nothingHappened()
})

test.each([
  ['empty', ''],
  ['with a dot', 'a.b'],
  ['with a space', 'a b'],
  ['of 129 characters', 'a'.repeat(129)],
  ['of 10 kB', 'a'.repeat(10_000)],
  ['not ASCII', 'é'],
])('5: an id that is %s', async (_, id) => {
  expect(
    await host.hook('{}', {
      headers: { 'webhook-id': id, 'webhook-signature': await sign(id, String(seconds()), '{}') },
    }),
  ).toMatchObject(UNAUTHORIZED)
  await nothingHappened()
})

test.each<[string, (good: string) => string]>([
  ['no signature', () => ''],
  ['no version', (good) => good.slice(3)],
  ['a version alone', () => 'v1'],
  ['an empty one', () => 'v1,'],
  ['another version', (good) => good.replace('v1,', 'v2,')],
  ['the asymmetric version', (good) => good.replace('v1,', 'v1a,')],
  ['six entries', (good) => Array(6).fill(good).join(' ')],
  ['a thousand entries', (good) => Array(1000).fill(good).join(' ')],
  ['a comma between entries', (good) => `${good}, ${good}`],
  ['junk after it', (good) => `${good} x`],
])('6: signature list: %s', async (_, change) => {
  const id = `msg_${randomUUID()}`
  const at = String(seconds())
  const good = await sign(id, at, '{}')
  expect(
    await host.hook('{}', {
      headers: { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': change(good) },
    }),
  ).toMatchObject(UNAUTHORIZED)
  await nothingHappened()
})

test('6: the trigger’s type alone chooses the scheme, in both directions', async () => {
  const asymmetric = host.hookPath('hello', 'asymmetric')
  const ed = edKeys[0].private
  expect((await host.hook('{}', { path: asymmetric, secret: ed })).status).toBe(202)
  expect(await host.hook('{}', { secret: ed })).toMatchObject(UNAUTHORIZED)
  expect(await host.hook('{}', { path: asymmetric })).toMatchObject(UNAUTHORIZED)
  // The public key is no secret: an HMAC by it must not count, as it would if v1 were looked at.
  for (const key of [edKeys[0].public, edKeys[0].public.replace('whpk_', 'whsec_')])
    expect(
      await host.hook('{}', { path: asymmetric, secret: key.replace(/^whpk_/, 'whsec_') }),
    ).toMatchObject(UNAUTHORIZED)
  await reached()
})

test('6: a good signature counts beside those of other schemes', async () => {
  const id = `msg_${randomUUID()}`
  const body = Buffer.from('{}')
  const asked = { id, timestampSeconds: seconds(), body }
  const [v1, v1a] = [
    await signStandardWebhook(host.secret, asked),
    await signStandardWebhook(edKeys[0].private, asked),
  ]
  const both = `${v1['webhook-signature']} ${v1a['webhook-signature']}`
  const headers = { ...v1, 'webhook-signature': both }
  expect((await host.hook('{}', { headers })).status).toBe(202)
  expect((await host.hook('{}', { headers, path: host.hookPath('hello', 'asymmetric') })).status).toBe(202)
  await reached()
})

test.each([
  ['empty', ''],
  ['a prefix alone', 'whsec_'],
  ['all zero', `whsec_${Buffer.alloc(32).toString('base64')}`],
  ['short', `whsec_${Buffer.from('23 bytes are too few!!!').toString('base64')}`],
  ['no base64', 'whsec_not base64 at all, is it?'],
])('7: the hub takes no trigger whose secret is %s', async (_, secret) => {
  const careless = await TestHost.enrolled(relay)
  const socket = await careless.silentAgent()
  const trigger = { ...careless.trigger(), keys: [secret] }
  socket.send({ type: 'hello', v: 1, agent: 'x', stacks: ['hello'], triggers: [trigger], revoked: [] })
  expect((await socket.closed()).code).toBe(4400)
  expect(await careless.hook()).toMatchObject(UNAUTHORIZED)
})

test('8, 11: a signature that is empty, cut, longer or of another secret', async () => {
  const id = `msg_${randomUUID()}`
  const at = String(seconds())
  const good = Buffer.from((await sign(id, at, '{}')).slice(3), 'base64')
  const others = [
    Buffer.alloc(0),
    good.subarray(0, 31),
    Buffer.concat([good, good]),
    Buffer.concat([good, Buffer.alloc(1)]),
  ]
  for (const other of others) {
    const signature = `v1,${other.toString('base64')}`
    expect(
      await host.hook('{}', {
        headers: { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature },
      }),
    ).toMatchObject(UNAUTHORIZED)
  }
  expect(await host.hook('{}', { secret: (await TestHost.unknown(relay)).secret })).toMatchObject(
    UNAUTHORIZED,
  )
  expect(await host.hook('{"reason":"signed"}', { sent: '{"reason":"sent"}' })).toMatchObject(UNAUTHORIZED)
  await nothingHappened()
})

test('14: the route alone chooses how a request is verified', async () => {
  const [secret] = urlSecrets
  // There is no such route: a path too long, or with nothing where the secret should be.
  for (const path of [`${pushPath(secret)}/more`, pushPath('')])
    expect.soft((await host.hook('{}', { path })).status, path).toBe(404)
  for (const path of [
    // The address's secret at a trigger that is signed, another secret there, and a signature at a trigger that takes none.
    `${host.hookPath()}/${secret}`,
    `${host.hookPath('hello', 'asymmetric')}/${secret}`,
    `${host.hookPath('other', 'push')}/${secret}`,
    `${host.hookPath()}/${host.secret.slice(6, 38).replaceAll(/[+/]/g, '-')}`,
    host.hookPath('hello', 'push'),
    `${host.hookPath('hello', 'push')}?secret=${secret}`,
    pushPath(secret.slice(0, -1)),
    pushPath(`${secret}x`),
    pushPath(secret.toUpperCase()),
    pushPath(await sha256Hex(Buffer.from(secret))),
    pushPath('short'),
    pushPath('x'.repeat(129)),
    pushPath(`${secret}%00`),
    pushPath('%C3%A9'.repeat(24)),
  ])
    expect.soft(await host.hook('{}', { path }), path).toMatchObject(UNAUTHORIZED)
  await nothingHappened()
  expect((await host.hook('{}', { path: pushPath(secret) })).status).toBe(202)
  await reached()
})

test.each<[string, Record<string, string>, string | Buffer]>([
  ['nothing', {}, ''],
  ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'payload=1'],
  ['what says it is compressed', { 'content-encoding': 'gzip', 'content-type': 'text/x' }, 'no gzip at all'],
  ['no JSON', { 'content-type': 'application/json' }, '{{{'],
  ['a deploy request', { 'content-type': 'application/json' }, '{"image":"evil:v1","env":{"A":"1"}}'],
  ['bytes that are no text', { 'content-type': 'application/octet-stream' }, Buffer.from([0, 255, 0xc0])],
])('24: a hint whose body is %s chooses nothing', async (_, headers, body) => {
  const answer = await send({ path: pushPath(urlSecrets[0]), headers, body })
  expect(answer.status).toBe(202)
  const [frame] = await reached()
  expect(frame).toMatchObject({ type: 'deploy', trigger: 'push', proof: { kind: 'hint' } })
  const { body: details } = await host.get(`/deploys/${answer.body.deploy.id}`)
  expect(details).toMatchObject({ trust: 'hint', request: {} })
  expect(Object.keys(details.request)).toEqual([])
})

test('15: a request signed for one host or stack does nothing to another', async () => {
  const other = await TestHost.enrolled(relay)
  const otherAgent = await other.agent()
  expect(await host.hook('{}', { path: other.hookPath() })).toMatchObject(UNAUTHORIZED)
  expect(await otherAgent.drained()).toEqual([])
  expect((await host.hook('{"stack":"other"}')).status).toBe(400)
  await nothingHappened()
})

test('16: a body over the limit, with its length said, unsaid or lied about', async () => {
  const tooBig = Buffer.alloc(PUSH_BODY_BYTES_MAX + 1, ' ')
  const headers = { 'content-type': 'application/json' }
  const refused = { status: 413, body: { error: { code: 'request-invalid' } } }
  expect(await send({ headers, body: tooBig })).toMatchObject(refused)
  expect(await send({ headers: { ...headers, 'transfer-encoding': 'chunked' }, body: tooBig })).toMatchObject(
    refused,
  )
  expect(await send({ headers, body: Buffer.alloc(10_000_000, ' ') })).toMatchObject(refused)
  // Of what no registry sent less is taken, which only whoever has signed is told.
  const long = '{}'.padEnd(HOOK_BODY_BYTES_MAX + 1)
  expect(await host.hook(long)).toMatchObject(refused)
  expect(await host.hook(long, { secret: (await TestHost.unknown(relay)).secret })).toMatchObject(
    UNAUTHORIZED,
  )
  // Just the limit is let through to be judged: it is signed, and empty.
  expect((await host.hook(' '.repeat(HOOK_BODY_BYTES_MAX))).status).toBe(400)

  const lying = await raw(
    `POST ${host.hookPath()} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}${' '.repeat(300_000)}`,
  )
  expect(lying).toMatch(/^HTTP\/1.1 401/)
  await nothingHappened()
})

test('16: the body of a hint over the limit', async () => {
  const path = pushPath(urlSecrets[0])
  for (const length of [PUSH_BODY_BYTES_MAX + 1, 10_000_000])
    expect((await send({ path, headers: {}, body: Buffer.alloc(length) })).status).toBe(413)
  expect((await send({ path, headers: {}, body: Buffer.alloc(PUSH_BODY_BYTES_MAX) })).status).toBe(202)
  expect((await reached()).length).toBe(1)
})

test('16: after a refusal the connection still works', async () => {
  const keepAlive = new Agent({ keepAlive: true, maxSockets: 1 })
  const json = { 'content-type': 'application/json' }
  try {
    for (const [attempt, status] of [
      [{ headers: json, body: Buffer.alloc(1_000_000) }, 413],
      [{ headers: { 'content-type': 'text/plain' }, body: Buffer.alloc(30_000) }, 415],
      [{ headers: json, body: Buffer.alloc(30_000) }, 401],
      [{ path: '/nothing', headers: json, body: Buffer.alloc(70_000) }, 404],
      [{ path: '/v1/hosts/x/enroll', headers: json, body: Buffer.alloc(70_000) }, 401],
      [{ path: '/v1/hosts/x/session', headers: json, body: Buffer.alloc(70_000) }, 401],
      [{ path: '/v1/hosts/x/stacks/y/deploys', headers: json, body: Buffer.alloc(70_000) }, 401],
      [{ method: 'PUT', headers: json, body: Buffer.alloc(70_000) }, 405],
      [{ path: pushPath('x'.repeat(32)), headers: json, body: Buffer.alloc(300_000) }, 413],
    ] as const)
      for (let i = 0; i < 3; i++) expect((await send({ ...attempt, agent: keepAlive })).status).toBe(status)
  } finally {
    keepAlive.destroy()
  }
})

test.each(['gzip', 'br', 'deflate', 'zstd', 'identity'])('17: Content-Encoding %s', async (encoding) => {
  expect((await host.hook('{}', { headers: { 'content-encoding': encoding } })).status).toBe(415)
  await nothingHappened()
})

test.each([
  'text/plain',
  'multipart/form-data; boundary=x',
  'application/x-www-form-urlencoded',
  'application/json; charset=utf-16',
  'application/json, text/plain',
  'application/vnd.api+json',
  '',
])('18: Content-Type %j', async (type) => {
  expect((await host.hook('{}', { headers: { 'content-type': type } })).status).toBe(415)
})

test('18: application/json with charset=utf-8 is as good as without', async () => {
  for (const type of ['application/json; charset=utf-8', 'Application/JSON;charset=UTF-8'])
    expect((await host.hook('{}', { headers: { 'content-type': type } })).status).toBe(202)
  await reached()
})

const INVALID: [string, string | Uint8Array][] = [
  ['19: not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ['19: a byte order mark', Buffer.from('\ufeff{}')],
  ['19: overlong', Buffer.from([0xc0, 0xbb])],
  ['19: a lone surrogate', Buffer.from([0xed, 0xa0, 0x80])],
  ['20: duplicate keys', '{"reason":"a","reason":"b"}'],
  ['20: duplicate keys, one escaped', '{"reason":"a","re\\u0061son":"b"}'],
  ['20: duplicate variables', '{"env":{"A":"1","A":"2"}}'],
  ['20: depth', `{"env":${'['.repeat(15_000)}${']'.repeat(15_000)}}`],
  ['20: a huge number', '{"reason":1e999}'],
  ['20: NaN', '{"reason":NaN}'],
  ['20: trailing data', '{} {}'],
  ['20: a list', '[]'],
  ['20: a text', '"x"'],
  ['20: null', 'null'],
  ['20: a number as image', '{"image":1}'],
  ['21: __proto__', '{"__proto__":{"image":"evil"}}'],
  ['21: constructor', '{"constructor":{"prototype":{"image":"evil"}}}'],
  ['21: __proto__ as variable', '{"env":{"__proto__":"x"}}'],
  ['23: upper case', '{"image":"Hello:v1"}'],
  ['23: a shell', '{"image":"hello;$(id)"}'],
  ['23: a line break', '{"image":"hello:v1\\n"}'],
  ['23: an option', '{"image":"--privileged"}'],
  ['23: two digests', `{"image":"hello@sha256:${'a'.repeat(64)}@sha256:${'a'.repeat(64)}"}`],
  ['23: a homoglyph', '{"image":"hellо:v1"}'],
  ['23: a tag of 129 characters', `{"image":"hello:${'a'.repeat(129)}"}`],
  ['23: a digest of 63 digits', `{"image":"hello@sha256:${'a'.repeat(63)}"}`],
  ['23: another algorithm', `{"image":"hello@sha512:${'a'.repeat(128)}"}`],
  ['23: a name with a path', '{"image":"a/../b"}'],
  ['23: env with a line break', '{"env":{"A":"1\\nB=2"}}'],
  ['23: env with a NUL', '{"env":{"A":"\\u0000"}}'],
  ['23: an env key with =', '{"env":{"A=B":"1"}}'],
]
test.each(INVALID)('%s is refused once the signature is good', async (_, body) => {
  const bytes = Buffer.from(body)
  const id = `msg_${randomUUID()}`
  const signed = await signStandardWebhook(host.secret, { id, timestampSeconds: seconds(), body: bytes })
  const headers = { ...signed, 'content-type': 'application/json' }
  expect(await send({ headers, body: bytes })).toMatchObject({
    status: 400,
    body: { error: { code: 'request-invalid' } },
  })
  expect((await send({ headers: { ...headers, 'webhook-id': 'x' }, body: bytes })).status).toBe(401)
  await nothingHappened()
})

test('28, 31: whatever is wrong with the address or the signature, the answer is the same', async () => {
  const nobody = await TestHost.unknown(relay)
  const enrolledOnly = await TestHost.enrolled(relay)
  const answers = [
    await host.hook('{}', { headers: { 'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}` } }),
    await host.hook('{}', { headers: { 'webhook-signature': undefined } }),
    await nobody.hook(),
    await enrolledOnly.hook(),
    await host.hook('{}', { path: host.hookPath('unknown') }),
    await host.hook('{}', { path: host.hookPath('hello', 'unknown') }),
    await host.hook('{}', { path: '/hooks/UPPER/hello/deploy' }),
    await host.hook('{}', { path: `/hooks/${host.name}/%2e%2e%2fx/deploy` }),
    await host.hook('{}', { path: `/hooks/${host.name}/hello/deploy%00` }),
    await host.hook('{}', { path: `/hooks/${host.name}/hello/%C3%A9` }),
    await host.hook('{}', { path: `/hooks/${'a'.repeat(64)}/hello/deploy` }),
    await host.hook('{}', { path: pushPath('x'.repeat(32)) }),
    await host.hook('{}', { path: pushPath(urlSecrets[0]).replace('/push/', '/unknown/') }),
    await host.hook('{}', { path: `${nobody.hookPath()}/${urlSecrets[0]}` }),
    await host.hook('{}', { path: `/hooks/UPPER/hello/push/${urlSecrets[0]}` }),
    // The secret that unknown triggers are verified with is no secret.
    await nobody.hook('not JSON', { secret: 'whsec_bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5' }),
    await nobody.hook('{}', { secret: 'whsec_bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2R5' }),
  ]
  for (const { status, body, headers } of answers) {
    expect({ status, body }).toEqual(UNAUTHORIZED)
    expect([...headers.keys()].toSorted()).toEqual([...answers[0]!.headers.keys()].toSorted())
  }
  await nothingHappened()
})

test.each(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH'])('37: a hook by %s', async (method) => {
  const answer = await send({
    method,
    headers: { origin: 'https://evil.example', 'x-http-method-override': 'POST' },
  })
  expect(answer.status).toBe(405)
  expect(answer.headers).toMatchObject({ allow: 'POST' })
  expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  expect((await send({ method, path: pushPath(urlSecrets[0]), headers: {} })).status).toBe(405)
  await nothingHappened()
})

test('37: an Origin is answered without CORS headers', async () => {
  const answer = await host.hook('{}', { headers: { origin: 'https://evil.example' } })
  expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  await reached()
})

test.each(['/session', '/keys', '/revoked', '/deploys', '/stacks/hello/deploys'])(
  '37: no other page is allowed to ask %s',
  async (path) => {
    const headers = {
      origin: 'https://evil.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    }
    const answer = await send({ method: 'OPTIONS', path: `/v1/hosts/${host.name}${path}`, headers })
    expect(answer.status).toBe(404)
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  },
)

test('29: the secret of an address is in no answer, no event, no log, and on the disk only as its hash', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'ropeway-secret-'))
  const own = await startRelayProcess(dataDir)
  try {
    const there = await TestHost.enrolled({ url: own.url } as Relay)
    const socket = await there.agent(['hello'], (await triggers(there)).slice(2))
    const path = `${there.hookPath('hello', 'push')}/${urlSecrets[0]}`
    const answers = [await there.hook('{}', { path })]
    const { id } = await socket.nextDeploy()
    socket.report(id, 1, { type: 'received' })
    await socket.next()
    answers.push(
      await there.hook('{}', { path, method: 'PUT' }),
      await there.hook('{}', { path: path.replace('/push/', '/unknown/') }),
      await there.hook('{}', { path: `${path}/more` }),
      await there.hook(' '.repeat(PUSH_BODY_BYTES_MAX + 1), { path }),
      await there.get(''),
      await there.get('/stacks/hello'),
      await there.get('/deploys'),
      await there.get(`/deploys/${id}`),
      await there.get(`/deploys/${id}/events`),
    )
    expect(answers.map(({ status }) => status)).toEqual([202, 405, 401, 404, 413, 200, 200, 200, 200, 200])
    const said = answers.map(({ body, headers }) => JSON.stringify([body, ...headers])).join('\n')
    expect(said).not.toContain(urlSecrets[0])
    await socket.close()
    await own.stop()
    expect(own.log()).not.toContain(urlSecrets[0])
    const files = readdirSync(dataDir, { recursive: true, withFileTypes: true })
      .filter((file) => file.isFile())
      .map((file) => readFileSync(join(file.parentPath, file.name)))
    expect(files.some((bytes) => bytes.includes(urlSecrets[0]))).toBe(false)
    // The hash is there, so that this has looked where it would be.
    const hash = await sha256Hex(Buffer.from(urlSecrets[0]))
    expect(files.some((bytes) => bytes.includes(hash))).toBe(true)
  } finally {
    await own.stop()
    rmSync(dataDir, { recursive: true })
  }
}, 60_000)

test('29, 42: a hub that fails is answered 503, and what was asked is not printed', async () => {
  // By a name that the compiler does not follow: the Worker's types are not Node's.
  const module = '../../worker/app.ts'
  const { app } = (await import(module)) as {
    app: { request(path: string, init: RequestInit, env: object): Promise<Response> }
  }
  const hub = { hint: fails, session: fails, rotateKey: fails, revoke: fails }
  const env = { HUB: { getByName: () => hub } }
  const headers = { authorization: 'Bearer private.token.text', 'content-type': 'application/json' }
  const printed = ['log', 'info', 'warn', 'error', 'debug'] as const
  const logs = printed.map((level) => vi.spyOn(console, level).mockImplementation(() => {}))
  for (const [method, path, body] of [
    ['POST', `/hooks/vps-1/hello/push/${urlSecrets[0]}`, 'private'],
    ['POST', '/v1/hosts/vps-1/session', undefined],
    ['POST', '/v1/hosts/vps-1/keys', JSON.stringify({ publicKey: host.publicKey, keepSeconds: 0 })],
    ['PUT', '/v1/hosts/vps-1/revoked', '{"ids":["private"]}'],
  ] as const) {
    const answer = await app.request(path, { method, headers, ...(body === undefined ? {} : { body }) }, env)
    expect.soft(answer.status, path).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('5')
  }
  const text = JSON.stringify(logs.map((log) => log.mock.calls))
  for (const log of logs) log.mockRestore()
  for (const secret of ['private', urlSecrets[0], host.publicKey.x, 'vps-1'])
    expect(text).not.toContain(secret)
  expect(text).toContain('Error')
})

test('41: of two keys both count, and when each was last used can be seen', async () => {
  const begun = Date.now()
  const keysOf = async (name: string) => {
    const { body } = await host.get('/stacks/hello')
    return body.triggers.find((trigger: { name: string }) => trigger.name === name).keys
  }
  const two = { path: host.hookPath('hello', 'two') }
  expect(await keysOf('two')).toEqual(await neverUsed([host.secret, secondSecret]))

  expect((await host.hook('{}', { ...two, secret: secondSecret })).status).toBe(202)
  const [first, second] = await keysOf('two')
  expect(first.lastUsed).toBeNull()
  expect(second.lastUsed).toBeGreaterThanOrEqual(begun)
  expect(second.lastUsed).toBeLessThanOrEqual(Date.now())
  expect((await host.hook('{}', two)).status).toBe(202)
  expect((await keysOf('two'))[0].lastUsed).toBeGreaterThanOrEqual(begun)
  const third = `whsec_${randomBytes(32).toString('base64')}`
  expect(await host.hook('{}', { ...two, secret: third })).toMatchObject(UNAUTHORIZED)

  const asymmetric = { path: host.hookPath('hello', 'asymmetric'), secret: edKeys[1].private }
  expect((await host.hook('{}', asymmetric)).status).toBe(202)
  expect((await keysOf('asymmetric'))[1].lastUsed).toBeGreaterThanOrEqual(begun)
  expect((await host.hook('{}', { path: pushPath(urlSecrets[1]) })).status).toBe(202)
  expect((await keysOf('push'))[1].lastUsed).toBeGreaterThanOrEqual(begun)

  const { body } = await host.get('/stacks/hello')
  for (const key of [
    host.secret,
    secondSecret,
    edKeys[0].public,
    await sha256Hex(Buffer.from(urlSecrets[0])),
  ])
    expect(JSON.stringify(body)).not.toContain(key.replace(/^wh\w+_/, ''))
  await reached()
})

/** As a database does that says what it failed at. */
function fails(...asked: unknown[]): Promise<never> {
  return Promise.reject(new Error(`SQLITE_FULL: ${JSON.stringify(asked)}`))
}

function neverUsed(keys: readonly string[]): Promise<object[]> {
  return Promise.all(keys.map(async (key) => ({ fingerprint: await fingerprint(key), lastUsed: null })))
}

function pushPath(secret: string): string {
  return `${host.hookPath('hello', 'push')}/${secret}`
}

async function sign(id: string, timestamp: string, body: string): Promise<string> {
  const key = await crypto.subtle.importKey(
    'raw',
    Buffer.from(host.secret.slice(6), 'base64'),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  )
  const mac = await crypto.subtle.sign('HMAC', key, Buffer.from(`${id}.${timestamp}.${body}`))
  return `v1,${Buffer.from(mac).toString('base64')}`
}

/** As `ask`, by node:http: what fetch would not send. */
function send(attempt: {
  readonly path?: string
  readonly method?: string
  readonly headers: Record<string, string | string[]> | string[]
  readonly body?: string | Buffer
  readonly agent?: Agent
}): Promise<{ status: number; headers: object; body: ReturnType<typeof JSON.parse> }> {
  const { path = host.hookPath(), method = 'POST', headers, body, agent: by } = attempt
  return new Promise((resolve, reject) => {
    const sent = request(relay.url + path, { method, headers: headers as Record<string, string>, agent: by })
    sent.on('error', reject)
    sent.on('response', async (response) => {
      let text = ''
      for await (const chunk of response) text += chunk
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text && JSON.parse(text) })
    })
    sent.end(body)
  })
}

function raw(text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(Number(new URL(relay.url).port), '127.0.0.1', () => socket.write(text))
    socket.on('data', (chunk) => (answer += chunk))
    socket.on('error', () => {})
    socket.on('close', () => resolve(answer))
  })
}

test('the list of attempts has done nothing but what was accepted', async () => {
  const { body } = await host.get('/deploys?limit=100')
  for (const deploy of body.deploys) expect(deploy.status).toBe('cancelled')
  expect((await ask(`${relay.url}/healthz`)).status).toBe(200)
  await agent.close()
})
