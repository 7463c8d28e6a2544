// What the Worker is given by wrangler.toml, or by agent/relay.ts on a machine of yours.

import type { Hub } from './hub/hub.ts'

export interface Env {
  readonly HUB: DurableObjectNamespace<Hub>
  /** Whoever holds it may enroll a new host. */
  readonly ROPEWAY_ENROLL_KEY: string
  /** The relay's public origin, where it is not the one that requests arrive under (a proxy that ends TLS, for instance). */
  readonly RELAY_URL?: string
}

/** The origin that tokens must be made for, and that links in answers begin with. */
export function relayOrigin(env: Env, request: Request): string {
  return new URL(env.RELAY_URL ?? request.url).origin
}
