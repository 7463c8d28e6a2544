// The claims that a trigger demands, as ropeway.yml writes them: each one string or a list, of which a token must have one.

import { z } from 'zod'
import { CLAIM_CHARS_MAX, CLAIM_VALUES_MAX, CLAIMS_MAX } from '../../limits.ts'
import type { Demanded } from './ci-system.ts'

/** Any exact text. There are no patterns and no prefixes, since `refs/heads/main*` would also let `refs/heads/mainly-mine` in. */
export const text = z
  .string({ error: 'should be a text, in quotes' })
  .min(1, 'is empty')
  .max(CLAIM_CHARS_MAX)
  .refine((value) => !value.includes('*'), 'is compared as it is: * stands for nothing but itself')

/** An id: a number that is written as a string, as the tokens have it. */
export const id = z.custom<string>(
  (value) => typeof value === 'string' && /^[1-9][0-9]{0,19}$/.test(value),
  'should be the number in quotes, as "1296269": tokens have it as a string, and a name can be taken over by others',
)

const NAME = /^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$/

/** Claims that are always checked, so that ropeway.yml may not name them. */
const OURS = new Set(['iss', 'aud', 'exp', 'iat', 'nbf', 'jti'])

interface Rules {
  readonly required?: Readonly<Record<string, z.ZodType<string>>>
  readonly optional?: Readonly<Record<string, z.ZodType<string>>>
  /** Demanded where ropeway.yml says nothing else. */
  readonly defaults?: Readonly<Record<string, readonly string[]>>
  /** Demanded whatever it says. */
  readonly always?: Readonly<Record<string, string>>
  /** At least one of these must be there. */
  readonly oneOf?: readonly string[]
  /** Any claim may be demanded, and one must be. */
  readonly any?: boolean
}

export function claimsOf(rules: Rules): z.ZodType<Demanded> {
  const { required = {}, optional = {}, defaults = {}, always = {}, oneOf = [], any = false } = rules
  const known = {
    ...mapValues(required, valuesOf),
    ...mapValues({ ...optional, ...mapValues(defaults, () => text) }, (value) => valuesOf(value).optional()),
  }
  const shape: z.ZodType<Readonly<Record<string, readonly string[] | undefined>>> = any
    ? z.record(z.string().regex(NAME, 'is not the name of a claim'), valuesOf(text))
    : z.strictObject(known)
  return shape
    .check((ctx) => {
      const names = Object.keys(ctx.value)
      const fault = (message: string) => ctx.issues.push({ code: 'custom', message, input: ctx.value })
      if (oneOf.length > 0 && !names.some((name) => oneOf.includes(name)))
        fault(`has neither ${oneOf.join(' nor ')}: any branch could deploy`)
      if (any && names.length === 0) fault('is empty: whoever has any token of the issuer could deploy')
      if (names.length > CLAIMS_MAX) fault(`has more than ${CLAIMS_MAX} claims`)
      const own = names.find((name) => OURS.has(name))
      if (own !== undefined) fault(`names ${own}, which is checked by itself`)
    })
    .transform((claims): Demanded => {
      const said = Object.entries(claims).flatMap(([name, values]) =>
        values ? [[name, values] as const] : [],
      )
      return { ...defaults, ...Object.fromEntries(said), ...mapValues(always, (value) => [value]) }
    })
}

const valuesOf = (value: z.ZodType<string>) =>
  z.preprocess(
    (given) => (Array.isArray(given) ? given : [given]),
    z.array(value).min(1, 'is empty').max(CLAIM_VALUES_MAX, `has more than ${CLAIM_VALUES_MAX} values`),
  )

function mapValues<T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))
}
