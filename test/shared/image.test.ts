import { expect, test } from 'vitest'
import { imageRef, isImageId, parseImage } from '../../shared/image.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`

test.each([
  ['hello', 'docker.io/library/hello', undefined, undefined],
  ['hello:v1', 'docker.io/library/hello', 'v1', undefined],
  ['acme/hello', 'docker.io/acme/hello', undefined, undefined],
  ['library/hello', 'docker.io/library/hello', undefined, undefined],
  ['docker.io/hello', 'docker.io/library/hello', undefined, undefined],
  ['docker.io/acme/hello:v1', 'docker.io/acme/hello', 'v1', undefined],
  ['index.docker.io/library/hello', 'docker.io/library/hello', undefined, undefined],
  ['ghcr.io/acme/hello:v2', 'ghcr.io/acme/hello', 'v2', undefined],
  ['GHCR.io/acme/hello', 'ghcr.io/acme/hello', undefined, undefined],
  ['GHCR.IO/acme/hello', 'ghcr.io/acme/hello', undefined, undefined],
  ['Registry:5000/hello', 'registry:5000/hello', undefined, undefined],
  ['my.app', 'docker.io/library/my.app', undefined, undefined],
  ['localhosts', 'docker.io/library/localhosts', undefined, undefined],
  ['localhost/hello', 'localhost/hello', undefined, undefined],
  ['127.0.0.1:5000/hello:v1', '127.0.0.1:5000/hello', 'v1', undefined],
  ['[::1]:5000/hello', '[::1]:5000/hello', undefined, undefined],
  ['registry:5000/a/b/c', 'registry:5000/a/b/c', undefined, undefined],
  [`hello@${DIGEST}`, 'docker.io/library/hello', undefined, DIGEST],
  [`hello:v1@${DIGEST}`, 'docker.io/library/hello', 'v1', DIGEST],
  [`hello:${'a'.repeat(128)}`, 'docker.io/library/hello', 'a'.repeat(128), undefined],
  ['a__b/c-d.e---f', 'docker.io/a__b/c-d.e---f', undefined, undefined],
  // Look-alikes of an allowed repository are other repositories.
  ['docker.io.evil.io/hello', 'docker.io.evil.io/hello', undefined, undefined],
  ['evil.io/ghcr.io/acme/hello', 'evil.io/ghcr.io/acme/hello', undefined, undefined],
])('%s is %s', (text, repository, tag, digest) => {
  expect(parseImage(text)).toMatchObject({ repository, tag, digest })
})

test.each([
  '',
  ' hello',
  'hello ',
  'hello\n',
  'Hello',
  'hello:',
  'hello:v 1',
  'hello:.v1',
  'hello:-v1',
  `hello:${'a'.repeat(129)}`,
  'hello@',
  `hello@sha256:${'a'.repeat(63)}`,
  `hello@sha256:${'a'.repeat(65)}`,
  `hello@sha256:${'A'.repeat(64)}`,
  `hello@sha512:${'a'.repeat(128)}`,
  `hello@${DIGEST}@${DIGEST}`,
  `hello@${DIGEST}:v1`,
  '--privileged',
  '-v',
  '/hello',
  'hello/',
  'a//b',
  'a/../b',
  './hello',
  'a/./b',
  'hello;id',
  'hello$(id)',
  'hello`id`',
  'hello|id',
  'hello:v1 --privileged',
  'a%2fb',
  'hellо',
  'hello:v①',
  'http://ghcr.io/acme/hello',
  'user:pass@ghcr.io/acme/hello',
  'ghcr.io:port/acme/hello',
  'ghcr.io:123456/acme/hello',
  'a___b',
  'a..b',
  'Acme/hello',
  'acmE/hello',
  'A/hello',
  '_a',
  'a_',
  `${'a/'.repeat(300)}b`,
  DIGEST,
])('%j is no image reference', (text) => {
  // A bare ID parses as a repository named sha256 with a tag: 64 hex digits are a tag by the grammar.
  if (text === DIGEST) return expect(isImageId(text)).toBe(true)
  expect(parseImage(text)).toBeUndefined()
  expect(() => imageRef(text)).toThrow('is not an image reference')
})

test('a repository has at most 255 characters in full, however it is written', () => {
  const longest = 'a'.repeat(255 - 'docker.io/library/'.length)
  expect(parseImage(longest)?.repository).toHaveLength(255)
  for (const text of [`${longest}a`, `docker.io/${longest}a`, `docker.io/library/${longest}a`])
    expect(parseImage(text)).toBeUndefined()
})

test('a refusal quotes what it refuses, and not more than a line of it', () => {
  expect(() => imageRef('a b')).toThrow(
    expect.objectContaining({ code: 'request-invalid', message: '"a b" is not an image reference' }),
  )
  expect(() => imageRef(' '.repeat(9999))).toThrow(`"${' '.repeat(200)}" is not an image reference`)
})

test('what was written is kept', () => {
  expect(imageRef('hello:v1').written).toBe('hello')
  expect(imageRef('docker.io/hello:v1').written).toBe('docker.io/hello')
})

test.each([
  [DIGEST, true],
  [DIGEST.slice(0, -1), false],
  [`${DIGEST}\n`, false],
  ['hello', false],
])('image ID: %j %s', (text, expected) => {
  expect(isImageId(text)).toBe(expected)
})
