// The request's door: whatever bytes come, a request that means one thing only, or `request-invalid` in words that fit on a screen.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  envFor,
  isRollback,
  parseAnyRequest,
  parseDeployRequest,
  type AnyRequest,
  type DeployRequest,
} from '../../../shared/request.ts'
import { reportOf } from '../../../shared/problems.ts'
import { anyJson, anyJsonText, anyText, checkDoor, damaged, wrongInOnePlace } from './texts.ts'

/** The refusal is an answer's message and an event's: of a body of 32 KiB it must not repeat 32 KiB. */
const MESSAGE_CHARS_MAX = 2000

function parseOrRefuse(body: Uint8Array): AnyRequest | undefined {
  try {
    return parseAnyRequest(body)
  } catch (error) {
    const { code, message } = reportOf(error)
    expect(code, message).toBe('request-invalid')
    expect(message.length).toBeLessThanOrEqual(MESSAGE_CHARS_MAX)
    // A person reads it in a terminal: no escape of somebody else's.
    expect(message).toMatch(/^\P{Cc}+$/u)
    return undefined
  }
}

/** Whether it is a request. */
function expectRequestOrRefusal(sent: string): boolean {
  const bytes = Buffer.from(sent)
  // As it went: half a character cannot be sent, and becomes another on its way.
  const text = bytes.toString()
  const request = parseOrRefuse(bytes)
  if (request === undefined) return false
  expect(parseOrRefuse(Buffer.from(JSON.stringify(request)))).toEqual(request)
  // What we read is what every JSON parser must read: each key once, none that an object swallows.
  if (text !== '') expect(JSON.parse(text)).toEqual(request)
  expect(keysIn(text), text).toBe(keysOf(request))
  if (!isRollback(request)) envFor(request, 'app1')
  return true
}

/** How many keys a text has, counted without an object that could swallow one. Right for valid JSON. */
function keysIn(text: string): number {
  return text.match(/"(?:[^"\\]|\\.)*"\s*:/gs)?.length ?? 0
}

function keysOf(request: AnyRequest): number {
  return Object.keys(request).length + (isRollback(request) ? 0 : Object.keys(request.env ?? {}).length)
}

const printable = fc.string({ unit: 'grapheme' }).filter((text) => !/\p{Cc}/u.test(text))
const variable = fc
  .tuple(fc.constantFrom(...'AZaz_'), fc.string({ unit: fc.constantFrom(...'AZaz_09'), maxLength: 8 }))
  .map(([first, rest]) => first + rest)
  .filter((name) => name !== '__proto__')
const rollback: fc.Arbitrary<AnyRequest> = fc.record(
  {
    release: fc.oneof(fc.constant('previous' as const), fc.integer({ min: 1 })),
    reason: printable,
  },
  { requiredKeys: ['release'] },
)
const deploy: fc.Arbitrary<DeployRequest> = fc.record(
  {
    image: fc.constantFrom('hello', 'ghcr.io/acme/hello:v2', `hello@sha256:${'a'.repeat(64)}`),
    env: fc.dictionary(variable, printable, { maxKeys: 4 }),
    reason: printable,
    force: fc.boolean(),
    builtAt: fc.constantFrom('2026-11-25T09:30:00Z', '2026-11-25T09:30:00.5+01:00'),
  },
  { requiredKeys: [] },
)
const inItsRepository: fc.Arbitrary<DeployRequest> = fc.record(
  {
    tag: fc.constantFrom('v2', '_', `x${'.-_'.repeat(42)}`),
    digest: fc.constant(`sha256:${'a'.repeat(64)}`),
    reason: printable,
  },
  { requiredKeys: [] },
)
const honest: fc.Arbitrary<AnyRequest> = fc.oneof({ weight: 3, arbitrary: deploy }, inItsRepository, rollback)
const written = fc
  .tuple(honest, fc.constantFrom(undefined, 1, '\t'))
  .map(([request, indent]) => JSON.stringify(request, null, indent))

