// Values that ropeway.yml and the command line write alike: durations, and lists of which one value may stand alone.

import { z } from 'zod'

const MS_PER = { ms: 1, s: 1000, m: 60_000, h: 3600_000, d: 24 * 3600_000 } as const

/** `100ms`, `60s`, `2m`, `1h` in milliseconds, or undefined for anything else. */
export function parseDuration(text: unknown): number | undefined {
  return parse(text, /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/)
}

/** As `parseDuration`, and whole days (`7d`): for what lasts, not for what is waited for. */
export function parseLifetime(text: unknown): number | undefined {
  return parseDuration(text) ?? parse(text, /^(\d{1,3})(d)$/)
}

function parse(text: unknown, pattern: RegExp): number | undefined {
  const match = typeof text === 'string' ? pattern.exec(text) : null
  return match ? Math.round(Number(match[1]) * MS_PER[match[2] as keyof typeof MS_PER]) : undefined
}

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function listOf<T extends z.ZodType>(item: T, max: number) {
  return z.preprocess(
    (value) => (Array.isArray(value) || value === undefined ? value : [value]),
    z.array(item).min(1, 'is empty').max(max, `has more than ${max} entries`),
  )
}
