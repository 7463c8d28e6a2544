import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose'
import { describe, expect, test } from 'vitest'
import {
  allows,
  signToken,
  TOKEN_TTL_SECONDS_MAX,
  verifyToken,
  type Claims,
  type TokenOptions,
} from '../../shared/tokens.ts'

const NOW = new Date(1614265330_000)
const HOST = 'vps-1'
const AUDIENCE = 'https://relay.example'
const EXPECTED = { host: HOST, audience: AUDIENCE, now: NOW }

const [mine, older, stranger] = await Promise.all(
  Array.from({ length: 3 }, async () => {
    const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
    return { privateKey, publicKey: await exportJWK(publicKey) }
  }),
)
if (!mine || !older || !stranger) throw new Error('three keys')

const sign = (options: Partial<TokenOptions> = {}, key = mine) =>
  signToken(key.privateKey, {
    host: HOST,
    audience: AUDIENCE,
    actor: 'ci',
    scopes: ['deploy', 'read'],
    ttlSeconds: 300,
    now: NOW,
    ...options,
  })
/** By a token that `sign` makes. */
const SAID = {
  actor: 'ci',
  id: expect.stringMatching(/^[0-9a-f-]{36}$/),
  issuedAt: NOW.getTime(),
  expiresAt: NOW.getTime() + 300_000,
  scopes: ['deploy', 'read'],
  stacks: undefined,
  bodySha256: undefined,
}
const later = (seconds: number) => new Date(NOW.getTime() + seconds * 1000)

test('a token says who, what, for which stacks, since when and until when', async () => {
  const bodySha256 = 'a'.repeat(64)
  const token = await sign({ stacks: ['hello'], bodySha256 })
  expect(await verifyToken(token, [mine.publicKey], EXPECTED)).toEqual({
    ...SAID,
    stacks: ['hello'],
    bodySha256,
  })
  expect(await verifyToken(await sign(), [mine.publicKey], EXPECTED)).toEqual(SAID)
})

describe('several keys', () => {
  const both = [mine.publicKey, older.publicKey]
  test('a token of any of them is good, wherever that key stands', async () => {
    for (const key of [mine, older])
      for (const keys of [both, both.toReversed()])
        expect(await verifyToken(await sign({}, key), keys, EXPECTED)).toMatchObject({ actor: 'ci' })
  })

  test.each<[string, JWK[]]>([
    ['no key', []],
    ['another key', [stranger.publicKey]],
    ['a key that is none', [{}]],
    ['a key of another kind', [{ kty: 'oct', k: 'YWJj' }]],
    ['a key with a broken x', [{ kty: 'OKP', crv: 'Ed25519', x: '?' }]],
  ])('%s verifies nothing', async (_, keys) => {
    await expect(verifyToken(await sign(), keys, EXPECTED)).rejects.toMatchObject({ code: 'unauthorized' })
  })

  test('a key that cannot be read does not hide the one that can', async () => {
    expect(await verifyToken(await sign(), [{}, mine.publicKey], EXPECTED)).toMatchObject({ actor: 'ci' })
  })

  test.each([
    ['is expired', {}, { now: later(1000) }, 'EXPIRED'],
    ['is for another relay', { audience: 'https://other.example' }, {}, 'CLAIM'],
  ])(
    'of a token that %s, the log says so and does not blame the signature',
    async (_, options, expected, why) => {
      const token = await sign(options)
      for (const keys of [both, both.toReversed()])
        await expect(verifyToken(token, keys, { ...EXPECTED, ...expected })).rejects.toMatchObject({
          code: 'unauthorized',
          message: expect.stringContaining(why),
        })
    },
  )
})

describe('revoked', () => {
  test('a token whose id is on the list is good no more, and the log says why, whatever keys there are', async () => {
    const token = await sign()
    const { id } = await verifyToken(token, [mine.publicKey], EXPECTED)
    for (const keys of [
      [mine.publicKey],
      [mine.publicKey, older.publicKey],
      [older.publicKey, mine.publicKey],
    ])
      await expect(verifyToken(token, keys, { ...EXPECTED, revoked: ['x', id] })).rejects.toMatchObject({
        code: 'unauthorized',
        message: 'the token is revoked',
      })
  })

  test('the others stay good', async () => {
    const { id } = await verifyToken(await sign(), [mine.publicKey], EXPECTED)
    const other = await verifyToken(await sign(), [mine.publicKey], { ...EXPECTED, revoked: [id] })
    expect(other).toEqual({ ...SAID, id: expect.not.stringContaining(id) })
  })
})

