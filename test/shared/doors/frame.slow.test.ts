// The socket's door, both ways: any text is a frame or has earned a close code that a socket can really be closed with.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FRAME_BYTES_MAX } from '../../../shared/limits.ts'
import {
  CLOSE,
  decodeFrame,
  encodeFrame,
  fromAgentSchema,
  fromBase64,
  fromHubSchema,
  proofSchema,
  toBase64,
  type FromAgent,
  type FromHub,
} from '../../../shared/protocol.ts'
import { anyFrameFromAgent, anyFrameFromHub } from './frames.ts'
import { anyJsonText, anyText, damaged, wrongInOnePlace } from './texts.ts'

/** A close frame is a control frame: 125 bytes, two of which are the code. RFC 6455, 5.5. Every runtime throws beyond it. */
const CLOSE_REASON_BYTES_MAX = 123

type Schema = typeof fromAgentSchema | typeof fromHubSchema

function expectFrameOrClose(schema: Schema, text: string): void {
  const decoded = decodeFrame(schema, text)
  if (decoded.ok) {
    // What was taken is taken again from its own encoding, unchanged.
    expect(decodeFrame(schema, JSON.stringify(decoded.frame))).toEqual(JSON.parse(JSON.stringify(decoded)))
    return
  }
  expect([CLOSE.malformed, CLOSE.tooBig]).toContain(decoded.close)
  expect(decoded.reason).not.toBe('')
  expect(Buffer.byteLength(decoded.reason)).toBeLessThanOrEqual(CLOSE_REASON_BYTES_MAX)
  // Both ends write it to a log that a person reads in a terminal.
  expect(decoded.reason).toMatch(/^\P{C}*$/u)
}

const DOORS: [string, Schema, fc.Arbitrary<FromAgent | FromHub>][] = [
  ['hub', fromAgentSchema, anyFrameFromAgent],
  ['agent', fromHubSchema, anyFrameFromHub],
]

for (const [side, schema, honest] of DOORS) {
  test(`the ${side} takes every honest frame as it was`, () => {
    fc.assert(
      fc.property(honest, (frame) => {
        expect(decodeFrame(schema, encodeFrame(frame))).toEqual({ ok: true, frame })
      }),
      { numRuns: 600 },
    )
  })

  test(`the ${side} takes any text for a frame or closes`, () => {
    fc.assert(
      fc.property(fc.oneof(anyText, anyJsonText), (text) => expectFrameOrClose(schema, text)),
      { numRuns: 600 },
    )
  })

  test(`the ${side} takes a damaged frame for a frame or closes`, () => {
    const texts = honest.map(encodeFrame)
    fc.assert(
      fc.property(damaged(texts), (text) => expectFrameOrClose(schema, text)),
      { numRuns: 1000 },
    )
  })

  test(`the ${side} takes a frame that is wrong in one place for a frame or closes`, () => {
    fc.assert(
      fc.property(wrongInOnePlace(honest), (value) => {
        expectFrameOrClose(schema, JSON.stringify(value) ?? '')
      }),
      { numRuns: 2000 },
    )
  })

  test(`the ${side} takes what has FRAME_BYTES_MAX bytes, and closes at one more`, () => {
    const char = fc.constantFrom('x', 'é', '日', '😀', '\\u0000', '"'.repeat(0) + '\\"')
    fc.assert(
      fc.property(honest, char, (frame, padding) => {
        const head = `${encodeFrame(frame).slice(0, -1)},"":"`
        const room = FRAME_BYTES_MAX - Buffer.byteLength(`${head}"}`)
        const many = padding.repeat(Math.floor(room / Buffer.byteLength(padding)))
        const exact = `${head}${many}${'x'.repeat(room - Buffer.byteLength(many))}"}`
        expect(decodeFrame(schema, exact)).toEqual({ ok: true, frame })
        expect(decodeFrame(schema, `${exact} `)).toMatchObject({ ok: false, close: CLOSE.tooBig })
      }),
      { numRuns: 60 },
    )
  })
}

test('bytes come back from base64 as they were, however many', () => {
  const large = fc
    .nat({ max: 200_000 })
    .map((length) => new Uint8Array(length).map((_, i) => (i * 31) ^ (i >> 8)))
  fc.assert(
    fc.property(fc.oneof({ weight: 9, arbitrary: fc.uint8Array({ maxLength: 300 }) }, large), (bytes) => {
      expect(Buffer.from(toBase64(bytes), 'base64').equals(bytes)).toBe(true)
      expect(Buffer.compare(fromBase64(toBase64(bytes)), bytes)).toBe(0)
    }),
    { numRuns: 200 },
  )
})

test('every body that a proof may have can be read', () => {
  const nearBase64 = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'AZaz09+/=', ' ', '\n', '-', '_'), maxLength: 12 }),
    damaged(fc.uint8Array({ maxLength: 30 }).map(toBase64)),
    anyText,
  )
  fc.assert(
    fc.property(nearBase64, (body) => {
      const proof = proofSchema.safeParse({ kind: 'hook', headers: {}, body })
      if (proof.success && proof.data.kind === 'hook') fromBase64(proof.data.body)
    }),
    { numRuns: 3000 },
  )
})
