// Releases: what a stack ran, kept for a rollback. Pure; the agent's journal keeps them.

import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import type { StackConfig } from '../../config/config.ts'
import type { Observed } from '../observe.ts'

const serviceSchema = z.object({
  /** As the compose file names it: `repository:tag@sha256:…`, or an image's ID where it exists on this host only. */
  image: z.string(),
  imageId: z.string(),
  /** The variables that a request may set; null: not set. */
  env: z.record(z.string(), z.string().nullable()),
})

const textsSchema = z.record(z.string(), z.string())

export const releaseSchema = z.object({
  number: z.number().int().positive(),
  /** The deploy that made it; null for what ran before the first one. */
  deploy: z.string().nullable(),
  actor: z.string().nullable(),
  reason: z.string().nullable(),
  /** Milliseconds since 1970. */
  at: z.number(),
  /** When it was built, by the request; milliseconds since 1970. */
  builtAt: z.number().nullable(),
  /** After a rollback, the number of the release that runs again; else its own number. */
  of: z.number().int().positive(),
  services: z.record(z.string(), serviceSchema),
  /** The compose files, byte for byte, before and after. */
  files: z.object({ before: textsSchema, after: textsSchema }),
})
export type Release = z.infer<typeof releaseSchema>
export type NewRelease = Omit<Release, 'number' | 'of'> & {
  /** Undefined where it is none of the earlier releases again. */
  readonly of: number | undefined
}

/** A stack's releases, in the agent's journal. */
export interface Releases {
  /** Oldest first. */
  list(): readonly Release[]
  /** Adds a release as the next one, durably, and returns its number. Where its deploy has a release already, none is added. */
  add(release: NewRelease): number
  /** Forgets all before a number. */
  forgetBefore(number: number): void
}

/** What each service runs in a release. */
export type ReleasedServices = Release['services']

/** Whether what runs is what the newest release says; false where there is none. */
export function isNewest(releases: readonly Release[], { members, runtime }: Observed): boolean {
  const newest = releases.at(-1)
  return (
    newest !== undefined &&
    members.every(({ service, containers }) => {
      const had = newest.services[service]
      const env = runtime.services[service]?.env ?? {}
      return (
        had !== undefined &&
        containers.every(({ imageId }) => imageId === had.imageId) &&
        Object.entries(had.env).every(([key, value]) => (env[key] ?? null) === value)
      )
    })
  )
}

/** The variables that a release must remember: what requests may set, what this one sets, and what earlier ones did. */
export function envKeys(
  stack: StackConfig,
  wantedEnvs: readonly Readonly<Record<string, unknown>>[],
  releases: readonly Release[],
): string[] {
  const remembered = releases.flatMap(({ services }) =>
    Object.values(services).flatMap(({ env }) => Object.keys(env)),
  )
  return [
    ...new Set([...stack.allow.env, ...wantedEnvs.flatMap((env) => Object.keys(env)), ...remembered]),
  ].toSorted()
}

/** Whether two releases are the same to a stack that runs them. */
export function isSameVersion(a: ReleasedServices, b: ReleasedServices): boolean {
  const essence = (services: ReleasedServices) =>
    Object.fromEntries(
      Object.entries(services).map(([name, { imageId, env }]) => [name, { imageId, env: setOnly(env) }]),
    )
  return isDeepStrictEqual(essence(a), essence(b))
}

// A variable that is missing from one of the two was not set there: that release did not yet have to remember it.
function setOnly(env: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env)
      .filter((entry): entry is [string, string] => entry[1] !== null)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  )
}
