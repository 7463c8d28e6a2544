// Every registry whose pushes can deploy, by the type of its trigger.

import { acr } from './acr.ts'
import { artifactRegistry } from './artifact-registry.ts'
import { distribution } from './distribution.ts'
import { dockerHub } from './docker-hub.ts'
import { ecr } from './ecr.ts'
import { ghcr } from './ghcr.ts'
import { gitea } from './gitea.ts'
import { gitlab } from './gitlab.ts'
import { harbor } from './harbor.ts'
import { jfrog } from './jfrog.ts'
import { quay } from './quay.ts'
import type { Registry } from './registry.ts'
import { zot } from './zot.ts'

export const REGISTRIES = {
  'docker-hub': dockerHub,
  ghcr,
  distribution,
  harbor,
  quay,
  gitlab,
  gitea,
  ecr,
  'artifact-registry': artifactRegistry,
  acr,
  zot,
  jfrog,
} as const satisfies Record<string, Registry>
export type RegistryType = keyof typeof REGISTRIES
/** The registries that share a secret with the trigger. */
export type KeyedRegistryType = Exclude<RegistryType, 'artifact-registry'>

/** The registry of a trigger's type; undefined for other types. */
export function registryOf(type: string): Registry | undefined {
  return Object.hasOwn(REGISTRIES, type) ? REGISTRIES[type as RegistryType] : undefined
}
