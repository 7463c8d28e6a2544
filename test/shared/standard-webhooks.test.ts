// Standard Webhooks: the specification's published vectors, the reference library as oracle, and what it accepts but we do not.

import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import {
  publicKeyFault,
  secretFault,
  signStandardWebhook,
  verifyStandardWebhook,
} from '../../shared/triggers/standard-webhooks.ts'
import { triggerSchema, type TriggerType } from '../../shared/triggers/index.ts'
import { V1, V1A } from './vectors.ts'

const BAD = 'v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc='
const BAD_V1A = `v1a,${Buffer.alloc(64, 7).toString('base64')}`
const OTHER_SECRET = `whsec_${Buffer.from('another secret of 32 bytes, not ').toString('base64')}`
const OTHER_PUBLIC_KEY = `whpk_${Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex').toString('base64')}`
const NOW = 1614265330_000

interface Change {
  readonly type?: 'standard-webhooks' | 'standard-webhooks-v1a'
  readonly keys?: string[]
  readonly id?: string
  readonly timestamp?: string
  readonly body?: string
  readonly signature?: string
  readonly now?: number
  readonly mayBeOld?: boolean
}

function verify(change: Change = {}): ReturnType<typeof verifyStandardWebhook> {
  const type = change.type ?? 'standard-webhooks'
  const {
    keys = [type === 'standard-webhooks' ? V1.secret : V1A.publicKey],
    id = V1.id,
    timestamp = V1.timestamp,
    body = V1.body,
    signature = type === 'standard-webhooks' ? V1.signature : V1A.signature,
    now = NOW,
    mayBeOld = false,
  } = change
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature }
  return verifyStandardWebhook({ headers, body: Buffer.from(body) }, { type, keys }, now, { mayBeOld })
}

const hmacWithPublicKey = (
  await signStandardWebhook(`whsec_${V1A.publicKey.slice(5)}`, {
    id: V1.id,
    timestampSeconds: Number(V1.timestamp),
    body: Buffer.from(V1.body),
  })
)['webhook-signature']

