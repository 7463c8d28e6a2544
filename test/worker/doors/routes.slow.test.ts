// The relay's front door: whatever is asked of it, in whatever words, the answer is a documented one. Never 5xx, never no answer.

import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import {
  acceptedSchema,
  cancelSchema,
  deploysSchema,
  enrolledSchema,
  revokedSchema,
  rotatedSchema,
} from '../../../shared/api.ts'
import { HOOK_BODY_BYTES_MAX, PUSH_BODY_BYTES_MAX } from '../../../shared/limits.ts'
import { sha256Hex } from '../../../shared/tokens.ts'
import { signStandardWebhook } from '../../../shared/triggers/standard-webhooks.ts'
import { anyDeployId, anyName } from '../../shared/doors/frames.ts'
import { anyJson, anyJsonText, anyText, damaged, wrongInOnePlace } from '../../shared/doors/texts.ts'
import { ENROLL_KEY, TestHost, testRelay } from '../../support/relay.ts'
import { answerTo, type Asked } from './answers.ts'

const relay = await testRelay()
const host = await TestHost.enrolled(relay)
const SECRET = 'cdb6e15f-9d2f4f61bcf40e-_'
const agent = await host.agent(
  ['hello'],
  [
    host.trigger(),
    {
      type: 'url',
      stack: 'hello',
      name: 'pushed',
      ttlMs: 60_000,
      keys: [await sha256Hex(Buffer.from(SECRET))],
    },
  ],
)
const TOKEN = await host.token(['read', 'deploy', 'rollback', 'agent'], { ttlSeconds: 600 })
afterAll(() => relay.stop())

const expectAnswer = (asked: Asked) => answerTo(host.url, asked, [host.secret, SECRET, ENROLL_KEY])

// What HTTP itself allows in a request line and in a header's value; the rest never reaches a Worker.
const segment = fc.oneof(
  fc.constantFrom(host.name, 'hello', 'deploy', 'pushed', SECRET, 'hooks', 'v1', 'hosts', 'agent'),
  fc.constantFrom('stacks', 'deploys', 'rollback', 'releases', 'cancel'),
  fc.constantFrom(
    '',
    '.',
    '..',
    '%',
    '%00',
    '%2f',
    '%zz',
    '%ff',
    '%c3%28',
    '%2e%2e',
    '@token',
    ':host',
    '*',
    ';',
    '{x}',
  ),
  anyName,
  anyDeployId,
  anyText.filter((text) => text.isWellFormed()).map(encodeURIComponent),
  fc.string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
    maxLength: 20,
  }),
)
const headerValue = fc.oneof(
  fc.string({
    unit: fc
      .integer({ min: 0x20, max: 0xff })
      .filter((code) => code !== 0x7f)
      .map((code) => String.fromCharCode(code)),
    maxLength: 40,
  }),
  fc.constantFrom('', ' ', '0', '-1', '1e9', 'application/json', 'gzip', 'chunked', 'x'.repeat(5000)),
)
const method = fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'PROPFIND')
const authorization = fc.oneof(
  fc.constantFrom(`Bearer ${TOKEN}`, `bearer ${TOKEN}`, `Bearer ${ENROLL_KEY}`, 'Bearer ', 'Basic eA=='),
  damaged(fc.constant(`Bearer ${TOKEN}`)).filter((text) => /^[\x20-\x7e\x80-\xff]*$/.test(text)),
  headerValue,
)
const cookie = fc.oneof(
  fc.constantFrom(
    `ropeway-${host.name}=${TOKEN}`,
    `ropeway-${host.name}=%`,
    `ropeway-${host.name}="x`,
    '=',
    ';;',
  ),
  headerValue,
)
const anyHeaders = fc.record(
  {
    authorization,
    cookie,
    accept: fc.oneof(fc.constantFrom('application/json', 'text/event-stream', '*/*'), headerValue),
    'content-type': fc.oneof(
      fc.constantFrom('application/json', 'application/json; charset=utf-8'),
      headerValue,
    ),
    'content-encoding': headerValue,
    'last-event-id': fc.oneof(fc.nat().map(String), headerValue),
    'idempotency-key': fc.oneof(fc.constant('key'), headerValue),
    'webhook-id': headerValue,
    'webhook-timestamp': headerValue,
    'webhook-signature': headerValue,
    origin: headerValue,
    'x-forwarded-proto': headerValue,
  },
  { requiredKeys: [] },
)
const anyBody = fc.oneof(
  anyJsonText,
  anyText,
  fc.uint8Array({ maxLength: 100 }),
  fc.constantFrom(
    '',
    '{}',
    ...[HOOK_BODY_BYTES_MAX, PUSH_BODY_BYTES_MAX].flatMap((bytes) => [
      'x'.repeat(bytes),
      'x'.repeat(bytes + 1),
    ]),
  ),
)

