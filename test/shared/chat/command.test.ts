import { expect, test } from 'vitest'
import { parseCommand } from '../../../shared/chat/command.ts'
import { buttonValue, clickOf } from '../../../shared/chat/intent.ts'
import { textOf } from '../../../shared/chat/platform.ts'
import { denialWords } from '../../../shared/chat/words.ts'

const ONE = ['hello']
const TWO = ['hello', 'api']
const digest = `sha256:${'0'.repeat(64)}`

test.each([
  ['', TWO, { verb: 'help' }],
  ['  HELP me please ', TWO, { verb: 'help' }],
  ['deploy hello v2', TWO, { verb: 'deploy', stack: 'hello', tag: 'v2' }],
  ['  deploy\t hello \n v2 ', TWO, { verb: 'deploy', stack: 'hello', tag: 'v2' }],
  ['Deploy hello', TWO, { verb: 'deploy', stack: 'hello', tag: undefined }],
  ['deploy', ONE, { verb: 'deploy', stack: 'hello', tag: undefined }],
  ['deploy v2', ONE, { verb: 'deploy', stack: 'hello', tag: 'v2' }],
  ['deploy hello', ONE, { verb: 'deploy', stack: 'hello', tag: undefined }],
  [`deploy api ${digest}`, TWO, { verb: 'deploy', stack: 'api', tag: digest }],
  ['status', ONE, { verb: 'status', stack: 'hello', tag: undefined }],
  ['history api', TWO, { verb: 'history', stack: 'api', tag: undefined }],
  ['rollback hello', TWO, { verb: 'rollback', stack: 'hello', tag: undefined }],
])('%j with stacks %j', (text, stacks, command) => {
  expect(parseCommand(text, stacks)).toEqual(command)
})

test.each([
  ['deploy', TWO, /Which stack\?/],
  ['deploy v2', TWO, /no stack "v2"/],
  ['deploy HELLO v2', TWO, /no stack "HELLO"/],
  ['deploy hello v2 v3', TWO, /Say it as: deploy/],
  ['deploy other v2', ONE, /no stack "other"/],
  ['rollback hello 3', TWO, /Say it as: rollback/],
  ['status other', ONE, /no stack "other"/],
  ['deploy hello --force', TWO, /not a tag/],
  ['deploy hello v2;id', TWO, /not a tag/],
  ['deploy hello a/b', TWO, /not a tag/],
  ['deploy hello evil.example/x:v1', TWO, /not a tag/],
  [`deploy hello ${'v'.repeat(129)}`, TWO, /not a tag/],
  [`deploy hello ${digest.slice(0, -1)}`, TWO, /not a tag/],
  ['deploy hello ｖ２', TWO, /not a tag/],
  ['__proto__', TWO, /I do not know/],
  ['toString', TWO, /I do not know/],
  [`deploy hello ${' '.repeat(400)}v2`, TWO, /too long/],
])('%j with stacks %j is none', (text, stacks, fault) => {
  const parsed = parseCommand(text, stacks)
  expect('fault' in parsed && denialWords(parsed.fault)).toMatch(fault)
})

test('a button says what it does and to which deploy, in 64 bytes', () => {
  const click = { does: 'back', deploy: '0123456789abcdef' } as const
  expect(buttonValue(click).length).toBeLessThanOrEqual(64)
  expect(clickOf(buttonValue(click))).toEqual(click)
  for (const value of [
    '',
    'back-',
    'back-0123456789abcde',
    'back-0123456789abcdef ',
    'x-0123456789abcdef',
    'yes-0123456789abcdef-',
  ])
    expect(clickOf(value)).toBeUndefined()
})

test('a text that is cut is never cut in the middle of a character', () => {
  const message = { lines: ['12345678😀'], buttons: [], isFinal: false }
  expect(textOf(message, 10)).toBe('12345678😀')
  expect(textOf({ ...message, lines: ['12345678😀9'] }, 10)).toBe('12345678…')
})
