// What a verified request asks for, whichever way it came: signed, by a token, or as a hint.

import { describe, expect, test } from 'vitest'
import { HINT_TTL_MS, REQUEST_TTL_MS, REQUEST_TTL_MS_MAX } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import { sha256Hex, type Claims } from '../../shared/tokens.ts'
import {
  askedByHint,
  askedByToken,
  checkCancel,
  defaultTtlMs,
  fingerprint,
  triggerSchema,
  URL_SECRET_PATTERN,
  verifyTriggered,
  verifyUrlSecret,
  type SignedTrigger,
  type Trigger,
} from '../../shared/triggers/index.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { V1, V1A } from './vectors.ts'

const NOW = 1614265330_000
const OTHER_SECRET = `whsec_${Buffer.from('another secret of 32 bytes, not ').toString('base64')}`
const URL_SECRET = 'cdb6e15f-9d2f4f61bcf40e-_'

const TRIGGER: SignedTrigger = {
  type: 'standard-webhooks',
  stack: 'hello',
  name: 'deploy',
  ttlMs: 60_000,
  keys: [V1.secret],
}
const ASYMMETRIC: SignedTrigger = { ...TRIGGER, type: 'standard-webhooks-v1a', keys: [V1A.publicKey] }
const HINT: Trigger = {
  ...TRIGGER,
  type: 'url',
  keys: [await sha256Hex(Buffer.from('not it')), await sha256Hex(Buffer.from(URL_SECRET))],
}

async function triggered(
  trigger: SignedTrigger,
  { id = 'msg_1', body = '{}', host = 'vps-1', signWith = '', now = NOW, mayBeOld = false } = {},
): ReturnType<typeof verifyTriggered> {
  const usual = trigger.type === 'standard-webhooks' ? V1.secret : V1A.signingKey
  const headers = await signStandardWebhook(signWith === '' ? usual : signWith, {
    id,
    timestampSeconds: NOW / 1000,
    body: Buffer.from(body),
  })
  return verifyTriggered(host, trigger, { headers, body: Buffer.from(body) }, now, { mayBeOld })
}

describe('signed', () => {
  test.each([
    ['v1', TRIGGER, V1.secret],
    ['v1a', ASYMMETRIC, V1A.publicKey],
  ])('%s: what is asked, when, until when, and by which key', async (_, trigger, key) => {
    expect(await triggered(trigger, { body: '{"reason":"x"}' })).toEqual({
      id: expect.stringMatching(/^[0-9a-hjkmnp-tv-z]{16}$/),
      request: { reason: 'x' },
      actor: 'deploy',
      trust: 'signed',
      ttlMs: 60_000,
      signedAt: NOW,
      // The trigger's ttl, and the difference that the clocks may have.
      expiresAt: NOW + 60_000 + 300_000,
      key,
    })
  })

  test('a deploy’s id is of host, stack, trigger and the sender’s id alone', async () => {
    const { id } = await triggered(TRIGGER)
    expect((await triggered(TRIGGER, { body: '{"reason":"x"}' })).id).toBe(id)
    expect((await triggered({ ...TRIGGER, keys: [OTHER_SECRET, V1.secret] })).id).toBe(id)
    expect((await triggered({ ...TRIGGER, ttlMs: 1 })).id).toBe(id)
    expect((await triggered(ASYMMETRIC)).id).toBe(id)
    const others = await Promise.all([
      triggered(TRIGGER, { id: 'msg_2' }),
      triggered({ ...TRIGGER, stack: 'other' }),
      triggered({ ...TRIGGER, name: 'other' }),
      triggered(TRIGGER, { host: 'vps-2' }),
    ])
    expect(new Set([id, ...others.map((asked) => asked.id)]).size).toBe(5)
  })

  test('the signature is judged first, then the time, then the body', async () => {
    const old = { now: NOW + 301_000, body: 'x' }
    await expect(triggered({ ...TRIGGER, keys: [OTHER_SECRET] }, old)).rejects.toMatchObject({
      code: 'unauthorized',
    })
    await expect(triggered(TRIGGER, old)).rejects.toMatchObject({ code: 'request-stale' })
    await expect(triggered(TRIGGER, { body: 'x' })).rejects.toMatchObject({ code: 'request-invalid' })
  })

  test('what has waited may be old: its ttl is for the agent to judge', async () => {
    const now = NOW + 10 * REQUEST_TTL_MS_MAX
    expect((await triggered(TRIGGER, { now, mayBeOld: true })).expiresAt).toBeLessThan(now)
  })

  test.each<[string, SignedTrigger, string]>([
    ['v1 where v1a is wanted', ASYMMETRIC, V1.secret],
    ['v1a where v1 is wanted', TRIGGER, V1A.signingKey],
    ['v1 with the public key, where v1a is wanted', ASYMMETRIC, `whsec_${V1A.publicKey.slice(5)}`],
  ])('%s is refused', async (_, trigger, signWith) => {
    await expect(triggered(trigger, { signWith })).rejects.toMatchObject({ code: 'unauthorized' })
  })
})

