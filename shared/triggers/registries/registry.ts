// What there is to know of a registry that tells of pushes. One file each, and one line in index.ts.

import { z } from 'zod'
import { TAG_PATTERN } from '../../image.ts'

/** One push of one tag, as a registry tells of it. */
export interface Push {
  /** As the sender names it, without a host. A host in a notification could be anybody's choice. */
  readonly repository: string
  readonly tag: string
  /** When, by the sender's clock: milliseconds since 1970. */
  readonly at?: number | undefined
  /** The sender's own id of this push, the same in every try. */
  readonly id?: string | undefined
}

/** Anything else, and why it deploys nothing. */
interface IgnoredEvent {
  readonly ignored: string
}
export type RegistryEvent = Push | IgnoredEvent

/**
 * How a sender proves itself. `path`: by the last part of the address. `authorization`: by a secret in that header, bare, as
 * `Bearer` or as the password of `Basic`. `gitlab`: by a signature of Standard Webhooks, or by `X-Gitlab-Token`. `google`: by a token
 * that Google signed. Otherwise by an HMAC-SHA256 of the body, in hex.
 */
export type Credential =
  'path' | 'authorization' | 'gitlab' | 'google' | { readonly header: string; readonly prefix: string }

export interface Registry {
  readonly credential: Credential
  /** The headers that `read` needs. */
  readonly headers?: readonly string[]
  /** The sender names a project, in which there may be several repositories. */
  readonly isOfProjects?: boolean
  /** The events that a body tells of. Never throws: what is not understood becomes an ignored event, whose reason says so. */
  read(body: unknown, headers: Readonly<Record<string, string>>): readonly RegistryEvent[]
}

/** Reads a body of a known form. One of any other form is an ignored event. */
export function reader<T>(
  schema: z.ZodType<T>,
  tell: (body: T) => readonly RegistryEvent[],
): (body: unknown) => readonly RegistryEvent[] {
  return (body) => {
    const parsed = schema.safeParse(body)
    return parsed.success ? tell(parsed.data) : [{ ignored: 'this is not the notification of a push' }]
  }
}

/** A push, if what was pushed has a tag. The manifest of a single platform has none, or its digest in the tag's place. */
export function pushOf(push: { [K in keyof Push]: Push[K] | undefined }): RegistryEvent {
  const { repository, tag } = push
  if (repository === undefined) return { ignored: 'the repository is not named' }
  if (tag === undefined || tag === '' || tag.startsWith('sha256:'))
    return { ignored: 'a manifest without a tag' }
  if (!TAG_PATTERN.test(tag)) return { ignored: 'the tag is none' }
  return { ...push, repository, tag }
}

/** The last millisecond that JavaScript's dates know. */
const TIME_MS_MAX = 8.64e15

/** Seconds since 1970, or a time as text; undefined for what is neither. */
export const time = z
  .union([
    z.number().transform((seconds) => seconds * 1000),
    z.string().transform((text) => Date.parse(text)),
  ])
  .transform((ms) => (ms > 0 && ms < TIME_MS_MAX ? Math.round(ms) : undefined))
  .optional()
  .catch(undefined)
