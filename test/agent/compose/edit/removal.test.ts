// A variable taken out, as by a rollback to a release that did not have it.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { editService, readService } from '../../../../agent/compose/edit/edit.ts'
import { composeTextsWith } from '../../../../agent/compose/edit/texts.ts'
import { edit, inFile, problem } from './files.ts'

const gone = { env: { MESSAGE: null } }
const inBlock = (env: string) => `    image: a\n    environment: # e\n      ${env}\n    init: true`
const inFlow = (env: string) =>
  `services: {app1: {image: a, environment: ${env}, init: true}, app2: {image: x}}\n`
const inThree = (one: string, two: string, three: string) => ({
  'a.yml': inFile(`    environment: [MESSAGE=a, ${one}]`),
  'b.yml': inFile(`    environment: !override {${two}}`),
  'c.yml': inFile(`    environment: {${three}}`),
})

describe('the entry goes with its line, all else stays', () => {
  test.each([
    ['of a map, the first', 'MESSAGE: a # x\n      B: c', 'B: c'],
    [
      'of a map, the last',
      'A: b # x\n      # y\n      MESSAGE: "a"\n      # z',
      'A: b # x\n      # y\n      # z',
    ],
    [
      'between comments',
      'A: b\n      # x\n\n      MESSAGE: a\n      # y\n      B: c',
      'A: b\n      # x\n\n      # y\n      B: c',
    ],
    ['over several lines', 'A: b\n      MESSAGE: "a\n        b"\n      B: c', 'A: b\n      B: c'],
    ['a literal', 'A: b\n      MESSAGE: |\n        a\n        # b\n      B: c', 'A: b\n      B: c'],
    ['without a value', 'A: b\n      MESSAGE:\n      B: c', 'A: b\n      B: c'],
    ['with a quoted key', `A: b\n      'MESSAGE': a`, 'A: b'],
    ['of a list, the first', '- MESSAGE=a # x\n      - B=c', '- B=c'],
    ['of a list, the last', '- A=b # x\n      # y\n      - "MESSAGE=a"', '- A=b # x\n      # y'],
    ['of a list, without a value', '- A=b\n      - MESSAGE\n      - B=c', '- A=b\n      - B=c'],
    ['of a list, twice', '- MESSAGE=a\n      - A=b\n      - MESSAGE=c', '- A=b'],
    ['of a list, with an anchor', '- A=b\n      - &m MESSAGE=a\n      - B=c', '- A=b\n      - B=c'],
    ['of a list, with an anchor, a tag and blanks', '-   &mm  !!str MESSAGE=a\n      -   B=c', '-   B=c'],
    ['not one of a longer name', '- MESSAGES=a\n      - MESSAGE=b', '- MESSAGES=a'],
    ['which is not there', 'A: b', 'A: b'],
  ])('%s', (_, before, after) => {
    expect(edit(inBlock(before), gone)).toBe(inBlock(after))
  })

  test.each([
    ['first', '{MESSAGE: a, B: c}', '{B: c}'],
    ['last', '{ A: b , MESSAGE: a }', '{ A: b }'],
    ['last, before a comma', '{A: b, MESSAGE: a, }', '{A: b, }'],
    ['in the middle', '[A=b, "MESSAGE=a", B=c]', '[A=b, B=c]'],
    ['twice', '[MESSAGE=a, MESSAGE=b]', '[]'],
    ['alone', '{MESSAGE: a}', '{}'],
    ['a key alone', '{A, MESSAGE, B}', '{A, B}'],
    ['on a line of its own', '{\n    A: b,\n    MESSAGE: a\n    }', '{\n    A: b\n    }'],
    ['of an alias that was extended', '{<<: {A: b}, MESSAGE: a}', '{<<: {A: b}}'],
  ])('in flow: %s', (_, before, after) => {
    expect(editService(inFlow(before), 'app1', gone)).toBe(inFlow(after))
  })

  test.each([
    [
      'of a map',
      '    image: a\n    environment:\n      MESSAGE: a\n    init: true',
      '    image: a\n    init: true',
    ],
    ['of a list', '    image: a\n    environment:\n    - MESSAGE=a', '    image: a'],
    [
      'with a comment behind the key',
      '    image: a\n    environment: # x\n      MESSAGE: a',
      '    image: a\n    environment: {} # x',
    ],
    [
      'of a list with a comment',
      '    image: a\n    environment:\n      # x\n      - MESSAGE=a',
      '    image: a\n    environment: []\n      # x',
    ],
    [
      'with a tag',
      '    image: a\n    environment: !override\n      MESSAGE: a',
      '    image: a\n    environment: !override {}',
    ],
    ['of a service that says nothing else', '    environment:\n      MESSAGE: a', '    environment: {}'],
  ])(
    'compose refuses an empty environment, so there is none after the last variable: %s',
    (_, before, after) => {
      expect(edit(before, gone)).toBe(after)
    },
  )

  test('CRLF, and a file without a final newline', () => {
    const before = 'services:\r\n  app1:\r\n    environment:\r\n      A: b\r\n      MESSAGE: a'
    expect(editService(before, 'app1', gone)).toBe('services:\r\n  app1:\r\n    environment:\r\n      A: b')
    expect(editService(`${before}\r\n      B: c\r\n`, 'app1', gone)).toBe(
      'services:\r\n  app1:\r\n    environment:\r\n      A: b\r\n      B: c\r\n',
    )
  })

  test('together with others, and an image', () => {
    expect(
      edit('    image: a\n    environment:\n      MESSAGE: a\n      # x\n      OTHER: b', {
        image: 'c',
        env: { MESSAGE: null, NEW: 'd', OTHER: null },
      }),
    ).toBe('    image: c\n    environment:\n      # x\n      NEW: d')
  })
})