describe('a hint', () => {
  test('its secret fits by its hash alone, and says which key', async () => {
    expect(await verifyUrlSecret(HINT, URL_SECRET)).toBe(HINT.keys[1])
    expect(await verifyUrlSecret(HINT, 'not it')).toBe(HINT.keys[0])
    for (const wrong of ['', `${URL_SECRET} `, URL_SECRET.toUpperCase(), HINT.keys[1] ?? ''])
      expect(await verifyUrlSecret(HINT, wrong)).toBeUndefined()
  })

  test('the secret of a signed trigger is none, not even its hash', async () => {
    for (const trigger of [TRIGGER, ASYMMETRIC])
      for (const key of [...trigger.keys, URL_SECRET])
        expect(await verifyUrlSecret(trigger, key)).toBeUndefined()
  })

  test('it asks for nothing, and each one is its own deploy', async () => {
    const nonce = '0'.repeat(32)
    const asked = await askedByHint('vps-1', HINT, nonce)
    expect(asked).toEqual({
      id: expect.stringMatching(/^[0-9a-hjkmnp-tv-z]{16}$/),
      request: {},
      actor: 'deploy',
      trust: 'hint',
      ttlMs: 60_000,
      signedAt: undefined,
      expiresAt: Infinity,
    })
    expect((await askedByHint('vps-1', HINT, nonce)).id).toBe(asked.id)
    const others = await Promise.all([
      askedByHint('vps-1', HINT, '1'.repeat(32)),
      askedByHint('vps-2', HINT, nonce),
      askedByHint('vps-1', { ...HINT, stack: 'other' }, nonce),
      askedByHint('vps-1', { ...HINT, name: 'other' }, nonce),
    ])
    expect(new Set([asked.id, ...others.map(({ id }) => id)]).size).toBe(5)
  })

  test.each([
    [URL_SECRET, true],
    ['a'.repeat(24), true],
    ['a'.repeat(128), true],
    ['a'.repeat(23), false],
    ['a'.repeat(129), false],
    [`${'a'.repeat(24)}\n`, false],
    [`${'a'.repeat(24)}/`, false],
    [`${'a'.repeat(24)}%20`, false],
    [`${'a'.repeat(24)}é`, false],
  ])('the secret %j in an address: %s', (secret, isOne) => {
    expect(URL_SECRET_PATTERN.test(secret)).toBe(isOne)
  })
})

test('the usual ttl is a day for what was signed and an hour for a hint', () => {
  expect(defaultTtlMs('standard-webhooks')).toBe(REQUEST_TTL_MS)
  expect(defaultTtlMs('standard-webhooks-v1a')).toBe(REQUEST_TTL_MS)
  expect(defaultTtlMs('url')).toBe(HINT_TTL_MS)
})

describe('the schema', () => {
  const HASH = 'a'.repeat(64)
  test.each<[string, object, boolean]>([
    ['v1', TRIGGER, true],
    ['v1a', ASYMMETRIC, true],
    ['a hint', HINT, true],
    ['two keys', { ...TRIGGER, keys: [V1.secret, OTHER_SECRET] }, true],
    ['the longest ttl', { ...TRIGGER, ttlMs: REQUEST_TTL_MS_MAX }, true],
    ['a longer one', { ...TRIGGER, ttlMs: REQUEST_TTL_MS_MAX + 1 }, false],
    ['no ttl', { ...TRIGGER, ttlMs: undefined }, false],
    ['a ttl of 0', { ...TRIGGER, ttlMs: 0 }, false],
    ['a ttl of half a millisecond', { ...TRIGGER, ttlMs: 0.5 }, false],
    ['no key', { ...TRIGGER, keys: [] }, false],
    ['three keys', { ...TRIGGER, keys: [V1.secret, V1.secret, V1.secret] }, false],
    ['a public key as a secret', { ...TRIGGER, keys: [V1A.publicKey] }, false],
    ['a secret as a public key', { ...ASYMMETRIC, keys: [V1.secret] }, false],
    ['one good key and one bad', { ...TRIGGER, keys: [V1.secret, 'whsec_'] }, false],
    ['a hint with its plain secret', { ...HINT, keys: [URL_SECRET] }, false],
    ['a hint with a hash in upper case', { ...HINT, keys: [HASH.toUpperCase()] }, false],
    ['a hint with a hash and a line break', { ...HINT, keys: [`${HASH}\n`] }, false],
    ['another type', { ...TRIGGER, type: 'github' }, false],
    ['a type of the prototype', { ...TRIGGER, type: 'constructor' }, false],
    ['a bad name', { ...TRIGGER, name: '@token' }, false],
    ['a bad stack', { ...TRIGGER, stack: '../hello' }, false],
  ])('%s', (_, trigger, isOne) => {
    expect(triggerSchema.safeParse(trigger).success).toBe(isOne)
  })
})

