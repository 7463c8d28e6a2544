// What must not work. Each test is named after its row in our list of attacks on webhooks.

import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay.ts'
import { HOOK_BODY_BYTES_MAX } from '../../shared/limits.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { TestHost, ask, testRelay, type AgentSocket } from '../support/relay.ts'

let relay: Relay
let host: TestHost
let agent: AgentSocket
beforeAll(async () => {
  relay = await testRelay()
  host = await TestHost.enrolled(relay)
  agent = await host.agent(['hello', 'other'])
}, 30_000)
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

test('1: a replayed request is a duplicate and runs once', async () => {
  const id = `msg_${randomUUID()}`
  const first = await host.hook('{}', { id })
  const again = await host.hook('{}', { id })
  const later = await host.hook('{}', { id, at: seconds() + 7 })
  expect([first.status, again.status, later.status]).toEqual([202, 200, 200])
  for (const answer of [again, later]) expect(answer.body).toEqual({ ...first.body, status: 'duplicate' })
  expect(await agent.drained()).toMatchObject([{ type: 'deploy', id: first.body.deploy.id }])
})

test('1: twenty at once are one deploy', async () => {
  const id = `msg_${randomUUID()}`
  const answers = await Promise.all(Array.from({ length: 20 }, () => host.hook('{}', { id })))
  expect(answers.map(({ status }) => status).toSorted()).toEqual([...Array(19).fill(200), 202])
  expect((await agent.drained()).length).toBe(1)
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

test.each([
  ['empty', ''],
  ['a prefix alone', 'whsec_'],
  ['all zero', `whsec_${Buffer.alloc(32).toString('base64')}`],
  ['short', `whsec_${Buffer.from('23 bytes are too few!!!').toString('base64')}`],
  ['no base64', 'whsec_not base64 at all, is it?'],
])('7: the hub takes no trigger whose secret is %s', async (_, secret) => {
  const careless = await TestHost.enrolled(relay)
  const socket = await careless.silentAgent()
  const triggers = [{ type: 'standard-webhooks' as const, stack: 'hello', name: 'deploy', secrets: [secret] }]
  socket.send({ type: 'hello', v: 1, agent: 'x', stacks: ['hello'], triggers })
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

test('15: a request signed for one host or stack does nothing to another', async () => {
  const other = await TestHost.enrolled(relay)
  const otherAgent = await other.agent()
  expect(await host.hook('{}', { path: other.hookPath() })).toMatchObject(UNAUTHORIZED)
  expect(await otherAgent.drained()).toEqual([])
  expect((await host.hook('{"stack":"other"}')).status).toBe(400)
  await nothingHappened()
})

test('16: a body over the limit, with its length said, unsaid or lied about', async () => {
  const tooBig = Buffer.alloc(HOOK_BODY_BYTES_MAX + 1, ' ')
  const headers = { 'content-type': 'application/json' }
  const refused = { status: 413, body: { error: { code: 'request-invalid' } } }
  expect(await send({ headers, body: tooBig })).toMatchObject(refused)
  expect(await send({ headers: { ...headers, 'transfer-encoding': 'chunked' }, body: tooBig })).toMatchObject(
    refused,
  )
  expect(await send({ headers, body: Buffer.alloc(10_000_000, ' ') })).toMatchObject(refused)
  // Just the limit is let through to be judged: it is signed, and empty.
  expect((await host.hook(' '.repeat(HOOK_BODY_BYTES_MAX))).status).toBe(400)

  const lying = await raw(
    `POST ${host.hookPath()} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}${' '.repeat(300_000)}`,
  )
  expect(lying).toMatch(/^HTTP\/1.1 401/)
  await nothingHappened()
})

test('16: after a refusal the connection still works', async () => {
  const keepAlive = new Agent({ keepAlive: true, maxSockets: 1 })
  const json = { 'content-type': 'application/json' }
  try {
    for (const [attempt, status] of [
      [{ headers: json, body: Buffer.alloc(1_000_000) }, 413],
      [{ headers: { 'content-type': 'text/plain' }, body: Buffer.alloc(70_000) }, 415],
      [{ headers: json, body: Buffer.alloc(70_000) }, 401],
      [{ path: '/nothing', headers: json, body: Buffer.alloc(70_000) }, 404],
      [{ path: '/v1/hosts/x/enroll', headers: json, body: Buffer.alloc(70_000) }, 401],
      [{ path: '/v1/hosts/x/stacks/y/deploys', headers: json, body: Buffer.alloc(70_000) }, 401],
      [{ method: 'PUT', headers: json, body: Buffer.alloc(70_000) }, 405],
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
  await agent.drained()
})

const INVALID: [string, string | Uint8Array][] = [
  ['19: not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
  ['19: a byte order mark', Buffer.from('\ufeff{}')],
  ['19: overlong', Buffer.from([0xc0, 0xbb])],
  ['19: a lone surrogate', Buffer.from([0xed, 0xa0, 0x80])],
  ['20: duplicate keys', '{"reason":"a","reason":"b"}'],
  ['20: duplicate keys, one escaped', '{"reason":"a","re\\u0061son":"b"}'],
  ['20: duplicate variables', '{"env":{"A":"1","A":"2"}}'],
  ['20: depth', `{"env":${'['.repeat(50_000)}${']'.repeat(50_000)}}`],
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
})

test('37: an Origin is answered without CORS headers', async () => {
  const answer = await host.hook('{}', { headers: { origin: 'https://evil.example' } })
  expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  await agent.drained()
})

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
  for (const deploy of body.deploys) expect(deploy.status).toBe('queued')
  expect((await ask(`${relay.url}/healthz`)).status).toBe(200)
  await agent.close()
})
