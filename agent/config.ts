// ropeway.yml as a type that cannot be wrong. (Reading it: to come in this file.)

import type { Trigger } from '../shared/triggers/index.ts'

/** One stack of ropeway.yml. What is undefined is inferred from the compose file and the nginx configuration (roll/observe.ts). */
export interface StackConfig {
  readonly name: string
  /** Absolute paths, as for `docker compose -f`. */
  readonly compose: readonly string[]
  readonly project: string | undefined
  readonly proxy: {
    readonly service?: string | undefined
    readonly config?: string | undefined
    readonly upstream?: string | undefined
  }
  readonly instances: readonly string[] | undefined
  readonly health: HealthConfig
  readonly drainTimeoutMs: number
  readonly soakMs: number
  /** `images` undefined: the repositories that run today. */
  readonly allow: { readonly images: readonly string[] | undefined; readonly env: readonly string[] }
  readonly triggers: readonly Trigger[]
}

export interface HealthConfig {
  readonly path: string
  readonly status: { readonly min: number; readonly max: number }
  readonly intervalMs: number
  readonly successes: number
  readonly timeoutMs: number
}

export interface Config {
  /** The file it was read from. */
  readonly path: string
  /** The relay's origin, without a trailing slash. */
  readonly relay: string
  readonly host: string
  readonly stacks: readonly StackConfig[]
}
