// The door that signatures guard: what was signed verifies, and nothing that differs from it in one character.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { reportOf } from '../../../shared/problems.ts'
import { sha256Hex } from '../../../shared/tokens.ts'
import {
  triggerSchema,
  verifyTriggered,
  verifyUrlSecret,
  type SignedTrigger,
  type Trigger,
} from '../../../shared/triggers/index.ts'
import {
  publicKeyFault,
  secretFault,
  signStandardWebhook,
  verifyStandardWebhook,
} from '../../../shared/triggers/standard-webhooks.ts'
import { V1, V1A } from '../vectors.ts'
import { anyTrigger } from './frames.ts'
import { anyText, damaged, wrongInOnePlace } from './texts.ts'

const NOW = 1_700_000_000_000
const SCHEMES = [
  { type: 'standard-webhooks', signWith: V1.secret, key: V1.secret },
  { type: 'standard-webhooks-v1a', signWith: V1A.signingKey, key: V1A.publicKey },
] as const
const scheme = fc.constantFrom(...SCHEMES)
const eventId = fc.string({
  unit: fc.constantFrom(...'abcXYZ012_-'),
  minLength: 1,
  maxLength: 128,
})
const body = fc.uint8Array({ maxLength: 100 })
const ageSeconds = fc.integer({ min: -300, max: 300 })

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => undefined,
    (error: unknown) => reportOf(error).code,
  )
}

test('whatever is signed verifies, by its own key among two, as long as it is new', async () => {
  await fc.assert(
    fc.asyncProperty(
      scheme,
      eventId,
      body,
      ageSeconds,
      fc.boolean(),
      async (way, id, bytes, age, isSecond) => {
        const timestampSeconds = NOW / 1000 - age
        const headers = await signStandardWebhook(way.signWith, { id, timestampSeconds, body: bytes })
        const other =
          way.type === 'standard-webhooks' ? `whsec_${btoa('x'.repeat(23) + 'y')}` : OTHER_PUBLIC_KEY
        const keys = isSecond ? [other, way.key] : [way.key, other]
        const signed = { headers, body: bytes }
        expect(await verifyStandardWebhook(signed, { type: way.type, keys }, NOW)).toEqual({
          eventId: id,
          signedAt: timestampSeconds * 1000,
          key: way.key,
        })
        // The other scheme's trigger takes none of it, with the same key or its own.
        for (const { type, key } of SCHEMES)
          if (type !== way.type)
            for (const wrong of [key, way.key].filter((some) => isUsable(type, some)))
              expect(await codeOf(verifyStandardWebhook(signed, { type, keys: [wrong] }, NOW))).toBe(
                'unauthorized',
              )
      },
    ),
    { numRuns: 300 },
  )
})

const OTHER_PUBLIC_KEY = 'whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='

function isUsable(type: SignedTrigger['type'], key: string): boolean {
  return (type === 'standard-webhooks' ? secretFault(key) : publicKeyFault(key)) === undefined
}

test('one character or byte changed anywhere, and it verifies no more', async () => {
  const at = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  const field = fc.constantFrom('webhook-id', 'webhook-timestamp', 'webhook-signature', 'body' as const)
  const replacement = fc.oneof(
    fc.constantFrom(...'aA0_-+/= ,.1v'),
    fc.string({ minLength: 1, maxLength: 1 }),
    fc.constant(''),
  )
  await fc.assert(
    fc.asyncProperty(
      ...([scheme, eventId, fc.uint8Array({ minLength: 1, maxLength: 50 }), field, at, replacement] as const),
      async (way, id, bytes, where, place, by) => {
        const headers = await signStandardWebhook(way.signWith, {
          id,
          timestampSeconds: NOW / 1000,
          body: bytes,
        })
        const trigger = { type: way.type, keys: [way.key] }
        const changed = { headers: { ...headers }, body: new Uint8Array(bytes) }
        if (where === 'body') {
          const index = Math.floor(place * bytes.length)
          changed.body[index] = (changed.body[index]! + 1 + (by.codePointAt(0) ?? 0)) % 256
          if (changed.body[index] === bytes[index]) return
        } else {
          const text = headers[where]
          const index = Math.floor(place * text.length)
          changed.headers[where] = text.slice(0, index) + by + text.slice(index + 1)
          if (changed.headers[where] === text) return
        }
        const code = await codeOf(verifyStandardWebhook(changed, trigger, NOW, { mayBeOld: true }))
        expect(code).toBe('unauthorized')
      },
    ),
    { numRuns: 1500 },
  )
})

