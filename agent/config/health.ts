// `health:` of a stack: what its instances are asked before a roll goes on.

import { z } from 'zod'
import { duration } from './values.ts'

/** More than this many probes in a row says no more about a container, it only makes every roll slower. */
const SUCCESSES_MAX = 100
const PROBE_INTERVAL_MS_MIN = 10
/** So often in a row, so far apart: a second and a half, in which what crashes after a second, or is well only now and then, shows. */
const PROBE_SUCCESSES = 7
const PROBE_INTERVAL_MS = 250

const statusRange = z.union([z.string(), z.number()]).transform((value, ctx) => {
  const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(String(value))
  const min = Number(match?.[1])
  const max = Number(match?.[2] ?? match?.[1])
  if (match && min <= max) return { min, max }
  ctx.addIssue({ code: 'custom', message: 'should be a status as 200 or a range as 200-399' })
  return z.NEVER
})

export const health = z
  .strictObject({
    path: z
      .string()
      .regex(/^\/[\x21-\x7e]*$/, 'should begin with / and have no spaces')
      .optional(),
    host: z
      .string()
      .regex(/^(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?$/, 'is not the name of a host')
      .optional(),
    status: statusRange.optional(),
    tcp: z.literal(true).optional(),
    docker: z.literal(true).optional(),
    interval: duration(PROBE_INTERVAL_MS_MIN).default(PROBE_INTERVAL_MS),
    successes: z.int().min(1).max(SUCCESSES_MAX).default(PROBE_SUCCESSES),
    timeout: duration(1).default(60_000),
  })
  .superRefine(({ tcp, docker, path, host, status }, ctx) => {
    const other = Object.entries({ docker, path, host, status }).find(([, value]) => value !== undefined)
    if (tcp && other) ctx.addIssue({ code: 'custom', path: ['tcp'], message: `does not go with ${other[0]}` })
    const http = Object.entries({ path, host, status }).find(([, value]) => value !== undefined)
    if (docker && http)
      ctx.addIssue({ code: 'custom', path: ['docker'], message: `does not go with ${http[0]}` })
  })
  .transform(({ tcp, docker, path, host, status, interval, timeout, successes }) => ({
    by: tcp ? ('tcp' as const) : docker ? ('docker' as const) : undefined,
    path,
    host,
    status,
    successes,
    intervalMs: interval,
    timeoutMs: timeout,
  }))
