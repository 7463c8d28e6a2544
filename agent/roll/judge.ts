// Whether an instance in traffic answers worse than the others, by what nginx noted of their answers. Pure.

import type { Attempt } from './proxy.ts'

export interface Count {
  readonly requests: number
  /** Answers of 500 and above; a refused or cut connection is one too, for nginx notes it as 502, and a timeout as 504. */
  readonly errors: number
}

export type Verdict = 'fine' | 'too-few' | 'worse'

/** The least number of requests on each side. With fewer, only the grossest fault could be told from chance, and the probe sees that one sooner. */
export const SAMPLES_MIN = 50
/** A share of errors that is higher by no more than this is not worth undoing a roll: the new instance has cold caches and new connections. */
const MARGIN = 0.01
/** A difference counts if mere chance makes one so large with at most this probability. A soak looks a dozen times, mostly at the same requests. */
const CHANCE_MAX = 1e-4

/**
 * Compares an instance with the others together. The instance is worse when its share of errors is above theirs by more than MARGIN and chance hardly
 * explains it: if all were equally good, at most one look in ten thousand would show so many of the errors on its side. That is a one-sided exact
 * test (Fisher's), which holds for small numbers too.
 *
 * Where the others have no errors and as many requests, it takes 14 errors of the instance: a new version that fails one request in ten is found
 * after some 140 of them, one that fails one in fifty after 700. Of 20,000 simulated soaks of equally good instances with fourteen looks each, at
 * most six in ten thousand called one worse, whatever share failed (test/agent/roll/judge.test.ts). The test takes requests for independent. Where
 * nginx keeps a client at one server (`ip_hash`, `hash`), the errors of a single client can count as its server's.
 */
export function judge(instance: Count, others: Count): Verdict {
  if (instance.requests < SAMPLES_MIN || others.requests < SAMPLES_MIN) return 'too-few'
  if (shareOf(instance) - shareOf(others) <= MARGIN) return 'fine'
  return chanceOf(instance, others) <= CHANCE_MAX ? 'worse' : 'fine'
}

function shareOf({ requests, errors }: Count): number {
  return errors / requests
}

/** The probability that at least so many of all errors fall to the instance when each request is as likely to fail (hypergeometric). */
export function chanceOf(instance: Count, others: Count): number {
  const requests = instance.requests + others.requests
  const errors = instance.errors + others.errors
  const most = Math.min(errors, instance.requests)
  // Each term follows from the one before. The first needs logarithms, since its factorials are too large for a number.
  let term = Math.exp(
    logChoose(errors, instance.errors) +
      logChoose(requests - errors, instance.requests - instance.errors) -
      logChoose(requests, instance.requests),
  )
  let sum = term
  for (let here = instance.errors; here < most; here += 1) {
    const left = requests - errors - instance.requests + here + 1
    term *= ((errors - here) / (here + 1)) * ((instance.requests - here) / left)
    sum += term
  }
  return Math.min(1, sum)
}

function logChoose(n: number, k: number): number {
  return logFactorial(n) - logFactorial(k) - logFactorial(n - k)
}

/** From here on Stirling's series is exact to the last digit that matters. */
const STIRLING_FROM = 32

function logFactorial(n: number): number {
  if (n >= STIRLING_FROM)
    return n * Math.log(n) - n + Math.log(2 * Math.PI * n) / 2 + 1 / (12 * n) - 1 / (360 * n ** 3)
  let sum = 0
  for (let factor = 2; factor <= n; factor += 1) sum += Math.log(factor)
  return sum
}

/** The counts of each server, by its address. An attempt without a status says nothing of the server: the client was gone first. */
export function countAttempts(attempts: Iterable<Attempt>): ReadonlyMap<string, Count> {
  const counts = new Map<string, Count>()
  for (const { address, status } of attempts) {
    if (status === undefined) continue
    const { requests, errors } = counts.get(address) ?? NONE
    counts.set(address, { requests: requests + 1, errors: errors + (status >= 500 ? 1 : 0) })
  }
  return counts
}

const NONE: Count = { requests: 0, errors: 0 }

/** The counts of several addresses together. */
export function sumOf(counts: ReadonlyMap<string, Count>, addresses: Iterable<string>): Count {
  let sum = NONE
  for (const address of addresses) {
    const { requests, errors } = counts.get(address) ?? NONE
    sum = { requests: sum.requests + requests, errors: sum.errors + errors }
  }
  return sum
}