describe('published vectors', () => {
  test.each([
    ['v1', 'standard-webhooks', V1.secret, V1.secret, V1.signature],
    ['v1a', 'standard-webhooks-v1a', V1A.signingKey, V1A.publicKey, V1A.signature],
  ] as const)(
    'the vector of %s verifies, and signing makes it',
    async (_, type, signWith, key, signature) => {
      expect(await verify({ type })).toEqual({ eventId: V1.id, signedAt: NOW, key })
      const signed = await signStandardWebhook(signWith, {
        id: V1.id,
        timestampSeconds: Number(V1.timestamp),
        body: Buffer.from(V1.body),
      })
      expect(signed).toEqual({
        'webhook-id': V1.id,
        'webhook-timestamp': V1.timestamp,
        'webhook-signature': signature,
      })
    },
  )

  test('the public key of the v1a vector is the second half of its signing key', () => {
    const signing = Buffer.from(V1A.signingKey.slice(5), 'base64')
    expect(signing.subarray(32).toString('base64')).toBe(V1A.publicKey.slice(5))
  })

  test.each<[string, Change, string]>([
    ['a secret without its prefix', { keys: [V1.secret.slice(6)] }, V1.secret.slice(6)],
    ['the good one among bad ones', { signature: `${BAD} ${V1.signature} ${BAD}` }, V1.secret],
    [
      'the good one among those of the other scheme',
      { signature: `${V1A.signature} ${V1.signature}` },
      V1.secret,
    ],
    ['the second of two secrets', { keys: [OTHER_SECRET, V1.secret] }, V1.secret],
    ['the first of two secrets', { keys: [V1.secret, OTHER_SECRET] }, V1.secret],
    ['300 s late', { now: NOW + 300_000 }, V1.secret],
    ['300 s early', { now: NOW - 300_000 }, V1.secret],
    ['years late, where it may be old', { now: NOW + 1e12, mayBeOld: true }, V1.secret],
    [
      'v1a: the good one among bad ones',
      { type: 'standard-webhooks-v1a', signature: `${BAD_V1A} ${BAD} ${V1A.signature}` },
      V1A.publicKey,
    ],
    [
      'v1a: the second of two keys',
      { type: 'standard-webhooks-v1a', keys: [OTHER_PUBLIC_KEY, V1A.publicKey] },
      V1A.publicKey,
    ],
  ])('%s is good, and it says which key', async (_, change, key) => {
    expect(await verify(change)).toEqual({ eventId: V1.id, signedAt: NOW, key })
  })

  test.each<[string, Change]>([
    [
      'the specification’s mix with v2',
      { signature: `${BAD} v2,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= ${V1.signature}` },
    ],
    ['v1 and no signature', { signature: 'v1,' }],
    ['a short signature', { signature: 'v1,dawfeoifkpqwoekfpqoekf' }],
    ['another version', { signature: V1.signature.replace('v1', 'v2') }],
    ['words', { signature: 'v1,invalid_signature' }],
    ['a bad one', { signature: BAD }],
    ['the asymmetric one, of the same content', { signature: V1A.signature }],
    ['the right one called asymmetric', { signature: V1.signature.replace('v1', 'v1a') }],
    ['another id', { id: 'msg_other' }],
    ['another body', { body: `${V1.body} ` }],
    ['another time', { timestamp: '1614265331' }],
    ['another secret', { keys: [OTHER_SECRET] }],
    ['junk after the time', { timestamp: `${V1.timestamp}abc` }],
    ['the time twice', { timestamp: `${V1.timestamp}, ${V1.timestamp}` }],
    ['the id twice', { id: `${V1.id}, ${V1.id}` }],
    ['the signature twice, by comma', { signature: `${V1.signature}, ${V1.signature}` }],
    ['two spaces between', { signature: `${BAD}  ${V1.signature}` }],
    ['a space before', { signature: ` ${V1.signature}` }],
    ['six of them', { signature: Array(6).fill(V1.signature).join(' ') }],
    ['a dot in the id', { id: 'msg.1' }],
    ['an id with a line break', { id: 'msg\n' }],
    ['an id with a NUL', { id: 'msg\0' }],
    ['no id', { id: '' }],
    ['a space before the time', { timestamp: ' 1614265330' }],
    ['a time in milliseconds', { timestamp: '1614265330000' }],
    ['not canonical base64', { signature: V1.signature.replace('1OE=', '1OF=') }],
    ['base64 without padding', { signature: V1.signature.slice(0, -1) }],
    ['v1a: the symmetric one, of the same content', v1a({ signature: V1.signature })],
    ['v1a: the right one called symmetric', v1a({ signature: V1A.signature.replace('v1a', 'v1') })],
    ['v1a: the right one and half of it', v1a({ signature: V1A.signature.slice(0, 60) })],
    ['v1a: a bad one', v1a({ signature: BAD_V1A })],
    ['v1a: another key', v1a({ keys: [OTHER_PUBLIC_KEY] })],
    ['v1a: another body', v1a({ body: `${V1.body} ` })],
    ['v1a: another id', v1a({ id: 'msg_other' })],
    ['v1a: another time', v1a({ timestamp: '1614265331' })],
    ['v1a: base64 without padding', v1a({ signature: V1A.signature.slice(0, -1) })],
    // The downgrade that JWT libraries fell for: the public key is no secret, so it must never be one.
    ['v1a: an HMAC with the public key as the secret', v1a({ signature: hmacWithPublicKey })],
  ])('%s is refused, with the same words to all', async (_, change) => {
    await expect(verify(change)).rejects.toMatchObject({ code: 'unauthorized' })
    // A stale one must not tell a bad signature from a good one.
    await expect(verify({ ...change, now: NOW + 1e9 })).rejects.toMatchObject({ code: 'unauthorized' })
  })

  test.each<[string, Change, string]>([
    ['301 s late', { now: NOW + 301_000 }, '301 s ago'],
    ['301 s early', { now: NOW - 301_000 }, '301 s in the future'],
    ['301 s early, where it may be old', { now: NOW - 301_000, mayBeOld: true }, '301 s in the future'],
    ['v1a: 301 s late', v1a({ now: NOW + 301_000 }), '301 s ago'],
  ])('%s is stale', async (_, change, message) => {
    await expect(verify(change)).rejects.toMatchObject({
      code: 'request-stale',
      message: expect.stringContaining(message),
    })
  })
})

