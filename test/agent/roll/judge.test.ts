import { describe, expect, test } from 'vitest'
import { chanceOf, countAttempts, judge, sumOf, type Count } from '../../../agent/roll/judge.ts'

const of = (errors: number, requests: number): Count => ({ requests, errors })

describe('judge', () => {
  test.each([
    // errors and requests of the instance, then of the others together
    [0, 0, 0, 0, 'too-few'],
    [0, 49, 0, 1000, 'too-few'],
    [49, 49, 0, 1000, 'too-few'],
    [50, 50, 0, 49, 'too-few'],
    [0, 50, 0, 50, 'fine'],
    [50, 50, 0, 50, 'worse'],
    // As good, better, or all of them bad.
    [3, 200, 1, 210, 'fine'],
    [0, 200, 50, 200, 'fine'],
    [100, 200, 100, 200, 'fine'],
    [100, 200, 90, 200, 'fine'],
    [31, 200, 1, 210, 'worse'],
    [190, 200, 100, 200, 'worse'],
    // Where the others have no error: twelve of fifty may be chance, 13 are not; among many requests it is 14.
    [12, 50, 0, 50, 'fine'],
    [13, 50, 0, 50, 'worse'],
    [13, 1000, 0, 1000, 'fine'],
    [14, 1000, 0, 1000, 'worse'],
    // More requests at the others make fewer errors suspicious.
    [5, 60, 0, 600, 'worse'],
    // Surely worse, and by so little that nobody cares.
    [50, 10_000, 0, 10_000, 'fine'],
    [100, 10_000, 0, 10_000, 'fine'],
    [101, 10_000, 0, 10_000, 'worse'],
    [2000, 100_000, 1000, 100_000, 'fine'],
  ] as const)('%d of %d, and %d of %d at the others: %s', (errors, requests, theirs, all, verdict) => {
    expect(judge(of(errors, requests), of(theirs, all))).toBe(verdict)
  })
})

describe('chanceOf', () => {
  test.each([
    // By hand: with one error, it falls to either side by their sizes.
    [1, 10, 0, 10, 1 / 2],
    [1, 10, 0, 30, 1 / 4],
    // Two errors among four requests, both on one side of two: one choice of six.
    [2, 2, 0, 2, 1 / 6],
    // The lady tasting tea: 3 or more of 4.
    [3, 4, 1, 4, 17 / 70],
    [0, 10, 5, 10, 1],
    [0, 10, 0, 10, 1],
    [10, 10, 10, 10, 1],
    [50, 50, 0, 50, 9.911e-30],
    [31, 200, 1, 210, 1.084e-9],
  ])('%d of %d, and %d of %d', (errors, requests, theirs, all, chance) => {
    const found = chanceOf(of(errors, requests), of(theirs, all))
    expect(found / chance).toBeGreaterThan(0.9)
    expect(found / chance).toBeLessThan(1.1)
  })

  test('is the share of all ways to deal the errors that are at least as bad', () => {
    for (const [n, m, errors] of [
      [40, 60, 12],
      [100, 30, 45],
      [33, 33, 1],
    ] as const)
      for (let here = Math.max(0, errors - m); here <= Math.min(errors, n); here += 1) {
        let ways = 0n
        for (let k = here; k <= Math.min(errors, n); k += 1) ways += choose(n, k) * choose(m, errors - k)
        const exact = Number((ways * 10n ** 30n) / choose(n + m, errors)) / 1e30
        expect(chanceOf(of(here, n), of(errors - here, m))).toBeCloseTo(exact, 9)
      }
  })

  test('is a probability for large numbers too', () => {
    for (const n of [1e3, 1e4, 1e5, 1e6])
      for (const share of [0, 0.001, 0.5, 1]) {
        const chance = chanceOf(of(Math.round(n * share), n), of(Math.round(n * share), n))
        expect(chance).toBeGreaterThanOrEqual(0.49)
        expect(chance).toBeLessThanOrEqual(1)
      }
  })
})

function choose(n: number, k: number): bigint {
  let result = 1n
  for (let i = 1n; i <= BigInt(k); i += 1n) result = (result * (BigInt(n) - i + 1n)) / i
  return k > n ? 0n : result
}

// Measured rather than believed, as a soak judges again and again while the requests come in.
describe('by simulation of soaks with fourteen looks', () => {
  const SOAKS = 4000
  const LOOKS = 14

  /** The share of soaks that find the instance worse. */
  function foundWorse(share: number, theirs: number, perLook: number, seed: number): number {
    const next = randomOf(seed)
    const some = (p: number) => {
      let errors = 0
      for (let n = 0; n < perLook; n += 1) if (next() < p) errors += 1
      return errors
    }
    let found = 0
    for (let soak = 0; soak < SOAKS; soak += 1) {
      let [errors, others] = [0, 0]
      for (let look = 1; look <= LOOKS; look += 1) {
        errors += some(share)
        others += some(theirs)
        if (judge(of(errors, look * perLook), of(others, look * perLook)) !== 'worse') continue
        found += 1
        break
      }
    }
    return found / SOAKS
  }

  test.each([0.001, 0.01, 0.05, 0.3])(
    'of equally good instances that fail a share of %s, at most one in a thousand is called worse',
    (share) => {
      expect(foundWorse(share, share, 20, 1)).toBeLessThanOrEqual(0.001)
    },
  )

  test.each([
    [0.1, 0, 20, 0.99],
    [0.05, 0, 40, 0.99],
    [0.33, 0.01, 8, 0.99],
    [0.15, 0.05, 40, 0.9],
  ])(
    'one that fails a share of %s, the others %s, is found with %d requests a look',
    (share, theirs, perLook, power) => {
      expect(foundWorse(share, theirs, perLook, 2)).toBeGreaterThanOrEqual(power)
    },
  )
})

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test('attempts are counted by their server, and one without an answer is none', () => {
  const counts = countAttempts([
    { address: 'a:1', status: 200 },
    { address: 'a:1', status: 500 },
    { address: 'b:1', status: 502 },
    { address: 'a:1', status: 499 },
    { address: 'b:1', status: undefined },
    { address: 'c:1', status: 504 },
  ])
  expect(counts.get('a:1')).toEqual(of(1, 3))
  expect(counts.get('b:1')).toEqual(of(1, 1))
  expect(sumOf(counts, ['a:1', 'c:1', 'd:1'])).toEqual(of(2, 4))
})
