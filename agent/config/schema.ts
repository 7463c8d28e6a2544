// What ropeway.yml may say: its keys, their values and defaults. Paths are looked up here, at the leaf that names them, so that a missing
// one is one fault among the others.

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { chatsSchema } from './chats.ts'
import { command } from './command.ts'
import { relayOrigin } from './relay-origin.ts'
import { notifySchema } from './notify.ts'
import type { Surroundings } from './secrets.ts'
import { sharedKeys, sharedWithNotify, triggerSchema } from './triggers.ts'
import { duration, listOf, name, repository, service } from './values.ts'

/** More than this many probes in a row says no more about a container, it only makes every roll slower. */
const SUCCESSES_MAX = 100
const PROBE_INTERVAL_MS_MIN = 10
/** So often in a row, so far apart: a second and a half, in which what crashes after a second, or is well only now and then, shows. */
const PROBE_SUCCESSES = 7
const PROBE_INTERVAL_MS = 250
/** No roll is over sooner: a smaller number lacks its unit. */
const DEADLINE_MS_MIN = 1000
/** What runs is one of them, so there is always one; with it alone there is nothing to go back to. */
const RELEASES_MIN = 1
/** Each keeps an image on the disk, and nobody looks for a version among more. */
const RELEASES_MAX = 100

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function configSchema({ directory, env }: Surroundings) {
  const existingFile = z.string().transform((path, ctx) => {
    const absolute = resolve(directory, path)
    if (statSync(absolute, { throwIfNoEntry: false })?.isFile()) return absolute
    ctx.addIssue({ code: 'custom', message: `there is no file ${absolute}` })
    return z.NEVER
  })

  const stack = z
    .strictObject({
      compose: listOf(existingFile, 8),
      project: z
        .string()
        .regex(/^[a-z0-9][a-z0-9_-]*$/, 'is not a compose project name')
        .optional(),
      env_files: listOf(existingFile, 8).optional(),
      profiles: listOf(profile, 8).default([]),
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
      deadline: duration(DEADLINE_MS_MIN).default(3600_000),
      before: command.optional(),
      after: command.optional(),
      releases: z.int().min(RELEASES_MIN).max(RELEASES_MAX).default(5),
      allow: z
        .strictObject({ images: listOf(repository, 64).optional(), env: z.array(envName).default([]) })
        .prefault({}),
      triggers: z.record(name, triggerSchema({ directory, env })).default({}),
      notify: notifySchema({ directory, env }),
    })
    .transform(
      ({
        drain,
        soak,
        deadline,
        releases,
        project,
        env_files,
        instances,
        before,
        after,
        allow,
        ...rest
      }) => ({
        ...rest,
        project,
        envFiles: env_files,
        instances,
        before,
        after,
        allow: { images: allow.images, env: allow.env },
        drainTimeoutMs: drain.timeout,
        soakMs: soak,
        deadlineMs: deadline,
        releasesKept: releases,
      }),
    )

  const whole = z.strictObject({
    relay: z.string().transform((text, ctx) => {
      const origin = relayOrigin(text)
      if ('origin' in origin) return origin.origin
      ctx.addIssue({ code: 'custom', message: origin.fault })
      return z.NEVER
    }),
    host: name,
    stacks: z
      .record(name, stack)
      .refine((stacks) => Object.keys(stacks).length > 0, 'has no stack')
      .superRefine(
        (stacks, ctx) => {
          if (env === undefined) return
          for (const { stack: at, trigger, key, index, message } of sharedKeys(stacks))
            ctx.addIssue({ code: 'custom', path: [at, 'triggers', trigger, key, index], message })
          for (const { stack: at, index, message } of sharedWithNotify(stacks))
            ctx.addIssue({ code: 'custom', path: [at, 'notify', index, 'secret'], message })
        },
        // Also where something else is wrong.
        { when: ({ value }) => typeof value === 'object' && value !== null },
      ),
    chat: chatsSchema({ directory, env }).default({}),
  })
  return whole.superRefine(({ stacks, chat }, ctx) => {
    for (const [at, said] of Object.entries(chat))
      // One with a fault of its own is still as it was written.
      for (const { name: of } of Array.isArray(said.stacks) ? said.stacks : [])
        if (!Object.hasOwn(stacks, of))
          ctx.addIssue({
            code: 'custom',
            path: ['chat', at, 'stacks', of],
            message: 'is not among the stacks of this file',
          })
  })
}

const upstream = z.string().regex(/^[A-Za-z0-9._-]+$/, 'is not the name of an nginx upstream')
const profile = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, 'is not the name of a compose profile')
const envName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'is not the name of an environment variable')

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

function isUnique(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length
}
