// The door that tokens open: of any text, nothing but what the host signed, for whom and for what it was signed.

import fc from 'fast-check'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { expect, test } from 'vitest'
import { DEPLOY_ID_PATTERN } from '../../../shared/deploy-id.ts'
import { NAME_PATTERN } from '../../../shared/limits.ts'
import { reportOf } from '../../../shared/problems.ts'
import { SCOPES, signToken, verifyToken, type Claims } from '../../../shared/tokens.ts'
import { askedByToken, IDEMPOTENCY_KEY_PATTERN } from '../../../shared/triggers/index.ts'
import { anyName } from './frames.ts'
import { anyJson, anyText, checkDoor, damaged } from './texts.ts'

const NOW = new Date(1_700_000_000_000)
const AUDIENCE = 'https://relay.example'
const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
const other = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
const KEYS: readonly JWK[] = [await exportJWK(other.publicKey), await exportJWK(publicKey)]
const EXPECTED = { host: 'vps-1', audience: AUDIENCE, now: NOW }

const options = fc.record({
  actor: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 50 }),
  scopes: fc.subarray([...SCOPES], { minLength: 1 }),
  stacks: fc.option(fc.array(anyName, { maxLength: 3 }), { nil: undefined }),
  ttlSeconds: fc.integer({ min: 1, max: 366 * 24 * 3600 }),
})
const sign = (some: typeof options extends fc.Arbitrary<infer T> ? T : never): Promise<string> =>
  signToken(privateKey, { host: 'vps-1', audience: AUDIENCE, now: NOW, ...some })

const SAID_BY_GOOD = { actor: 'ci', scopes: ['read' as const], stacks: ['hello'] }
const GOOD = await sign({ ...SAID_BY_GOOD, ttlSeconds: 300 })

async function verifyOrRefuse(token: string, keys = KEYS, expected = EXPECTED): Promise<Claims | undefined> {
  try {
    return await verifyToken(token, keys, expected)
  } catch (error) {
    const { code, message } = reportOf(error)
    expect(code).toBe('unauthorized')
    expect(message).toMatch(/^\P{Cc}{1,200}$/u)
    return undefined
  }
}

test('every token says what it was made to say', async () => {
  await fc.assert(
    fc.asyncProperty(options, async (some) => {
      expect(await verifyToken(await sign(some), KEYS, EXPECTED)).toMatchObject({
        actor: some.actor,
        scopes: some.scopes,
        stacks: some.stacks,
        issuedAt: NOW.getTime(),
        expiresAt: NOW.getTime() + some.ttlSeconds * 1000,
      })
    }),
    { numRuns: 100 },
  )
})

test('any text is no token', async () => {
  const part = fc
    .oneof(anyJson, anyText)
    .map((value) =>
      Buffer.from(typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).toString('base64url'),
    )
  const header = fc.constantFrom(
    ...['EdDSA', 'none', 'HS256', 'ES256', 'Ed25519'].map((alg) =>
      Buffer.from(JSON.stringify({ alg, typ: 'ropeway+jwt' })).toString('base64url'),
    ),
    Buffer.from('{"alg":"EdDSA","typ":"ropeway+jwt","crit":["x"],"jwk":{}}').toString('base64url'),
  )
  const shaped = fc
    .tuple(fc.oneof(header, part), part, fc.oneof(part, fc.constantFrom('', GOOD.split('.')[2] ?? '')))
    .map((parts) => parts.join('.'))
  await fc.assert(
    fc.asyncProperty(fc.oneof(anyText, shaped), async (token) => {
      expect(await verifyOrRefuse(token)).toBeUndefined()
    }),
    { numRuns: 600 },
  )
})

test('a damaged token is none, but for the bits that its last character does not use', async () => {
  const lastChanged = fc
    .constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')
    .map((last) => GOOD.slice(0, -1) + last)
  const judge = async (token: string) => {
    if ((await verifyOrRefuse(token)) === undefined) return false
    // 64 bytes are 85 characters and two bits of the 86th: sixteen texts stand for the one signature. All that is said is the same.
    expect(token.slice(0, -1)).toBe(GOOD.slice(0, -1))
    expect(Buffer.from(token.split('.')[2] ?? '', 'base64url')).toEqual(
      Buffer.from(GOOD.split('.')[2] ?? '', 'base64url'),
    )
    return true
  }
  const tokens = fc.oneof({ weight: 3, arbitrary: damaged(fc.constant(GOOD)) }, lastChanged)
  await checkDoor(tokens, judge, { numRuns: 1000, letInMin: 60 })
})

test('any key is a key or verifies nothing', async () => {
  const key = fc.oneof(anyJson, fc.record({ kty: anyText, crv: anyText, x: anyText }))
  await fc.assert(
    fc.asyncProperty(key, async (some) => {
      expect(await verifyOrRefuse(GOOD, [some as JWK])).toBeUndefined()
      expect(await verifyOrRefuse(GOOD, [some as JWK, ...KEYS])).toMatchObject(SAID_BY_GOOD)
    }),
    { numRuns: 200 },
  )
})

test('a token is for no other host, relay or time', async () => {
  const elsewhere = fc.record({
    host: fc.oneof({ weight: 3, arbitrary: fc.constant('vps-1') }, anyText),
    audience: fc.oneof(
      { weight: 3, arbitrary: fc.constant(AUDIENCE) },
      fc.constantFrom(`${AUDIENCE}/`, AUDIENCE.toUpperCase(), 'http://relay.example'),
      anyText,
    ),
    now: fc.oneof(fc.constant(NOW), fc.date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true })),
  })
  const judge = async (expected: typeof EXPECTED) => {
    if ((await verifyOrRefuse(GOOD, KEYS, expected)) === undefined) return false
    expect(expected).toMatchObject({ host: 'vps-1', audience: AUDIENCE })
    expect(Math.abs(expected.now.getTime() - NOW.getTime())).toBeLessThan(400_000)
    return true
  }
  await checkDoor(elsewhere, judge, { numRuns: 300, letInMin: 25 })
})

test('a token’s request is a deploy with an id, or refused', async () => {
  const claims: Claims = {
    actor: 'ci',
    id: 'x',
    issuedAt: 0,
    expiresAt: 1,
    scopes: ['deploy'],
    stacks: undefined,
    bodySha256: undefined,
  }
  const asks = fc.record({
    stack: anyName,
    idempotencyKey: fc.stringMatching(IDEMPOTENCY_KEY_PATTERN),
    body: fc.oneof(anyText, fc.constant('{}')),
  })
  const judge = async ({
    stack,
    idempotencyKey,
    body,
  }: {
    stack: string
    idempotencyKey: string
    body: string
  }) => {
    expect(stack).toMatch(NAME_PATTERN)
    try {
      const { id } = await askedByToken('vps-1', stack, claims, { idempotencyKey, body: Buffer.from(body) })
      expect(id).toMatch(DEPLOY_ID_PATTERN)
      return true
    } catch (error) {
      expect(reportOf(error).code).toBe('request-invalid')
      return false
    }
  }
  await checkDoor(asks, judge, { numRuns: 200, letInMin: 50 })
})
