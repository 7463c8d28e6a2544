// How long the agent waits before it dials again. Pure: the state goes in and out, chance is an argument.

/** `lost`: the socket ended or never came up. `replaced`: another agent took the name. `unauthorized`: the relay knows no such key. */
export type LossReason = 'lost' | 'replaced' | 'unauthorized'

export interface BackoffState {
  /** Losses in a row. */
  readonly losses: number
}
export const RESTED: BackoffState = { losses: 0 }

const FIRST_MS = 500
const MAX_MS = 30_000
/** A connection that was up this long shows that the relay is well: the next loss is a first one. */
const RESET_AFTER_MS = 60_000
/** Two agents with one name would throw each other out for ever: slow enough to be seen and stopped. */
const REPLACED_MS_MIN = 30_000
const REPLACED_MS_MAX = 60_000
/** Only a person can cure it (enroll), and the agent should notice within minutes that somebody did. */
const UNAUTHORIZED_MS_MIN = 30_000
const UNAUTHORIZED_MS_MAX = 300_000

/** The next wait, with full jitter so that a relay's agents do not come back all at once. `random` is from [0, 1). */
export function nextDelay(
  state: BackoffState,
  loss: { reason: LossReason; upMs: number },
  random: number,
): { state: BackoffState; delayMs: number } {
  const losses = loss.upMs >= RESET_AFTER_MS ? 0 : state.losses
  const next = { losses: losses + 1 }
  switch (loss.reason) {
    case 'lost':
      return { state: next, delayMs: random * Math.min(MAX_MS, FIRST_MS * 2 ** losses) }
    case 'replaced':
      return { state: next, delayMs: between(REPLACED_MS_MIN, REPLACED_MS_MAX, random) }
    case 'unauthorized': {
      const max = Math.min(UNAUTHORIZED_MS_MAX, UNAUTHORIZED_MS_MIN * 2 ** (losses + 1))
      return { state: next, delayMs: between(UNAUTHORIZED_MS_MIN, max, random) }
    }
  }
}

function between(min: number, max: number, random: number): number {
  return min + random * (max - min)
}