function v1a(change: Change): Change {
  return { type: 'standard-webhooks-v1a', ...change }
}

describe('against the reference library', () => {
  test.each(['', '{}', '{"reason":"♥ é 日本"}', ' '.repeat(5000)])('body %j', async (body) => {
    const now = Math.floor(Date.now() / 1000)
    const theirs = new Webhook(V1.secret).sign('msg_1', new Date(now * 1000), body)
    const ours = await signStandardWebhook(V1.secret, {
      id: 'msg_1',
      timestampSeconds: now,
      body: Buffer.from(body),
    })
    expect(ours['webhook-signature']).toBe(theirs)
    expect(
      await verify({ id: 'msg_1', timestamp: String(now), body, signature: theirs, now: now * 1000 }),
    ).toMatchObject({ eventId: 'msg_1' })
  })
})

function isUsable(type: TriggerType, key: string): boolean {
  return triggerSchema.safeParse({ type, stack: 'hello', name: 'deploy', ttlMs: 1, keys: [key] }).success
}

test.each([
  ['good', V1.secret, undefined],
  ['good without prefix', V1.secret.slice(6), undefined],
  ['64 bytes', Buffer.from(Array.from({ length: 64 }, (_, i) => i)).toString('base64'), undefined],
  ['empty', '', 'has 0 bytes, fewer than 24'],
  ['a prefix', 'whsec_', 'has 0 bytes, fewer than 24'],
  ['23 bytes', Buffer.from('abcdefghijklmnopqrstuvw').toString('base64'), 'has 23 bytes, fewer than 24'],
  ['65 bytes', Buffer.alloc(65, 'ab').toString('base64'), 'has 65 bytes, more than 64'],
  ['all zero', Buffer.alloc(32).toString('base64'), 'is one byte repeated'],
  ['words', 'correct horse battery staple', 'is not `whsec_` and base64'],
  ['unpadded', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS', 'is not `whsec_` and base64'],
  ['a public key', V1A.publicKey, 'is not `whsec_` and base64'],
])('secret: %s', (_, secret, fault) => {
  expect(secretFault(secret)).toBe(fault)
  expect(isUsable('standard-webhooks', secret)).toBe(fault === undefined)
})

const NO_PUBLIC_KEY = 'is not `whpk_` and an Ed25519 public key in base64'
test.each([
  ['good', V1A.publicKey, undefined],
  ['without its prefix', V1A.publicKey.slice(5), NO_PUBLIC_KEY],
  ['the private one', V1A.signingKey, NO_PUBLIC_KEY],
  ['the private one under a public name', V1A.signingKey.replace('whsk_', 'whpk_'), NO_PUBLIC_KEY],
  ['a secret', V1.secret, NO_PUBLIC_KEY],
  ['31 bytes', `whpk_${Buffer.alloc(31, 'ab').toString('base64')}`, NO_PUBLIC_KEY],
  ['unpadded', V1A.publicKey.replace('=', ''), NO_PUBLIC_KEY],
  ['empty', '', NO_PUBLIC_KEY],
  ['a prefix', 'whpk_', NO_PUBLIC_KEY],
])('public key: %s', (_, key, fault) => {
  expect(publicKeyFault(key)).toBe(fault)
  expect(isUsable('standard-webhooks-v1a', key)).toBe(fault === undefined)
})

test('public key: the placeholder of all zeros, for which a runtime may take forged signatures, is refused', () => {
  const key = `whpk_${Buffer.alloc(32).toString('base64')}`
  expect(publicKeyFault(key)).toBe('is one byte repeated')
  expect(isUsable('standard-webhooks-v1a', key)).toBe(false)
})
