// What ropeway.yml may say: its keys, their values and defaults. Secrets and paths are looked up here, at the leaf that names them, so
// that a missing one is one fault among the others.

import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { parseImage } from '../shared/image.ts'
import { NAME_PATTERN } from '../shared/limits.ts'
import { secretFault } from '../shared/triggers/standard-webhooks.ts'
import { relayOrigin } from './relay-origin.ts'

/** No single wait may be longer: a forgotten unit (`30h` for `30s`) must not hold a stack for a week. */
const DURATION_MS_MAX = 24 * 3600_000
/** More than this many probes in a row says no more about a container, it only makes every roll slower. */
const SUCCESSES_MAX = 100
const PROBE_INTERVAL_MS_MIN = 10

const MS_PER = { ms: 1, s: 1000, m: 60_000, h: 3600_000 } as const

/** `100ms`, `60s`, `2m`, `1h` in milliseconds, or undefined for anything else. */
export function parseDuration(text: unknown): number | undefined {
  const match = typeof text === 'string' ? /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text) : null
  return match ? Math.round(Number(match[1]) * MS_PER[match[2] as keyof typeof MS_PER]) : undefined
}

export interface Surroundings {
  /** Relative paths start here. */
  readonly directory: string
  /** Undefined: secrets are not looked up, only their form is checked. */
  readonly env: NodeJS.ProcessEnv | undefined
}

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function configSchema({ directory, env }: Surroundings) {
  const existingFile = z.string().transform((path, ctx) => {
    const absolute = resolve(directory, path)
    if (statSync(absolute, { throwIfNoEntry: false })?.isFile()) return absolute
    ctx.addIssue({ code: 'custom', message: `there is no file ${absolute}` })
    return z.NEVER
  })

  const secret = z.unknown().transform((value, ctx) => {
    const source = secretSource.safeParse(value)
    const found = source.success ? lookUp(source.data, { directory, env }) : { fault: SECRET_SHAPE }
    if ('secret' in found) return found.secret
    ctx.addIssue({ code: 'custom', message: found.fault })
    return z.NEVER
  })

  const trigger = z
    .strictObject({
      type: z.literal('standard-webhooks', 'should be standard-webhooks'),
      secret: listOf(secret, 2),
    })
    .transform(({ type, secret: secrets }) => ({ type, secrets }))

  const stack = z
    .strictObject({
      compose: listOf(existingFile, 8),
      project: z
        .string()
        .regex(/^[a-z0-9][a-z0-9_-]*$/, 'is not a compose project name')
        .optional(),
      proxy: z
        .strictObject({
          service: service.optional(),
          config: existingFile.optional(),
          upstream: upstream.optional(),
        })
        .default({}),
      instances: listOf(service, 64).refine(isUnique, 'names a service twice').optional(),
      health: health.prefault({}),
      drain: z.strictObject({ timeout: duration(0).default(30_000) }).prefault({}),
      soak: duration(0).default(0),
      allow: z
        .strictObject({ images: listOf(repository, 64).optional(), env: z.array(envName).default([]) })
        .prefault({}),
      triggers: z.record(name, trigger).default({}),
    })
    .transform(({ drain, soak, project, instances, allow, ...rest }) => ({
      ...rest,
      project,
      instances,
      allow: { images: allow.images, env: allow.env },
      drainTimeoutMs: drain.timeout,
      soakMs: soak,
    }))

  return z.strictObject({
    relay: z.string().transform((text, ctx) => {
      const origin = relayOrigin(text)
      if ('origin' in origin) return origin.origin
      ctx.addIssue({ code: 'custom', message: origin.fault })
      return z.NEVER
    }),
    host: name,
    stacks: z.record(name, stack).refine((stacks) => Object.keys(stacks).length > 0, 'has no stack'),
  })
}

const name = z
  .string()
  .regex(NAME_PATTERN, 'a name is up to 63 lower-case letters, digits and dashes, and begins with no dash')
const service = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'is not a compose service name')
const upstream = z.string().regex(/^[A-Za-z0-9._-]+$/, 'is not the name of an nginx upstream')
const envName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'is not the name of an environment variable')

const repository = z.string().transform((text, ctx) => {
  const ref = parseImage(text)
  if (ref && ref.tag === undefined && ref.digest === undefined) return ref.repository
  ctx.addIssue({ code: 'custom', message: 'should be an image repository without a tag or digest' })
  return z.NEVER
})

const duration = (min: number) =>
  z.unknown().transform((value, ctx) => {
    const ms = parseDuration(value)
    if (ms !== undefined && ms >= min && ms <= DURATION_MS_MAX) return ms
    const message =
      ms === undefined
        ? 'should be a duration as 100ms, 60s, 2m or 1h'
        : `should be from ${min}ms to ${DURATION_MS_MAX / 3600_000}h`
    ctx.addIssue({ code: 'custom', message })
    return z.NEVER
  })

const statusRange = z.union([z.string(), z.number()]).transform((value, ctx) => {
  const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(String(value))
  const min = Number(match?.[1])
  const max = Number(match?.[2] ?? match?.[1])
  if (match && min <= max) return { min, max }
  ctx.addIssue({ code: 'custom', message: 'should be a status as 200 or a range as 200-399' })
  return z.NEVER
})

const health = z
  .strictObject({
    path: z
      .string()
      .regex(/^\/[\x21-\x7e]*$/, 'should begin with / and have no spaces')
      .default('/'),
    status: statusRange.default({ min: 200, max: 399 }),
    interval: duration(PROBE_INTERVAL_MS_MIN).default(100),
    successes: z.int().min(1).max(SUCCESSES_MAX).default(2),
    timeout: duration(1).default(60_000),
  })
  .transform(({ interval, timeout, ...rest }) => ({ ...rest, intervalMs: interval, timeoutMs: timeout }))

const secretSource = z
  .strictObject({ env: z.string().min(1).optional(), file: z.string().min(1).optional() })
  .refine((source) => (source.env === undefined) !== (source.file === undefined))
const SECRET_SHAPE =
  'should be { env: NAME } or { file: PATH }: the secret itself does not belong into this file'

function lookUp(
  source: z.infer<typeof secretSource>,
  { directory, env }: Surroundings,
): { secret: string } | { fault: string } {
  if (env === undefined) return { secret: '' }
  const where = source.env ?? resolve(directory, source.file ?? '')
  try {
    const text = source.env === undefined ? readFileSync(where, 'utf8') : env[source.env]
    if (!text)
      return { fault: `${where} is ${source.env === undefined ? 'empty' : 'not set in the environment'}` }
    const secret = text.trim()
    const fault = secretFault(secret)
    return fault === undefined ? { secret } : { fault: `${where} ${fault}` }
  } catch (error) {
    return { fault: `${where} cannot be read: ${(error as NodeJS.ErrnoException).code}` }
  }
}

// One value stands for a list of one.
function listOf<T extends z.ZodType>(item: T, max: number) {
  return z.preprocess(
    (value) => (Array.isArray(value) || value === undefined ? value : [value]),
    z.array(item).min(1, 'is empty').max(max, `has more than ${max} entries`),
  )
}

function isUnique(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length
}
