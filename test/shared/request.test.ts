import { expect, test } from 'vitest'
import {
  REQUEST_ENV_KEYS_MAX,
  REQUEST_ENV_VALUE_CHARS_MAX,
  REQUEST_REASON_CHARS_MAX,
} from '../../shared/limits.ts'
import {
  anyRequestSchema,
  envFor,
  parseAnyRequest,
  parseCancelRequest,
  parseDeployRequest,
  parseRollbackRequest,
} from '../../shared/request.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const parse = (body: string | Uint8Array) => parseDeployRequest(Buffer.from(body))
const variables = (count: number) =>
  JSON.stringify({ env: Object.fromEntries(Array.from({ length: count }, (_, i) => [`V${i}`, 'x'])) })

test.each<[string, string, object]>([
  ['nothing', '', {}],
  ['an empty object', ' {} ', {}],
  ['an image', '{"image":"hello:v2"}', { image: 'hello:v2' }],
  [
    'an image by digest',
    `{"image":"hello@sha256:${'a'.repeat(64)}"}`,
    { image: `hello@sha256:${'a'.repeat(64)}` },
  ],
  ['a tag', '{"tag":"v2"}', { tag: 'v2' }],
  ['the longest tag', `{"tag":"_${'x'.repeat(127)}"}`, { tag: `_${'x'.repeat(127)}` }],
  ['a digest', `{"digest":"${DIGEST}"}`, { digest: DIGEST }],
  ['a tag and its digest', `{"tag":"v2","digest":"${DIGEST}"}`, { tag: 'v2', digest: DIGEST }],
  ['env', '{"env":{"MESSAGE":"{service},v2","_A1":""}}', { env: { MESSAGE: '{service},v2', _A1: '' } }],
  ['force', '{"force":true}', { force: true }],
  ['a build time', '{"builtAt":"2026-11-25T09:30:00+01:00"}', { builtAt: '2026-11-25T09:30:00+01:00' }],
  ['a reason', '{"reason":"two\\nlines\\tand é"}', { reason: 'two\nlines\tand é' }],
  [
    'the same text as key and value',
    '{"reason":"reason","env":{"reason":"env","env":"reason"}}',
    { reason: 'reason', env: { reason: 'env', env: 'reason' } },
  ],
  [
    'a value that looks like JSON',
    '{"reason":"{\\"image\\":1,\\"image\\":2}"}',
    { reason: '{"image":1,"image":2}' },
  ],
  ['a backslash before the quote', '{"reason":"\\\\","image":"hello"}', { reason: '\\', image: 'hello' }],
])('%s', (_, body, request) => {
  expect(parse(body)).toEqual(request)
})

test.each<[string, string | Uint8Array, string]>([
  ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'not UTF-8'],
  ['UTF-16', Buffer.from('{}', 'utf16le'), 'not JSON'],
  ['a byte order mark', '\ufeff{}', 'not JSON'],
  ['words', 'deploy', 'not JSON'],
  ['a list', '[]', 'expected object'],
  ['null', 'null', 'expected object'],
  ['a text', '"x"', 'expected object'],
  ['an unknown key', '{"host":"x"}', 'Unrecognized key'],
  ['__proto__', '{"__proto__":{"image":"x"}}', 'Unrecognized key'],
  ['__proto__ in env', '{"env":{"__proto__":"x"}}', '__proto__'],
  ['__proto__ in env, escaped', '{"env":{"__proto\\u005f_":"x"}}', '__proto__'],
  ['a key twice', '{"image":"a","image":"b"}', 'a key twice'],
  ['a key twice, the first one nested', '{"env":{"A":{"B":[1]}},"env":{}}', 'a key twice'],
  ['a key twice, once escaped', '{"image":"a","\\u0069mage":"b"}', 'a key twice'],
  ['a key twice, the first one huge', `{"reason":"${'x'.repeat(200_000)}","reason":"b"}`, 'a key twice'],
  ['a key twice, a brace between', '{"reason":"}","reason":"b"}', 'a key twice'],
  ['a variable twice', '{"env":{"A":"1","A":"1"}}', 'a key twice'],
  ['half a character', '{"env":{"A":"\\udc00"}}', 'lone surrogate'],
  ['half a character in the reason', '{"reason":"\\ud800x"}', 'lone surrogate'],
  ['a number', '{"env":{"A":1}}', 'expected string'],
  ['null in env', '{"env":{"A":null}}', 'expected string'],
  ['nesting', '{"env":{"A":{}}}', 'expected string'],
  ['depth', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, ''],
  ['not an image', '{"image":"a b"}', 'not an image reference'],
  ['a tag beside an image', '{"image":"hello","tag":"v2"}', 'stands beside image'],
  ['a digest beside an image', `{"image":"hello:v2","digest":"${DIGEST}"}`, 'stands beside image'],
  ['an empty tag', '{"tag":""}', 'not a tag'],
  ['a tag with its repository', '{"tag":"hello:v2"}', 'not a tag'],
  ['a tag with a line break', '{"tag":"v2\\n"}', 'not a tag'],
  ['too long a tag', `{"tag":"${'x'.repeat(129)}"}`, 'not a tag'],
  ['a digest with its repository', `{"digest":"hello@${DIGEST}"}`, 'not a digest'],
  ['half a digest', '{"digest":"sha256:abc"}', 'not a digest'],
  ['another kind of digest', `{"digest":"sha512:${'a'.repeat(128)}"}`, 'not a digest'],
  ['a bad variable name', '{"env":{"1A":"x"}}', 'Invalid key'],
  ['an empty variable name', '{"env":{"":"x"}}', 'Invalid key'],
  ['a line break in a value', '{"env":{"A":"x\\ny"}}', 'control characters'],
  ['a C1 control in a value', '{"env":{"A":"\\u0085"}}', 'control characters'],
  ['an escape in the reason', '{"reason":"\\u001b[2J"}', 'control characters'],
  ['too long a value', `{"env":{"A":"${'x'.repeat(REQUEST_ENV_VALUE_CHARS_MAX + 1)}"}}`, 'Too big'],
  ['too long a reason', `{"reason":"${'x'.repeat(REQUEST_REASON_CHARS_MAX + 1)}"}`, 'Too big'],
  ['a release', '{"release":"previous"}', 'Unrecognized key'],
  ['a release beside an image', '{"image":"a","release":1}', 'Unrecognized key'],
  ['force that is no boolean', '{"force":1}', 'expected boolean'],
  ['a build time without its zone', '{"builtAt":"2026-11-25T09:30:00"}', 'Invalid ISO datetime'],
  ['a build time in words', '{"builtAt":"yesterday"}', 'Invalid ISO datetime'],
  ['too many variables', variables(REQUEST_ENV_KEYS_MAX + 1), 'more than 32 variables'],
])('%s is refused', (_, body, message) => {
  expect(() => parse(body)).toThrow(
    expect.objectContaining({ code: 'request-invalid', message: expect.stringContaining(message) }),
  )
})

