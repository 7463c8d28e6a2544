import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseDump } from '../../../agent/nginx/dump.ts'
import { lineAt, parseTree } from '../../../agent/nginx/tokens.ts'
import { findUpstreams } from '../../../agent/nginx/upstream.ts'
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

test.each([
  ['server a;', true],
  ['upstream a { server b; }', true],
  ['upstream a { server b }', false],
  ['upstream a { server b; ', false],
  ['upstream a { server b; }}', false],
  ['server a', false],
  ['server "a;', false],
])('%s is whole: %j', (text, isWhole) => {
  expect(parseTree(text).isWhole).toBe(isWhole)
})
