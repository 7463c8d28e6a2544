// When a notice is tried again, and when it is given up. Pure: chance and time are arguments.

import type { Outcome } from './kind.ts'

/** After the first try that failed; then twice as long each time. */
const FIRST_MS = 1000
/** An endpoint that is back is noticed within this time. */
export const WAIT_MS_MAX = 15 * 60_000
/** Of a destination's Retry-After: one that asks for more is asked again all the same, once an hour. */
export const RETRY_AFTER_MS_MAX = 3600_000
/** A day later nobody acts on it any more, and those that wait behind it are newer. */
export const NOTICE_AGE_MS_MAX = 24 * 3600_000
/** Also one that is older gets so many tries: the agent may have been away, and the network may be back later than the agent. */
export const TRIES_MIN = 5

export type Failure = Extract<Outcome, { isSent: false }>

/** When to try again; undefined: never. `tries` counts the one that failed. `random` is from [0, 1). */
export function nextTryAt(
  failure: Failure,
  { at, tries }: { readonly at: number; readonly tries: number },
  nowMs: number,
  random: number,
): number | undefined {
  if (failure.isFinal) return undefined
  const ceiling = Math.min(WAIT_MS_MAX, FIRST_MS * 2 ** Math.min(tries - 1, 30))
  // Half of it is by chance, so that hosts which lost one endpoint do not all come back at once.
  const waitMs = ceiling / 2 + (random * ceiling) / 2
  const nextAt = nowMs + Math.max(waitMs, Math.min(failure.retryAfterMs ?? 0, RETRY_AFTER_MS_MAX))
  return tries >= TRIES_MIN && nextAt - at > NOTICE_AGE_MS_MAX ? undefined : Math.round(nextAt)
}
