// Values that stand in more than one place of ropeway.yml, or on the command line too: durations, lists of which one value may stand
// alone, names of services.

import { z } from 'zod'
import { parseImage } from '../../shared/image.ts'
import { NAME_PATTERN } from '../../shared/limits.ts'

const MS_PER = { ms: 1, s: 1000, m: 60_000, h: 3600_000, d: 24 * 3600_000 } as const

/** No single wait may be longer: a forgotten unit (`30h` for `30s`) must not hold a stack for a week. */
const DURATION_MS_MAX = 24 * 3600_000

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

export const service = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'is not a compose service name')

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function duration(min: number) {
  return z.unknown().transform((value, ctx) => {
    const ms = parseDuration(value)
    if (ms !== undefined && ms >= min && ms <= DURATION_MS_MAX) return ms
    const message =
      ms === undefined
        ? 'should be a duration as 100ms, 60s, 2m or 1h'
        : `should be from ${min}ms to ${DURATION_MS_MAX / 3600_000}h`
    ctx.addIssue({ code: 'custom', message })
    return z.NEVER
  })
}

/** A host's, a stack's, a trigger's, a chat's or a destination's. */
export const name = z
  .string()
  .regex(NAME_PATTERN, 'a name is up to 63 lower-case letters, digits and dashes, and begins with no dash')

/** In full, however it is written. */
export const repository = z.string().transform((text, ctx) => {
  const ref = parseImage(text)
  if (ref && ref.tag === undefined && ref.digest === undefined) return ref.repository
  ctx.addIssue({ code: 'custom', message: 'should be an image repository without a tag or digest' })
  return z.NEVER
})

/** A key of another type: forgiving it would hide what the author believes this one to be. */
// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function absent(message: string) {
  return z.custom<undefined>((value) => value === undefined, message).optional()
}