test.each<[string, string, object]>([
  ['a number', '{"release":12}', { release: 12 }],
  ['previous, and why', '{"release":"previous","reason":"x"}', { release: 'previous', reason: 'x' }],
])('a rollback to %s', (_, body, request) => {
  expect(parseRollbackRequest(Buffer.from(body))).toEqual(request)
  expect(parseAnyRequest(Buffer.from(body))).toEqual(request)
  expect(anyRequestSchema.parse(request)).toEqual(request)
})

test.each<[string, string, string]>([
  ['nothing', '', 'release'],
  ['a deploy', '{"image":"hello:v2"}', 'Unrecognized key'],
  ['a deploy in the same body', '{"release":1,"image":"hello:v2"}', 'Unrecognized key'],
  ['zero', '{"release":0}', 'release'],
  ['a fraction', '{"release":1.5}', 'release'],
  ['a number as text', '{"release":"1"}', 'release'],
  ['more than a number can say', '{"release":9007199254740993}', 'release'],
  ['two releases', '{"release":1,"release":2}', 'a key twice'],
  ['two releases, one escaped', '{"release":1,"\\u0072elease":2}', 'a key twice'],
  ['an escape in the reason', '{"release":1,"reason":"\\u001b[2J"}', 'control characters'],
  ['half a character in the reason', '{"release":1,"reason":"\\ud800"}', 'lone surrogate'],
])('a rollback to %s is refused', (_, body, message) => {
  const refused = expect.objectContaining({
    code: 'request-invalid',
    message: expect.stringContaining(message),
  })
  expect(() => parseRollbackRequest(Buffer.from(body))).toThrow(refused)
  if (body.includes('release')) expect(() => parseAnyRequest(Buffer.from(body))).toThrow(refused)
})

test.each(['null', '"release"', '[]'])('%s is neither a rollback nor a deploy', (body) => {
  expect(() => parseAnyRequest(Buffer.from(body))).toThrow(
    expect.objectContaining({ code: 'request-invalid', message: expect.stringContaining('expected object') }),
  )
})

test.each([
  ['an object that is empty', '{}', {}],
  ['a release within env', '{"env":{"release":"1"}}', { env: { release: '1' } }],
])('%s is a deploy, and no rollback', (_, body, request) => {
  expect(parseAnyRequest(Buffer.from(body))).toEqual(request)
})

test('a release under a prototype is neither', () => {
  expect(() => parseAnyRequest(Buffer.from('{"__proto__":{"release":1}}'))).toThrow(
    expect.objectContaining({ code: 'request-invalid', message: expect.stringContaining('__proto__') }),
  )
})

test('a cancel names one deploy', () => {
  expect(parseCancelRequest(Buffer.from('{"cancel":"0123456789abcdef"}'))).toBe('0123456789abcdef')
  for (const body of [
    '',
    '{}',
    '{"cancel":"../x"}',
    '{"cancel":["0123456789abcdef"]}',
    '{"cancel":"0123456789abcdef","image":"x"}',
    '{"cancel":"0123456789abcdef","cancel":"fedcba9876543210"}',
  ])
    expect(() => parseCancelRequest(Buffer.from(body)), body).toThrow(
      expect.objectContaining({ code: 'request-invalid' }),
    )
})

test('limits are what may be reached', () => {
  expect(parse(`{"env":{"A":"${'x'.repeat(REQUEST_ENV_VALUE_CHARS_MAX)}"}}`).env?.['A']?.length).toBe(
    REQUEST_ENV_VALUE_CHARS_MAX,
  )
  expect(Object.keys(parse(variables(REQUEST_ENV_KEYS_MAX)).env ?? {}).length).toBe(REQUEST_ENV_KEYS_MAX)
})

test('{service} becomes the name of the service, wherever it stands', () => {
  expect(
    envFor({ env: { A: '{service},v2', B: '{service}{service}', C: '{other}', D: '$&' } }, 'app2'),
  ).toEqual({
    A: 'app2,v2',
    B: 'app2app2',
    C: '{other}',
    D: '$&',
  })
  expect(envFor({ env: { A: '{service}' } }, '$&')).toEqual({ A: '$&' })
  expect(envFor({}, 'app2')).toEqual({})
})
