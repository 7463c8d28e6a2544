// What a tag or a digest without its repository means, by what runs and by what the policy allows; and where it could mean several.

import { expect, test } from 'vitest'
import { withRepository } from '../../../agent/roll/policy.ts'
import { stackConfig } from '../../support/host.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`
const stack = (images?: string[]) => ({ ...stackConfig(), allow: { images, env: [] } })

test.each<[string, { allow?: string[]; runs: string[]; named?: object }, string]>([
  ['the repository that runs', { runs: ['acme/hello:v1', 'acme/hello:v2'] }, 'acme/hello:v2'],
  ['as it was written', { runs: ['hello:v1@' + DIGEST] }, 'hello:v2'],
  ['by digest', { runs: ['acme/hello:v1'], named: { digest: DIGEST } }, `acme/hello@${DIGEST}`],
  ['by both', { runs: ['acme/hello'], named: { tag: 'v2', digest: DIGEST } }, `acme/hello:v2@${DIGEST}`],
  [
    'what runs, of several allowed',
    { runs: ['hello:v1'], allow: ['hello', 'ghcr.io/acme/hello'] },
    'hello:v2',
  ],
  ['what is allowed, of several that run', { runs: ['hello:v1', 'x:v1'], allow: ['x'] }, 'x:v2'],
  [
    'the only one allowed, where it does not run yet',
    { runs: ['hello:dev'], allow: ['acme/x'] },
    'acme/x:v2',
  ],
  ['the only one allowed, where nothing has a name', { runs: [], allow: ['acme/x'] }, 'acme/x:v2'],
])('%s', (_, { allow, runs, named = { tag: 'v2' } }, image) => {
  expect(withRepository(stack(allow), { ...named, reason: 'x' }, runs)).toEqual({ image, reason: 'x' })
})

test.each<[string, { allow?: string[]; runs: string[] }, RegExp]>([
  [
    'several run',
    { runs: ['hello:v1', 'acme/hello:v1'] },
    /:v2 .*stack hello could mean docker.io\/library\/hello or docker.io\/acme\/hello/,
  ],
  ['several are allowed, and none of them runs', { runs: ['y'], allow: ['x', 'z'] }, /x or .*z/],
  ['nothing that runs has a name', { runs: [] }, /no image that has one/],
  ['nothing is allowed', { runs: ['hello'], allow: [] }, /no image/],
])('refused: %s', (_, { allow, runs }, message) => {
  expect(() => withRepository(stack(allow), { tag: 'v2' }, runs)).toThrow(
    expect.objectContaining({
      code: 'request-invalid',
      message: expect.stringMatching(message),
      cure: 'name the image in full',
    }),
  )
})

test('what names neither is left as it is', () => {
  const request = { image: 'hello:v2' }
  expect(withRepository(stack(), request, [])).toBe(request)
})
