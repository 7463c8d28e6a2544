import { expect, test } from 'vitest'
import { asBytes, decoded } from '../../../../agent/nginx/config/bytes.ts'

const carried = (...bytes: number[]) => String.fromCharCode(...bytes)

test('a text of one character a byte is those bytes again', () => {
  expect([...asBytes(carried(0x61, 0x0a, 0x80, 0xf6, 0xff, 0x00))]).toEqual([0x61, 0x0a, 0x80, 0xf6, 0xff, 0])
})

test.each([
  ['ASCII', carried(0x61, 0x0a), 'a\n'],
  ['UTF-8', carried(0xc3, 0xa9, 0x61), 'éa'],
  ['a mark of byte order', carried(0xef, 0xbb, 0xbf, 0x61), '\uFEFFa'],
  ['what is no UTF-8, as it is', carried(0x61, 0xe9), 'aé'],
])('a person reads %s', (_, text, read) => {
  expect(decoded(text)).toBe(read)
})
