// The enrolment key: the relay's one secret, the same text on both sides.

import { Problem } from '../../shared/problems.ts'

/** Whoever guesses it may enroll hosts. `openssl rand -base64 24` gives 32. */
const ENROLL_KEY_CHARS_MIN = 16

export function enrollKeyOf(env: NodeJS.ProcessEnv): string {
  const key = env['ROPEWAY_ENROLL_KEY'] ?? ''
  if (key.length >= ENROLL_KEY_CHARS_MIN) return key
  const fault = key === '' ? 'is not set' : `has fewer than ${ENROLL_KEY_CHARS_MIN} characters`
  throw new Problem('usage-invalid', `ROPEWAY_ENROLL_KEY ${fault}`, {
    cure: 'set it to the relay’s enrolment key, as `openssl rand -base64 24` makes one',
  })
}
