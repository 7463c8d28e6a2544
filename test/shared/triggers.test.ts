// Standard Webhooks: the specification's published vectors, the reference library as oracle, and what it accepts but we do not.

import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { Problem } from '../../shared/problems.ts'
import { askedByToken, triggerSchema, verifyTriggered, type Trigger } from '../../shared/triggers/index.ts'
import {
  secretFault,
  signStandardWebhook,
  verifyStandardWebhook,
} from '../../shared/triggers/standard-webhooks.ts'
import { sha256Hex, type Claims } from '../../shared/tokens.ts'

// https://github.com/standard-webhooks/standard-webhooks, libraries/*/tests
const VECTOR = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: '1614265330',
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
}
const BAD = 'v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc='
const OTHER_SECRET = `whsec_${Buffer.from('another secret of 32 bytes, not ').toString('base64')}`
const NOW = 1614265330_000

function verify(change: Partial<typeof VECTOR> & { now?: number; secrets?: string[] } = {}): Promise<string> {
  const { id, timestamp, body, signature, secret, now = NOW, secrets = [secret] } = { ...VECTOR, ...change }
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature }
  return verifyStandardWebhook({ headers, body: Buffer.from(body) }, secrets, now)
}

describe('published vectors', () => {
  test('the vector verifies, and signing makes it', async () => {
    expect(await verify()).toBe(VECTOR.id)
    const signed = await signStandardWebhook(VECTOR.secret, {
      id: VECTOR.id,
      timestampSeconds: Number(VECTOR.timestamp),
      body: Buffer.from(VECTOR.body),
    })
    expect(signed['webhook-signature']).toBe(VECTOR.signature)
  })

  test.each([
    ['a secret without its prefix', { secret: VECTOR.secret.slice(6) }],
    ['the good one among bad ones', { signature: `${BAD} ${VECTOR.signature} ${BAD}` }],
    ['the second of two secrets', { secrets: [OTHER_SECRET, VECTOR.secret] }],
    ['300 s late', { now: NOW + 300_000 }],
    ['300 s early', { now: NOW - 300_000 }],
  ])('%s is good', async (_, change) => {
    expect(await verify(change)).toBe(VECTOR.id)
  })

  test.each([
    [
      'the specification’s mix with v2',
      { signature: `${BAD} v2,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= ${VECTOR.signature}` },
    ],
    ['v1 and no signature', { signature: 'v1,' }],
    ['a short signature', { signature: 'v1,dawfeoifkpqwoekfpqoekf' }],
    ['another version', { signature: VECTOR.signature.replace('v1', 'v2') }],
    ['words', { signature: 'v1,invalid_signature' }],
    ['a bad one', { signature: BAD }],
    [
      'the asymmetric one',
      {
        signature:
          'v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==',
      },
    ],
    ['the right one called asymmetric', { signature: VECTOR.signature.replace('v1', 'v1a') }],
    ['301 s late', { now: NOW + 301_000 }],
    ['301 s early', { now: NOW - 301_000 }],
    ['another id', { id: 'msg_other' }],
    ['another body', { body: `${VECTOR.body} ` }],
    ['another time', { timestamp: '1614265331' }],
    ['another secret', { secret: OTHER_SECRET }],
    ['junk after the time', { timestamp: `${VECTOR.timestamp}abc` }],
    ['the time twice', { timestamp: `${VECTOR.timestamp}, ${VECTOR.timestamp}` }],
    ['the id twice', { id: `${VECTOR.id}, ${VECTOR.id}` }],
    ['the signature twice, by comma', { signature: `${VECTOR.signature}, ${VECTOR.signature}` }],
    ['two spaces between', { signature: `${BAD}  ${VECTOR.signature}` }],
    ['a space before', { signature: ` ${VECTOR.signature}` }],
    ['six of them', { signature: Array(6).fill(VECTOR.signature).join(' ') }],
    ['a dot in the id', { id: 'msg.1' }],
    ['an id with a line break', { id: 'msg\n' }],
    ['an id with a NUL', { id: 'msg\0' }],
    ['no id', { id: '' }],
    ['a space before the time', { timestamp: ' 1614265330' }],
    ['not canonical base64', { signature: VECTOR.signature.replace('1OE=', '1OF=') }],
    ['base64 without padding', { signature: VECTOR.signature.slice(0, -1) }],
  ])('%s is refused', async (_, change) => {
    await expect(verify(change)).rejects.toMatchObject({ code: 'unauthorized' })
  })
})

describe('against the reference library', () => {
  test.each(['', '{}', '{"reason":"♥ é 日本"}', ' '.repeat(5000)])('body %j', async (body) => {
    const now = Math.floor(Date.now() / 1000)
    const theirs = new Webhook(VECTOR.secret).sign('msg_1', new Date(now * 1000), body)
    const ours = await signStandardWebhook(VECTOR.secret, {
      id: 'msg_1',
      timestampSeconds: now,
      body: Buffer.from(body),
    })
    expect(ours['webhook-signature']).toBe(theirs)
    expect(
      await verify({ id: 'msg_1', timestamp: String(now), body, signature: theirs, now: now * 1000 }),
    ).toBe('msg_1')
  })
})