test.each([
  [
    'a merge',
    'x-e: &e {MESSAGE: a}\nservices:\n  app1:\n    environment:\n      <<: *e\n',
    'its variable MESSAGE (line 4) comes from an anchor',
  ],
  [
    'an alias',
    'x-e: &e {MESSAGE: a}\nservices:\n  app1:\n    environment: *e\n',
    '(line 4) comes from an anchor',
  ],
  [
    'a merge of the service',
    'x-a: &a {environment: [MESSAGE=a]}\nservices:\n  app1:\n    <<: *a\n',
    '(line 3) comes from an anchor',
  ],
  [
    'a service that is an alias',
    'services:\n  app2: &a {environment: [MESSAGE=a]}\n  app1: *a\n',
    '(line 3) comes from an anchor',
  ],
  [
    'below its own a merge',
    'services:\n  app1:\n    environment:\n      <<: {MESSAGE: a}\n      MESSAGE: b\n',
    'comes from an anchor',
  ],
  [
    'an entry that another aliases',
    'services:\n  app1:\n    environment: {MESSAGE: &m a}\n  app2:\n    environment: {M: *m}\n',
    'is shared with others by an anchor',
  ],
  [
    'an environment that another aliases',
    'services:\n  app1:\n    environment: &e {MESSAGE: a}\n  app2:\n    environment: *e\n',
    'is shared with others by an anchor',
  ],
  [
    'an environment that is reset',
    'services:\n  app1:\n    environment: !reset {MESSAGE: a}\n',
    'its environment (line 3) is reset',
  ],
  [
    'a comment in flow',
    'services:\n  app1:\n    environment: {MESSAGE: a, # x\n      B: c}\n',
    'its environment (line 3) has a comment',
  ],
  [
    'an explicit key',
    'services:\n  app1:\n    environment:\n      ? MESSAGE\n      : a\n      B: c\n',
    'its environment (line 4) does not begin on a line of its own',
  ],
])('what cannot be taken out alone is refused: %s', (_, text, words) => {
  expect(() => editService(text, 'app1', gone)).toThrow(problem('compose-not-editable', words))
})

test('it goes from every file that compose hears, and from none that it forgets', () => {
  expect(
    composeTextsWith(inThree('A=b', 'MESSAGE: b, B: c', 'MESSAGE: c, C: d'), ['app1'], () => gone),
  ).toEqual(inThree('A=b', 'B: c', 'C: d'))
})

// Texts that stand as they are in any style, so that a value and the way back leave the quotes.
const word = fc
  .string({ unit: fc.constantFrom(...'abcxyz'), minLength: 1, maxLength: 6 })
  .map((some) => `v${some}`)
const key = fc.constantFrom('A', 'B', 'MESSAGE', 'NEW', 'OTHER')
const values = fc.dictionary(key, word, { minKeys: 1, maxKeys: 4, noNullPrototype: true })
const quoted = fc.constantFrom(
  (some: string) => some,
  (some: string) => `"${some}"`,
  (some: string) => `'${some}'`,
)
const tail = fc.constantFrom('', ' # A: b', '\t# x', '  ')
const between = fc.constantFrom('', '', '      # MESSAGE: no\n', '\n', '  # less\n', '        # more\n')
const entries = (write: (name: string, text: string) => string) =>
  fc
    .tuple(
      fc.uniqueArray(key, { minLength: 1 }),
      fc.array(fc.tuple(word, tail, between), { minLength: 5, maxLength: 5 }),
    )
    .map(([names, rest]) =>
      names
        .map((name, at) => `      ${write(name, rest[at]?.[0] ?? '')}${rest[at]?.[1]}\n${rest[at]?.[2]}`)
        .join(''),
    )
const block = fc.oneof(
  quoted.chain((quote) => entries((name, text) => `${name}: ${quote(text)}`)),
  quoted.chain((quote) => entries((name, text) => `- ${quote(`${name}=${text}`)}`)),
)
const stack = fc
  .tuple(
    block,
    fc.constantFrom('', '    init: true\n', '    command: |\n      x\n'),
    fc.constantFrom('\n', '\r\n'),
    fc.boolean(),
  )
  .map(([env, rest, eol, isCut]) =>
    `services:\n  app2: {image: x}\n  app1:\n    image: a\n    environment: # e\n${env}${rest}`
      .replaceAll('\n', eol)
      .slice(0, isCut ? -eol.length : undefined),
  )
const wayBack = (text: string, env: Record<string, string>) => {
  const was = readService(text, 'app1')?.env ?? {}
  return { env: Object.fromEntries(Object.keys(env).map((name) => [name, was[name] ?? null])) }
}

test('variables that were set and go back to what they were, or away, leave every byte', () => {
  fc.assert(
    fc.property(stack, values, (before, env) => {
      const there = editService(before, 'app1', { env })
      expect(editService(there, 'app1', wayBack(before, env))).toBe(before)
    }),
    { numRuns: 200 },
  )
})

test('a service that had no environment has none again, byte for byte', () => {
  fc.assert(
    fc.property(values, fc.constantFrom('', '\n', '\n    # x\n', '\n    init: true'), (env, rest) => {
      const before = `services:\n  app1:\n    image: a${rest}`
      expect(editService(editService(before, 'app1', { env }), 'app1', wayBack(before, env))).toBe(before)
    }),
  )
})
