// `before:` and `after:` of a stack: a command around its rolls. As a mapping, or the command alone.

import { z } from 'zod'
import { duration, service } from './values.ts'

/** Far more than people write in a list; a longer one belongs into a script of the image. */
const WORDS_MAX = 256
/** No container starts sooner: a smaller number lacks its unit. */
const TIMEOUT_MS_MIN = 1000

// A process cannot be given a NUL: the rest of its word would be lost.
const word = z.string().regex(/^[^\0]*$/, 'has a NUL')

const words = z
  .array(word)
  .min(1, 'is empty')
  .max(WORDS_MAX, `has more than ${WORDS_MAX} words`)
  .refine(([program]) => program !== '', 'has no program')

const line = word.regex(/\S/, 'is empty').transform((text) => ['sh', '-c', text])

const mapping = z
  .strictObject({
    service: service.optional(),
    command: eitherOf((value) => (typeof value === 'string' ? line : words)),
    timeout: duration(TIMEOUT_MS_MIN).default(600_000),
    on_retry: z.enum(['run', 'skip', 'fail'], 'should be run, skip or fail').default('fail'),
  })
  .transform(({ service: name, command: argv, timeout, on_retry: onRetry }) => ({
    service: name,
    command: argv,
    timeoutMs: timeout,
    onRetry,
  }))

const alone = z.unknown().transform((value, ctx): z.infer<typeof mapping> => {
  const parsed = mapping.safeParse({ command: value })
  if (parsed.success) return parsed.data
  // What is wrong is where the command stands: there is no key of that name.
  for (const issue of parsed.error.issues) ctx.addIssue({ ...issue, path: issue.path.slice(1) })
  return z.NEVER
})

export const command = eitherOf((value) =>
  typeof value === 'string' || Array.isArray(value) ? alone : mapping,
)

/** One of several schemas, by the value: a union would only say that none of them fits. */
function eitherOf<T>(schemaFor: (value: unknown) => z.ZodType<T>) {
  return z.unknown().transform((value, ctx): T => {
    const parsed = schemaFor(value).safeParse(value)
    if (parsed.success) return parsed.data
    for (const issue of parsed.error.issues) ctx.addIssue({ ...issue })
    return z.NEVER
  })
}