test('an honest request is read as it was meant, however it is written', () => {
  fc.assert(
    fc.property(written, (text) => {
      expect(parseAnyRequest(Buffer.from(text))).toEqual(JSON.parse(text))
    }),
    { numRuns: 500 },
  )
})

test('any bytes are a request or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void parseOrRefuse(bytes)),
    { numRuns: 500 },
  )
})

test('any text is a request or refused', async () => {
  const texts = fc.oneof(anyText, anyJsonText, fc.constantFrom('', '{}', ' {\n}'))
  await checkDoor(texts, expectRequestOrRefusal, { numRuns: 800, letInMin: 100 })
})

test('a damaged request is a request or refused', async () => {
  await checkDoor(damaged(written), expectRequestOrRefusal, { numRuns: 3000, letInMin: 200 })
})

test('a request that is wrong in one place is a request or refused', async () => {
  const texts = wrongInOnePlace(honest).map((value) => JSON.stringify(value) ?? '')
  await checkDoor(texts, expectRequestOrRefusal, { numRuns: 2000, letInMin: 300 })
})

// The key with any of its characters as \uXXXX.
const escaped = (key: string) =>
  fc
    .tuple(...[...key].map((char) => fc.tuple(fc.constant(char), fc.boolean())))
    .map((chars) =>
      chars
        .map(([char, isEscaped]) =>
          isEscaped ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : char,
        )
        .join(''),
    )

test('a key that is there twice is refused, at any depth and however it is written', () => {
  const blank = fc.constantFrom('', ' ', '\n', '\t  ')
  const twice = fc.constantFrom('reason', 'image').chain((key) => fc.tuple(escaped(key), escaped(key)))
  const inEnv = variable.chain((key) => fc.tuple(escaped(key), escaped(key)))
  const between = fc.constantFrom('', '"env":{"A":"}{"},', '"env":{"reason":"\\"","image":"\\\\"},')
  fc.assert(
    fc.property(twice, inEnv, blank, between, ([one, other], [a, b], space, more) => {
      const object = `{"${one}"${space}:"hello",${more}${space}"${other}":"hello"}`
      expect(() => parseDeployRequest(Buffer.from(object)), object).toThrow('names a key twice')
      const env = `{"env":{"${a}"${space}:"x"${space},"${b}":"y"}}`
      expect(() => parseDeployRequest(Buffer.from(env)), env).toThrow('names a key twice')
    }),
    { numRuns: 300 },
  )
})

test('no key of an object’s prototype gets in, or out of it', () => {
  const names = fc.constantFrom('__proto__', 'constructor', 'prototype', 'toString', 'valueOf')
  fc.assert(
    fc.property(names, anyJson, (name, value) => {
      expectRequestOrRefusal(`{${JSON.stringify(name)}:${JSON.stringify(value)}}`)
      expectRequestOrRefusal(`{"env":{${JSON.stringify(name)}:${JSON.stringify(value)}}}`)
      // To an object all but one of them are names as any other.
      expect(expectRequestOrRefusal(`{"env":{${JSON.stringify(name)}:"x"}}`)).toBe(name !== '__proto__')
      expect(Object.keys(Object.prototype)).toEqual([])
    }),
    { numRuns: 200 },
  )
})

test('a body as large as a hook may be is judged in no time, whatever is in it', () => {
  const filler = fc.constantFrom(
    '"',
    '\\',
    '\\"',
    '{',
    '[',
    '{"a":',
    '"a":',
    '"a"',
    ' ',
    '\\u0000',
    ',',
    'x',
    '":',
  )
  fc.assert(
    fc.property(filler, filler, fc.constantFrom('', '{"reason":"', '{"env":{"A":"'), (one, two, head) => {
      const text = head + (one + two).repeat(32_768 / (one + two).length)
      const begun = performance.now()
      parseOrRefuse(Buffer.from(text))
      expect(performance.now() - begun).toBeLessThan(1000)
    }),
    { numRuns: 200 },
  )
})
