import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseDump } from '../../../../agent/nginx/config/dump.ts'
import { lineAt, parseTree, type Directive } from '../../../../agent/nginx/config/tokens.ts'
import { findUpstreams } from '../../../../agent/nginx/config/upstream.ts'
import { main } from './files.ts'

test('lineAt counts from 1', () => {
  expect([0, 1, 2, 3].map((offset) => lineAt('a\n\nb', offset))).toEqual([1, 1, 2, 3])
})

test('what the tokenizer reads in any text never throws', () => {
  const noise = fc.array(
    fc.constantFrom(...'{};#"\'\\$ \n\r\tab', 'server a;', 'upstream apps {', 'x_by_lua_block {', '[['),
    { maxLength: 40 },
  )
  fc.assert(
    fc.property(noise, (parts) => {
      findUpstreams(main(parts.join('')))
      parseDump(`# configuration file /a:\n${parts.join('')}\n`)
    }),
  )
})

describe('parseTree', () => {
  test.each([
    ['', true],
    ['a b; c { d; } # }', true],
    [`a 'b;' "c}" "\\""; d { e { } }`, true],
    ['a_by_lua_block { if x then t = { 1 } end } b;', true],
    ['a', false],
    ['a { b', false],
    ['a { b; ', false],
    ['a { b }', false],
    ['a; }', false],
    [';', false],
    ['{ }', false],
    ['a "b;', false],
    [`a 'b\\';`, false],
    [`a "b 'c';`, false],
  ])('%j is whole: %s', (text, expected) => {
    expect(parseTree(text).isWhole).toBe(expected)
  })

  test.each([
    ['a; } b c;', 'a | b c'],
    ['; a; { } b;', 'a | b'],
    ['a { b } c;', 'a { } | c'],
    ['x_by_lua_block { if x then t = { 1 } end } b;', 'x_by_lua_block { } | b'],
    [`a "b c" 'd' \\;e;`, 'a b c d \\;e'],
  ])('%j is read as %s', (text, expected) => {
    const said = (directives: readonly Directive[]): string =>
      directives
        .map(({ words, block }) => {
          const line = words.map(({ value }) => value).join(' ')
          return block ? `${line} { ${said(block)}}` : line
        })
        .join(' | ')
    expect(said(parseTree(text).directives)).toBe(expected)
  })

  test('a directive is from its name to its last word', () => {
    const text = ' server  app1:3000 "down" # here\n ;'
    const [directive] = parseTree(text).directives
    expect(text.slice(directive?.start, directive?.end)).toBe('server  app1:3000 "down"')
  })
})
