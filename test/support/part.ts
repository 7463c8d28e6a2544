// How much of a long test is played: a part by chance in `npm test`, another one each time; all of it by `npm run whole`.

import { shuffled, type Random } from './random.ts'

export const IS_WHOLE = process.env['ROPEWAY_WHOLE'] === '1'

/** One of so many is played: in a dozen runs each is, but for a few. */
const PARTS = 5

export function partOf<T>(random: Random, all: readonly T[]): readonly T[] {
  return IS_WHOLE ? all : shuffled(random, all).slice(0, Math.ceil(all.length / PARTS))
}

/** How often a property is tried that was tried many times before. */
export function partOfRuns(numRuns: number): number {
  return IS_WHOLE ? numRuns : Math.ceil(numRuns / PARTS)
}
