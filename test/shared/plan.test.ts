import { expect, test } from 'vitest'
import { AS_WRITTEN, describeStep, shortImage, type Step } from '../../shared/plan.ts'

const FROM = { image: 'hello:v1', env: {} }
const TO = { image: 'hello:v2', env: { MESSAGE: 'new' } }

const DIGEST = '0123456789abcdef'.repeat(4)
test.each<[Step, string]>([
  [{ kind: 'pull', image: `hello@sha256:${DIGEST}` }, `pull hello@sha256:${DIGEST}`],
  [{ kind: 'switch', out: 'a', route: AS_WRITTEN }, 'take a out'],
  [{ kind: 'switch', back: 'a', route: AS_WRITTEN }, 'put a back'],
  [{ kind: 'switch', back: 'b', out: 'a', route: AS_WRITTEN }, 'put b back, take a out'],
  [{ kind: 'switch', route: AS_WRITTEN }, 'reload nginx'],
  [
    { kind: 'command', when: 'before', service: 'a', command: ['m', '--all'] },
    'run `m --all` in a, before the roll',
  ],
  [{ kind: 'drain', service: 'a' }, 'drain a'],
  [{ kind: 'update', service: 'a', from: FROM, to: TO, undo: false }, 'update a to hello:v2 MESSAGE=new'],
  [
    { kind: 'update', service: 'a', from: TO, to: { env: { MESSAGE: null } }, undo: false },
    'update a to no MESSAGE',
  ],
  [{ kind: 'update', service: 'a', from: TO, to: { env: {} }, undo: false }, 'update a to what it ran'],
  [{ kind: 'await-healthy', service: 'a' }, 'wait until a is healthy'],
  [{ kind: 'soak', service: 'a', ms: 1500 }, 'watch a for 1.5 s'],
  [{ kind: 'verify' }, 'verify through nginx'],
])('in words: %o', (step, words) => {
  expect(describeStep(step)).toBe(words)
})

test('a digest is cut, whatever else is there is not', () => {
  expect(shortImage(`hello:v1@sha256:${DIGEST}`)).toBe('hello:v1@sha256:0123456789ab…')
  expect(shortImage('hello:v1')).toBe('hello:v1')
})
