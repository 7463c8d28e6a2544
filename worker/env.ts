// What the Worker is given by wrangler.toml, or by agent/relay/relay.ts on a machine of yours, and what its routes find in their context.

import type { Context } from 'hono'
import type { Hub, HubEnv } from './hub/hub.ts'
import type { Refusal } from './refusal.ts'

export interface Env extends HubEnv {
  readonly HUB: DurableObjectNamespace<Hub>
  /** Whoever holds it may enroll a new host. */
  readonly ROPEWAY_ENROLL_KEY: string
  /** The relay's public origin, where it is not the one that requests arrive under (a proxy that ends TLS, for instance). */
  readonly RELAY_URL?: string
  /** Numbers, as text; shared/limits.ts says what they limit. */
  readonly SOURCE_REQUESTS_PER_MINUTE?: string
  readonly SOURCE_FAILURES_PER_MINUTE?: string
}

export interface App {
  Bindings: Env
  /** The whole body, or why there is none to be had. */
  Variables: { body: Uint8Array | Refusal }
}
export type Ctx = Context<App>

/** The origin that tokens must be made for, and that links in answers begin with. */
export function relayOrigin(env: Env, request: Request): string {
  return new URL(env.RELAY_URL ?? request.url).origin
}
