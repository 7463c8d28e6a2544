// Whether containers are as their service is defined.

import { expect, test } from 'vitest'
import { areAsDefined } from '../../../agent/compose/drift.ts'
import type { Container } from '../../../agent/ports.ts'

const made = (...hashes: (string | undefined)[]) => hashes.map((configHash) => ({ configHash }) as Container)

test.each([
  ['one that compose made so', made('a'), ['a'], true],
  ['one by either of the two ways to make it', made('b'), ['a', 'b'], true],
  ['one that was made otherwise', made('c'), ['a', 'b'], false],
  ['two, of which one was made otherwise', made('a', 'c'), ['a'], false],
  ['one that compose has not made', made(undefined), ['a'], true],
  ['one of a service without a definition', made('a'), undefined, false],
  ['none', made(), ['a'], true],
])('%s', (_, containers, hashes, expected) => {
  expect(areAsDefined(containers, hashes)).toBe(expected)
})