test('any path by any method, with any headers and body', async () => {
  const path = fc
    .tuple(
      fc.constantFrom(
        '',
        `/hooks/${host.name}`,
        `/v1/hosts/${host.name}`,
        '/hooks',
        '/v1/hosts',
        '/agent',
        '/watch',
      ),
      fc.array(segment, { maxLength: 4 }),
      fc.constantFrom('', '?', '?limit=1', '?limit=%', '?wait', '?&&=%zz', '?stack=__proto__'),
    )
    .map(
      ([base, segments, query]) =>
        `${base}/${segments.map((each) => each.replaceAll('#', '')).join('/')}${query}`,
    )
  await fc.assert(
    fc.asyncProperty(method, path, anyHeaders, anyBody, async (verb, target, headers, body) => {
      await expectAnswer({ method: verb, path: target, headers, body })
    }),
    { numRuns: 200 },
  )
})

test('a hook that is nearly right', async () => {
  const json = { 'content-type': 'application/json' }
  const body = fc.oneof(
    fc.constant('{"reason":"x"}'),
    damaged(fc.constant('{"reason":"x"}')),
    anyJsonText,
    anyText,
  )
  const id = fc.oneof(fc.uuid(), headerValue)
  const accident = fc.constantFrom('none', 'id', 'time', 'signature', 'body' as const)
  await fc.assert(
    fc.asyncProperty(body, id, accident, headerValue, async (text, eventId, what, by) => {
      // HTTP itself takes blanks off the ends of a header's value: such a change is none.
      if (what === 'id' && by.trim() === eventId.trim()) return
      const bytes = Buffer.from(text)
      const timestampSeconds = Math.floor(Date.now() / 1000)
      const signed = await signStandardWebhook(host.secret, { id: eventId, timestampSeconds, body: bytes })
      if (what === 'id') signed['webhook-id'] = by
      if (what === 'time') signed['webhook-timestamp'] = by
      if (what === 'signature') signed['webhook-signature'] = by
      const sent = what === 'body' ? `${text} ` : text
      const asked = { method: 'POST', path: host.hookPath(), headers: { ...signed, ...json }, body: sent }
      const answer = await expectAnswer(asked)
      if (answer.status < 300) {
        expect(what).toBe('none')
        acceptedSchema.parse(answer.body)
      } else expect(what === 'none' ? [400, 401] : [401]).toContain(answer.status)
    }),
    { numRuns: 60 },
  )
})

test('a hint of any form: the secret alone opens, and what else is sent changes nothing', async () => {
  const secret = fc.oneof(
    fc.constant(SECRET),
    damaged(fc.constant(SECRET)).filter((text) => text.isWellFormed()),
    segment,
  )
  await fc.assert(
    fc.asyncProperty(secret, anyHeaders, anyBody, async (text, headers, body) => {
      const part = text === SECRET ? text : encodeURIComponent(text)
      const path = `${host.hookPath('hello', 'pushed')}/${part}`
      const { status } = await expectAnswer({ method: 'POST', path, headers, body })
      if (Buffer.byteLength(body) > PUSH_BODY_BYTES_MAX) expect([401, 404, 413]).toContain(status)
      // Dots alone are taken out of a path before anybody sees it.
      else if (text === SECRET) expect([200, 202]).toContain(status)
      else expect([401, 404]).toContain(status)
    }),
    { numRuns: 60 },
  )
})

test('what is written below /v1 with any JSON', async () => {
  const shapes: Record<string, [string, object, string, { parse(value: unknown): unknown }]> = {
    '/enroll': ['POST', { publicKey: host.publicKey }, ENROLL_KEY, enrolledSchema],
    '/keys': ['POST', { publicKey: host.publicKey, keepSeconds: 3600 }, TOKEN, rotatedSchema],
    '/revoked': ['PUT', { ids: ['x', 'y'] }, TOKEN, revokedSchema],
    '/stacks/hello/deploys': ['POST', { reason: 'x', env: { A: 'b' } }, TOKEN, acceptedSchema],
    '/stacks/hello/rollback': ['POST', { reason: 'x', release: 3 }, TOKEN, acceptedSchema],
    '/deploys/0123456789abcdef/cancel': ['POST', { cancel: '0123456789abcdef' }, TOKEN, cancelSchema],
  }
  const written = fc.constantFrom(...Object.keys(shapes)).chain((path) => {
    const right = fc.constant(shapes[path]![1])
    const body = fc.oneof(
      wrongInOnePlace(right).map((value) => JSON.stringify(value) ?? ''),
      damaged(right.map((value) => JSON.stringify(value))),
      anyJsonText,
      anyJson.map((value) => JSON.stringify(value)),
    )
    return fc.tuple(fc.constant(path), body)
  })
  await fc.assert(
    fc.asyncProperty(written, async ([path, body]) => {
      const [verb, , token, schema] = shapes[path]!
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const asked = { method: verb, path: `/v1/hosts/${host.name}${path}`, headers, body }
      const answer = await expectAnswer(asked)
      if (answer.status < 300) schema.parse(answer.body)
    }),
    { numRuns: 150 },
  )
})

test('after all that the host is there, its token still reads, and a hook still comes through', async () => {
  const { status, body } = await expectAnswer({
    method: 'GET',
    path: `/v1/hosts/${host.name}/deploys`,
    headers: { authorization: `Bearer ${TOKEN}` },
    body: '',
  })
  expect(status).toBe(200)
  deploysSchema.parse(body)
  agent.socket.terminate()
  const next = await host.agent()
  const hooked = await host.hook()
  expect(hooked.status).toBe(202)
  await next.close()
})