test.each<[string, number, boolean]>([
  ['at once', 0, true],
  ['at its end, and a minute for the clocks', 359, true],
  ['after that', 361, false],
  ['a minute before it was made', -59, true],
  ['long before it was made', -61, false],
])('a token of 300 s, %s: %i s, %s', async (_, seconds, isGood) => {
  const verified = verifyToken(await sign(), [mine.publicKey], { ...EXPECTED, now: later(seconds) })
  if (isGood) expect(await verified).toEqual(SAID)
  else await expect(verified).rejects.toMatchObject({ code: 'unauthorized' })
})

test.each([' ', '\t', '\n', '='])('a token has one text: %j anywhere in it is refused', async (extra) => {
  const token = await sign()
  for (const at of [1, token.indexOf('.') + 2, token.lastIndexOf('.') + 2, token.length]) {
    const other = token.slice(0, at) + extra + token.slice(at)
    await expect(verifyToken(other, [mine.publicKey], EXPECTED)).rejects.toMatchObject({
      code: 'unauthorized',
    })
  }
})

test('no token lives longer than a year, whatever it says', async () => {
  const token = await sign({ ttlSeconds: 10 * TOKEN_TTL_SECONDS_MAX })
  await expect(
    verifyToken(token, [mine.publicKey], { ...EXPECTED, now: later(TOKEN_TTL_SECONDS_MAX + 61) }),
  ).rejects.toMatchObject({ code: 'unauthorized' })
})

const GOOD_CLAIMS = {
  iss: HOST,
  aud: AUDIENCE,
  sub: 'ci',
  jti: 'x',
  iat: NOW.getTime() / 1000,
  exp: NOW.getTime() / 1000 + 300,
  scope: ['read'],
}
const signRaw = (claims: Record<string, unknown>, header: Record<string, unknown> = {}) =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'EdDSA', typ: 'ropeway+jwt', ...header })
    .sign(mine.privateKey)

test('the claims of the next test are good but for what it changes', async () => {
  expect(await verifyToken(await signRaw(GOOD_CLAIMS), [mine.publicKey], EXPECTED)).toEqual({
    actor: 'ci',
    id: 'x',
    issuedAt: NOW.getTime(),
    expiresAt: NOW.getTime() + 300_000,
    scopes: ['read'],
    stacks: undefined,
    bodySha256: undefined,
  })
})

test.each<[string, Record<string, unknown>, Record<string, unknown>?]>([
  ['no type', {}, { typ: undefined }],
  ['another type', {}, { typ: 'JWT' }],
  ['another host', { iss: 'vps-2' }],
  ['no host', { iss: undefined }],
  ['another relay', { aud: 'https://other.example' }],
  ['no relay', { aud: undefined }],
  ['no end', { exp: undefined }],
  ['no beginning', { iat: undefined }],
  ['no id', { jti: undefined }],
  ['an empty id', { jti: '' }],
  ['a long id', { jti: 'x'.repeat(65) }],
  ['no actor', { sub: undefined }],
  ['an empty actor', { sub: '' }],
  ['a long actor', { sub: 'x'.repeat(201) }],
  ['no scope', { scope: undefined }],
  ['an empty scope', { scope: [] }],
  ['a scope that there is not', { scope: ['read', 'root'] }],
  ['a scope as a text', { scope: 'read' }],
  ['stacks as a text', { stacks: 'hello' }],
  ['a stack that can be none', { stacks: ['../x'] }],
  ['a body that is a number', { body: 1 }],
  ['a beginning in the future', { nbf: GOOD_CLAIMS.exp }],
])('a token with %s is refused, although the host signed it', async (_, change, header) => {
  const token = await signRaw({ ...GOOD_CLAIMS, ...change }, header)
  await expect(verifyToken(token, [mine.publicKey], EXPECTED)).rejects.toMatchObject({
    code: 'unauthorized',
  })
})

test('a token allows its scopes, for its stacks', () => {
  const claims: Claims = {
    actor: 'ci',
    id: 'x',
    issuedAt: 0,
    expiresAt: 1,
    scopes: ['deploy'],
    stacks: ['hello'],
    bodySha256: undefined,
  }
  expect(allows(claims, 'deploy', 'hello')).toBe(true)
  expect(allows(claims, 'deploy', 'other')).toBe(false)
  expect(allows(claims, 'read', 'hello')).toBe(false)
  expect(allows({ ...claims, stacks: undefined }, 'deploy', 'other')).toBe(true)
  expect(allows({ ...claims, stacks: [] }, 'deploy', 'hello')).toBe(false)
})
