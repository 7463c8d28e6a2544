// Whether containers are as their service is defined. Pure.

import type { Container } from '../ports.ts'

/** By service, compose's own hashes for a container that is as its files say. */
export type Hashes = Readonly<Record<string, readonly string[]>>

/** By compose's hashes of their service; one that compose has not made is nothing to judge by. */
export function areAsDefined(containers: readonly Container[], hashes: readonly string[] = []): boolean {
  return containers.every(({ configHash }) => configHash === undefined || hashes.includes(configHash))
}
