// Whether containers are as their service is defined. Pure.

import type { Container } from '../ports.ts'

/** By service, compose's own hashes for a container that is as its files say. */
export type Hashes = Readonly<Record<string, readonly string[]>>

/** Judges by compose's hashes of the service. A container that compose has not made has none, and counts as defined. */
export function areAsDefined(containers: readonly Container[], hashes: readonly string[] = []): boolean {
  return containers.every(({ configHash }) => configHash === undefined || hashes.includes(configHash))
}
