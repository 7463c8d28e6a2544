// The port of whoever sends a stack's requests to its members. What it is, and where it runs, only its driver knows: nginx's is in agent/nginx.

import type { Damage } from '../../shared/events.ts'
import type { Route } from '../../shared/plan.ts'
import type { Problem } from '../../shared/problems.ts'
import type { StackConfig } from '../config/config.ts'
import type { Container, Remote } from '../ports.ts'
import type { Asker, From } from './gates/ask.ts'
import type { Approach } from './gates/door.ts'

export interface ProxyDriver {
  /** Looks at what the proxy has loaded, and which of the stack's services it sends to. Touches nothing. */
  inspect(stack: StackConfig, around: Around, signal: AbortSignal): Promise<ProxySeen>
  /** The proxy as it was seen, to roll by: nobody is out. */
  open(seen: ProxySeen): Proxy
}

/** What there is beside the proxy. */
export interface Around {
  /** The compose services, and of each whether it looks like the proxy by its definition. */
  readonly services: Readonly<
    Record<string, { readonly image: string | undefined; readonly mounts: readonly Mounted[] }>
  >
  readonly containers: readonly Container[]
}

interface Mounted {
  readonly target: string
}

/** What was seen of a proxy. Plain JSON: the note of a roll keeps it. */
export interface ProxySeen {
  /** What it calls the members together: the upstream's name. */
  readonly backend: string
  /** The compose service that it runs in. */
  readonly service: string
  /** The file on the host that says who gets requests. */
  readonly file: string
  /** The networks by which it reaches members. */
  readonly networks: readonly string[]
  /** In its own order. */
  readonly members: readonly SeenMember[]
  /** The servers that it knows. `others`: those that get requests and belong to no member. */
  readonly servers: { readonly all: number; readonly live: number; readonly others: number }
  readonly approach: Approach
  /** What was inferred, for a person: a line a key. */
  readonly inferred: Readonly<Record<string, string>>
  /** The driver's own. */
  readonly own: unknown
}

/** One that gets requests: a service, while each has one container. */
export interface SeenMember {
  readonly name: string
  readonly service: string
  /** The ports that the proxy sends its requests to. */
  readonly ports: readonly number[]
  /** False where the user has taken it out. */
  readonly isLive: boolean
}

export interface Proxy extends Routing, Asked, Written {
  readonly seen: ProxySeen
  /** The compose services that the proxy itself runs in. */
  readonly services: readonly string[]
  /** Takes note of its containers as they are now: somebody may restart or recreate one. */
  look(containers: readonly Container[]): void
  /** What a person should know of it before a roll. `soakMs`: how long its traffic is to be watched. */
  warnings(soakMs: number): readonly Warning[]
}

/** Who gets new requests. */
export interface Routing {
  /** The members that are out by the last text that was written. */
  readonly out: ReadonlySet<string>
  /** Whether it is known to run by that text. */
  readonly isLoaded: boolean
  /** Whether its text is the user's own. */
  readonly isAsWritten: boolean
  /** Whether it is known to go by a route already. */
  goesBy(route: Route, nowhere: ReadonlySet<string>): boolean
  /**
   * Resolves when every new request goes by this route, with proof. Repeatable. `nowhere`: services whose name resolves to nothing. Throws
   * `nginx-changed`, `nginx-refused`, `nginx-reload-failed`, `nginx-stale`, `nginx-not-running`.
   */
  route(route: Route, nowhere: ReadonlySet<string>, signal: AbortSignal): Promise<void>
  /**
   * How many requests are at these addresses, and whether one may still come that the proxy took by what it ran before. `passedMs`: since the
   * route was taken.
   */
  requestsAt(
    remotes: readonly Remote[],
    passedMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly count: number; readonly mayGrow: boolean }>
  /** From now on nobody knows what it runs by. */
  forget(): void
  /**
   * After a crash: by which of these routes its text is. `nowhere`: services whose name may have resolved to nothing then. Resolves with
   * `nginx-changed` where somebody else has written it.
   */
  resume(routes: readonly Route[], nowhere: readonly string[]): Promise<Problem | undefined>
  /** Throws `container-missing` where it could load nothing anew while the name of a service resolves to nothing; `said`: how that service is. */
  checkLoadableWithout(service: string, said: string): void
}

/** What can be learned of it by questions. */
export interface Asked {
  /** Asks from where the proxy stands, by what programs there are. */
  readonly asker: Asker
  /** The address at which a door is reached from there; undefined where it has none. */
  addressOf(address: string, from: From): string | undefined
  /** What it notes of its requests, from now on. */
  openTraffic(signal: AbortSignal): Promise<Traffic | Unusable>
}

export interface Traffic {
  /** Every try of a request at a member since it was opened. */
  read(signal: AbortSignal): Promise<readonly Attempt[] | Unusable>
}

/** One try of the proxy at a server: a request that was retried has several. */
export interface Attempt {
  /** `ip:port`, `[ip]:port` or `unix:path`. */
  readonly address: string
  /** Undefined where the server had answered nothing by the time that the client was gone. */
  readonly status: number | undefined
}

export interface Unusable {
  /** Why, as the rest of a sentence. */
  readonly unusable: string
}

/** The files of the user's that a roll writes, and takes back. */
export interface Written {
  /** Throws `nginx-changed` unless they are the user's own again. */
  checkAsWritten(): Promise<void>
  /** Throws `file-unusable` where they could not be written. Writes nothing. */
  checkWritable(): Promise<void>
  /** Removes what a write that was killed has left. */
  tidy(): Promise<void>
  /** How they stand. `routes`: those that the roll passes through. */
  files(routes: readonly Route[], nowhere: ReadonlySet<string>): Promise<readonly WrittenState[]>
  /** The command that makes it take up its file. */
  readonly repair: string
}

export interface WrittenState {
  readonly path: string
  readonly state: Damage['files'][number]['state']
  /** As it was before the roll. */
  readonly before: string | Uint8Array
}

export interface Warning {
  readonly code: string
  readonly message: string
  readonly cure?: string
}
