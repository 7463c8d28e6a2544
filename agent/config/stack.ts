// One stack of ropeway.yml: its keys, their values and defaults. Paths are looked up here, at the leaf that names them, so that a missing one is
// one fault among the others.

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { z } from 'zod'
import { command } from './command.ts'
import { health } from './health.ts'
import { notifySchema } from './notify.ts'
import type { Surroundings } from './secrets.ts'
import { triggerSchema } from './triggers.ts'
import { duration, listOf, name, repository, service } from './values.ts'

/** No roll is over sooner: a smaller number lacks its unit. */
const DEADLINE_MS_MIN = 1000
/** What runs is one of them, so there is always one; with it alone there is nothing to go back to. */
const RELEASES_MIN = 1
/** Each keeps an image on the disk, and nobody looks for a version among more. */
const RELEASES_MAX = 100

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function stackSchema(surroundings: Surroundings) {
  return stackKeys(surroundings).transform(
    ({ drain, soak, deadline, releases, project, env_files, instances, before, after, allow, ...rest }) => ({
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
}

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
function stackKeys(surroundings: Surroundings) {
  const existingFile = existingFileIn(surroundings.directory)
  return z.strictObject({
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
    triggers: z.record(name, triggerSchema(surroundings)).default({}),
    notify: notifySchema(surroundings),
  })
}

const existingFileIn = (directory: string) =>
  z.string().transform((path, ctx) => {
    const absolute = resolve(directory, path)
    if (isFile(absolute)) return absolute
    ctx.addIssue({ code: 'custom', message: `there is no file ${absolute}` })
    return z.NEVER
  })

// A path that no file can have, as one that is too long, is one that none has.
function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() === true
  } catch {
    return false
  }
}

const upstream = z.string().regex(/^[A-Za-z0-9._-]+$/, 'is not the name of an nginx upstream')
const profile = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/, 'is not the name of a compose profile')
const envName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'is not the name of an environment variable')

function isUnique(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length
}