test('a fingerprint is short, always the same, tells keys apart and holds none of them', async () => {
  const keys = [V1.secret, OTHER_SECRET, V1A.publicKey, HINT.keys[0] ?? '']
  const prints = await Promise.all(keys.map(fingerprint))
  for (const print of prints) expect(print).toMatch(/^[0-9a-f]{8}$/)
  expect(new Set(prints).size).toBe(keys.length)
  expect(await Promise.all(keys.map(fingerprint))).toEqual(prints)
  // Not a plain hash: that of a `url` trigger is the key itself.
  expect(await sha256Hex(Buffer.from(V1.secret))).not.toContain(prints[0])
})

const CLAIMS: Claims = {
  actor: 'ci',
  id: 'jti-1',
  issuedAt: NOW,
  expiresAt: NOW + 1000,
  scopes: ['deploy'],
  stacks: undefined,
  bodySha256: undefined,
}
const asked = (claims: Claims, stack = 'hello', idempotencyKey = 'k', body = '{}') =>
  askedByToken('vps-1', stack, claims, { idempotencyKey, body: Buffer.from(body) })

test('a token’s request is told apart by token, stack, key and body', async () => {
  const first = await asked(CLAIMS)
  expect(first).toEqual({
    id: expect.stringMatching(/^[0-9a-hjkmnp-tv-z]{16}$/),
    request: {},
    actor: 'ci',
    trust: 'signed',
    ttlMs: REQUEST_TTL_MS,
    // It was made long before, and for many: its time says nothing of this request.
    signedAt: undefined,
    expiresAt: NOW + 1000 + REQUEST_TTL_MS,
  })
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
  expect((await asked(bound)).signedAt).toBe(NOW)
  await expect(asked(bound, 'hello', 'k', '{ }')).rejects.toMatchObject({ code: 'unauthorized' })
})

test.each<[string, Claims]>([
  ['without the scope', { ...CLAIMS, scopes: ['read', 'agent'] }],
  ['for another stack', { ...CLAIMS, stacks: ['other'] }],
  ['for no stack', { ...CLAIMS, stacks: [] }],
])('a token %s asks for nothing', async (_, claims) => {
  const refused = asked(claims, 'hello', 'k', 'not JSON')
  await expect(refused).rejects.toBeInstanceOf(Problem)
  await expect(refused).rejects.toMatchObject({ code: 'unauthorized' })
})

const ROLLBACK = '{"release":"previous"}'
test.each<[string, Claims['scopes'], string, object | undefined]>([
  ['deploy may deploy', ['deploy'], '{}', {}],
  ['deploy may not roll back', ['deploy'], ROLLBACK, undefined],
  ['rollback may roll back', ['rollback'], ROLLBACK, { release: 'previous' }],
  ['rollback may not deploy', ['rollback'], '{"image":"hello:v1"}', undefined],
  ['both may do both', ['deploy', 'rollback'], ROLLBACK, { release: 'previous' }],
])('a token with the scope %s', async (_, scopes, body, request) => {
  const outcome = await asked({ ...CLAIMS, scopes }, 'hello', 'k', body).then(
    (made) => made.request,
    (error: Problem) => error.code,
  )
  expect(outcome).toEqual(request ?? 'unauthorized')
})

const DEPLOY = { id: '0123456789abcdef', stack: 'hello' }
const CANCEL = `{"cancel":"${DEPLOY.id}"}`
test('a token cancels deploys of its stacks, by a body that names the deploy', async () => {
  await expect(checkCancel(CLAIMS, DEPLOY, Buffer.from(CANCEL))).resolves.toBeUndefined()
  const bound = { ...CLAIMS, bodySha256: await sha256Hex(Buffer.from(CANCEL)) }
  await expect(checkCancel(bound, DEPLOY, Buffer.from(CANCEL))).resolves.toBeUndefined()
})

test.each<[string, Partial<Claims>, string, string]>([
  ['lacks the scope', { scopes: ['read', 'rollback', 'agent'] }, CANCEL, 'unauthorized'],
  ['is for another stack', { stacks: ['other'] }, CANCEL, 'unauthorized'],
  ['is bound to another body', { bodySha256: '0'.repeat(64) }, CANCEL, 'unauthorized'],
  ['comes with another deploy’s body', {}, '{"cancel":"fedcba9876543210"}', 'request-invalid'],
  ['comes with a deploy’s body', {}, '{}', 'request-invalid'],
])('a token that %s cancels nothing', async (_, change, body, code) => {
  await expect(checkCancel({ ...CLAIMS, ...change }, DEPLOY, Buffer.from(body))).rejects.toMatchObject({
    code,
  })
})