test.each([
  ['good', VECTOR.secret, undefined],
  ['good without prefix', VECTOR.secret.slice(6), undefined],
  ['64 bytes', Buffer.from(Array.from({ length: 64 }, (_, i) => i)).toString('base64'), undefined],
  ['empty', '', 'has 0 bytes, fewer than 24'],
  ['a prefix', 'whsec_', 'has 0 bytes, fewer than 24'],
  ['23 bytes', Buffer.from('abcdefghijklmnopqrstuvw').toString('base64'), 'has 23 bytes, fewer than 24'],
  ['65 bytes', Buffer.alloc(65, 'ab').toString('base64'), 'has 65 bytes, more than 64'],
  ['all zero', Buffer.alloc(32).toString('base64'), 'is one byte repeated'],
  ['words', 'correct horse battery staple', 'is not `whsec_` and base64'],
  ['unpadded', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS', 'is not `whsec_` and base64'],
])('secret: %s', (_, secret, fault) => {
  expect(secretFault(secret)).toBe(fault)
  const trigger = { type: 'standard-webhooks', stack: 'hello', name: 'deploy', secrets: [secret] }
  expect(triggerSchema.safeParse(trigger).success).toBe(fault === undefined)
})

const TRIGGER: Trigger = {
  type: 'standard-webhooks',
  stack: 'hello',
  name: 'deploy',
  secrets: [VECTOR.secret],
}

async function triggered(trigger: Trigger, id: string, body: string, host = 'vps-1') {
  const headers = await signStandardWebhook(VECTOR.secret, {
    id,
    timestampSeconds: NOW / 1000,
    body: Buffer.from(body),
  })
  return verifyTriggered(host, trigger, { headers, body: Buffer.from(body) }, NOW)
}

test('a deploy’s id is of host, stack, trigger and the sender’s id alone', async () => {
  const { id } = await triggered(TRIGGER, 'msg_1', '{}')
  expect(id).toMatch(/^[0-9a-hjkmnp-tv-z]{16}$/)
  expect((await triggered(TRIGGER, 'msg_1', '{"reason":"x"}')).id).toBe(id)
  expect((await triggered({ ...TRIGGER, secrets: [OTHER_SECRET, VECTOR.secret] }, 'msg_1', '{}')).id).toBe(id)
  const others = await Promise.all([
    triggered(TRIGGER, 'msg_2', '{}'),
    triggered({ ...TRIGGER, stack: 'other' }, 'msg_1', '{}'),
    triggered({ ...TRIGGER, name: 'other' }, 'msg_1', '{}'),
    triggered(TRIGGER, 'msg_1', '{}', 'vps-2'),
  ])
  expect(new Set([id, ...others.map((asked) => asked.id)]).size).toBe(5)
})

test('the signature is judged before the body', async () => {
  await expect(triggered(TRIGGER, 'msg_1', 'x')).rejects.toMatchObject({ code: 'request-invalid' })
  await expect(triggered({ ...TRIGGER, secrets: [OTHER_SECRET] }, 'msg_1', 'x')).rejects.toMatchObject({
    code: 'unauthorized',
  })
})

const CLAIMS: Claims = {
  actor: 'ci',
  id: 'jti-1',
  scopes: ['deploy'],
  stacks: undefined,
  bodySha256: undefined,
}
const asked = (claims: Claims, stack = 'hello', idempotencyKey = 'k', body = '{}') =>
  askedByToken('vps-1', stack, claims, { idempotencyKey, body: Buffer.from(body) })

test('a token’s request is told apart by token, stack, key and body', async () => {
  const first = await asked(CLAIMS)
  expect(first).toMatchObject({ actor: 'ci', request: {} })
  expect((await asked(CLAIMS)).id).toBe(first.id)
  const others = await Promise.all([
    asked({ ...CLAIMS, id: 'jti-2' }),
    asked(CLAIMS, 'other'),
    asked(CLAIMS, 'hello', 'k2'),
    asked(CLAIMS, 'hello', 'k', '{"reason":"x"}'),
  ])
  expect(new Set([first.id, ...others.map(({ id }) => id)]).size).toBe(5)
})

test('a token bound to a body is one request, whatever the key', async () => {
  const bound = { ...CLAIMS, bodySha256: await sha256Hex(Buffer.from('{}')) }
  expect((await asked(bound)).id).toBe((await asked(bound, 'hello', 'k2')).id)
  await expect(asked(bound, 'hello', 'k', '{ }')).rejects.toMatchObject({ code: 'unauthorized' })
})

test.each<[string, Claims]>([
  ['without the scope', { ...CLAIMS, scopes: ['read', 'agent', 'rollback'] }],
  ['for another stack', { ...CLAIMS, stacks: ['other'] }],
  ['for no stack', { ...CLAIMS, stacks: [] }],
])('a token %s asks for nothing', async (_, claims) => {
  const refused = asked(claims, 'hello', 'k', 'not JSON')
  await expect(refused).rejects.toBeInstanceOf(Problem)
  await expect(refused).rejects.toMatchObject({ code: 'unauthorized' })
})