const nearly = (text: string) => fc.oneof(fc.constant(text), anyText, damaged(fc.constant(text)))

test('any headers and any body are verified or refused, never an accident', async () => {
  const good = await signStandardWebhook(V1.secret, {
    id: V1.id,
    timestampSeconds: NOW / 1000,
    body: Buffer.from(V1.body),
  })
  const headers = fc.record(
    {
      'webhook-id': nearly(good['webhook-id']),
      'webhook-timestamp': nearly(good['webhook-timestamp']),
      'webhook-signature': nearly(`${good['webhook-signature']} ${V1A.signature}`),
    },
    { requiredKeys: [] },
  )
  const trigger = fc.constantFrom(
    ...SCHEMES.map(({ type, key }): SignedTrigger => ({
      type,
      stack: 'hello',
      name: 'a',
      ttlMs: 1,
      keys: [key],
    })),
  )
  let verified = 0
  await fc.assert(
    fc.asyncProperty(headers, nearly(V1.body), trigger, async (some, text, which) => {
      const signed = { headers: some, body: Buffer.from(text) }
      const code = await codeOf(verifyTriggered('vps-1', which, signed, NOW))
      if (code === undefined || code === 'request-invalid') {
        verified += 1
        expect(some).toMatchObject({ 'webhook-id': good['webhook-id'] })
        expect(text).toBe(V1.body)
      } else expect(code).toBe('unauthorized')
    }),
    { numRuns: 1500 },
  )
  // The claim is not empty: some of them were the good one.
  expect(verified).toBeGreaterThan(0)
})

test('any text is a key that can be used, or has a fault in words that do not repeat it', async () => {
  const near = fc.oneof(anyText, damaged(fc.constantFrom(V1.secret, V1A.publicKey, V1A.signingKey)))
  const signed = {
    headers: { 'webhook-id': V1.id, 'webhook-timestamp': V1.timestamp, 'webhook-signature': V1.signature },
    body: Buffer.from(V1.body),
  }
  await fc.assert(
    fc.asyncProperty(
      near,
      fc.constantFrom('standard-webhooks', 'standard-webhooks-v1a' as const),
      async (key, type) => {
        const fault = type === 'standard-webhooks' ? secretFault(key) : publicKeyFault(key)
        if (fault !== undefined) {
          if (key.length > 6) expect(fault).not.toContain(key)
          return
        }
        // A key without a fault must never be an accident later, when a request comes.
        expect([undefined, 'unauthorized', 'request-stale']).toContain(
          await codeOf(verifyStandardWebhook(signed, { type, keys: [key] }, NOW)),
        )
      },
    ),
    { numRuns: 1000 },
  )
})

test('a trigger from the wire is taken as it is, or refused', () => {
  fc.assert(
    fc.property(anyTrigger, (trigger) => {
      expect(triggerSchema.parse(trigger)).toEqual(trigger)
    }),
    { numRuns: 300 },
  )
  fc.assert(
    fc.property(wrongInOnePlace(anyTrigger), (value) => {
      const parsed = triggerSchema.safeParse(value)
      if (!parsed.success) return
      expect(triggerSchema.parse(parsed.data)).toEqual(parsed.data)
      expect(value).toMatchObject(parsed.data)
    }),
    { numRuns: 1000 },
  )
})

test('no text but the secret opens a `url` trigger', async () => {
  const secret = 'cdb6e15f-9d2f4f61bcf40e-_'
  const key = await sha256Hex(Buffer.from(secret))
  const trigger = { type: 'url', stack: 'hello', name: 'a', ttlMs: 1, keys: [key] } satisfies Trigger
  await fc.assert(
    fc.asyncProperty(fc.oneof(anyText, damaged(fc.constant(secret)), fc.constant(key)), async (text) => {
      expect(await verifyUrlSecret(trigger, text)).toBe(text === secret ? key : undefined)
    }),
    { numRuns: 500 },
  )
})
