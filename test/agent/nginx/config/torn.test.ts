// A write in place that stopped anywhere is told from what a person wrote.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isTorn } from '../../../../agent/nginx/config/torn.ts'

const FROM = asBytes(`http {
  # 서버 목록 — 둘
  upstream apps {
    server app1:3000 weight=2;
    server app2:3000; # zweiter
  }
}
`)
const TO = FROM.replace('weight=2', 'weight=2 max_fails=0').replace('app2:3000', 'app2:3000 down')

/** One character a byte. */
function asBytes(text: string): string {
  return Buffer.from(text).toString('latin1')
}

/** What is in the file when `count` bytes of the new text were written over the old one. */
function stoppedAfter(from: string, to: string, count: number): string {
  return to.slice(0, count) + from.slice(count)
}

for (const [what, from, to] of [
  ['longer', FROM, TO],
  ['shorter', TO, FROM],
] as const)
  test(`a write of a ${what} text that stopped after any byte is torn`, () => {
    for (let count = 0; count <= to.length; count += 1)
      expect(isTorn(stoppedAfter(from, to, count), from, to), `after ${count} bytes`).toBe(true)
  })

test.each([
  ['a line taken away', FROM.replace('    server app2:3000; # zweiter\n', '')],
  ['a line added at the end', `${FROM}# mine\n`],
  ['a line added at the beginning', `# mine\n${FROM}`],
  ['another weight', FROM.replace('weight=2', 'weight=3')],
  ['the new text with another weight', TO.replace('weight=2', 'weight=3')],
  ['an empty file', ''],
])('a person’s edit is not torn: %s', (_what, text) => {
  expect(isTorn(text, FROM, TO)).toBe(false)
  expect(isTorn(text, TO, FROM)).toBe(false)
})

test('wherever an edit of ours stands in a text, a stopped write of it or of its reverse is torn', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map(asBytes)
  const parameter = fc.constantFrom(' down', ' max_fails=0')
  fc.assert(
    fc.property(text, text, parameter, fc.boolean(), fc.nat(300), (before, after, word, isReverse, count) => {
      const [plain, edited] = [before + after, before + word + after]
      const [from, to] = isReverse ? [edited, plain] : [plain, edited]
      const at = Math.min(count, to.length)
      expect(isTorn(stoppedAfter(from, to, at), from, to)).toBe(true)
    }),
    { numRuns: 2000 },
  )
})
