// Chance that can be had again: the seed is printed, and ROPEWAY_FAULTS_SEED sets it.

import { randomInt } from 'node:crypto'

export interface Random {
  /** From [0, 1). */
  next(): number
  /** A whole number from `min` up to and including `max`. */
  from(min: number, max: number): number
  pick<T>(of: readonly T[]): T
}

/** One for all that a test file leaves to chance, so that one number has all of it again. */
export const SEED = Number(process.env['ROPEWAY_FAULTS_SEED'] ?? randomInt(2 ** 31))

export function randomOf(what: string): Random {
  console.log(`${what}: ROPEWAY_FAULTS_SEED=${SEED}`)
  return seeded(SEED)
}

export function seeded(seed: number): Random {
  // mulberry32
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const from = (min: number, max: number) => min + Math.floor(next() * (max - min + 1))
  return {
    next,
    from,
    pick: (of) => {
      const picked = of[from(0, of.length - 1)]
      if (picked === undefined) throw new Error('there is nothing to pick from')
      return picked
    },
  }
}

export function shuffled<T>(random: Random, of: readonly T[]): T[] {
  return of
    .map((one) => [random.next(), one] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, one]) => one)
}
