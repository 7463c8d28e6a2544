// The keys of a host: which count, and how one takes the place of another.

import type { PublicKey, Rotation } from '../../shared/api.ts'
import { HOST_KEYS_MAX } from '../../shared/limits.ts'

/** A host's name and the keys that its tokens may be signed with, newest first. */
export interface Enrolment {
  readonly host: string
  /** `until` (milliseconds since 1970) is null for the newest, which counts until another takes its place. */
  readonly keys: readonly { readonly publicKey: PublicKey; readonly until: number | null }[]
}

/** The keys whose tokens count at a time, newest first. */
export function keysAt({ keys }: Enrolment, now: number): PublicKey[] {
  return keys.filter(({ until }) => until === null || now < until).map(({ publicKey }) => publicKey)
}

/**
 * The keys after a new one has replaced the newest, which vouched for it. The same rotation may come twice, if the first answer was lost: then
 * `keepSeconds` can only shorten how long the former keys count. Undefined when more keys would count than may.
 */
export function rotated(
  { host, keys }: Enrolment,
  { publicKey, keepSeconds }: Rotation,
  now: number,
): Enrolment | undefined {
  const keptUntil = now + keepSeconds * 1000
  const kept = keys
    .filter((key) => key.publicKey.x !== publicKey.x)
    .map((key) => ({ ...key, until: Math.min(key.until ?? Infinity, keptUntil) }))
    .filter(({ until }) => until > now)
  return kept.length >= HOST_KEYS_MAX ? undefined : { host, keys: [{ publicKey, until: null }, ...kept] }
}
