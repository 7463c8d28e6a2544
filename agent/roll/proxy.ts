// The port of the proxy, which sends a stack's requests to its members. Only its driver (nginx's: agent/nginx) knows what and where it is.

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
  /** The proxy as it was seen, ready for a roll: nobody is out. */
  open(seen: ProxySeen): Proxy
}

/** What there is of the stack beside the proxy. */
export interface Around {
  /** The compose services, each with what tells whether it is the proxy. */
  readonly services: Readonly<
    Record<string, { readonly image: string | undefined; readonly mounts: readonly Mounted[] }>
  >
  readonly containers: readonly Container[]
}

interface Mounted {
  readonly target: string
}

/** What was seen of a proxy. Plain JSON: the roll's record keeps it. */
export interface ProxySeen {
  /** The proxy's name for all members together: the upstream's name. */
  readonly backend: string
  /** The compose service that it runs in. */
  readonly service: string
  /** The file on the host that says who gets requests. */
  readonly file: string
  /** The networks by which it reaches members. */
  readonly networks: readonly string[]
  /** In the proxy's own order. */
  readonly members: readonly SeenMember[]
  /** How many servers the proxy knows. `others`: those that get requests and belong to no member. */
  readonly servers: { readonly all: number; readonly live: number; readonly others: number }
  readonly approach: Approach
  /** What the driver inferred, for a person to read: a line for each key. */
  readonly inferred: Readonly<Record<string, string>>
  /** What the driver keeps for itself. The roll does not read it. */
  readonly own: unknown
}

/** A member: a service, while each has one container. */
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
  /** Takes note of the proxy's containers as they are now, since somebody may restart or recreate one. */
  look(containers: readonly Container[]): void
  /** What a person should know of the proxy before a roll. `soakMs`: how long its traffic is to be watched. */
  warnings(soakMs: number): readonly Warning[]
}

/** Who gets new requests. */
export interface Routing {
  /** The members that are out by the last text that was written. */
  readonly out: ReadonlySet<string>
  /** Whether the proxy is known to have loaded that text. */
  readonly isLoaded: boolean
  /** Whether that text is the user's own. */
  readonly isAsWritten: boolean
  /** Whether the proxy is known to go by a route already. `nowhere`: services whose name resolves to nothing. */
  goesBy(route: Route, nowhere: ReadonlySet<string>): boolean
  /**
   * Resolves when every new request goes by this route, with proof. Repeatable. `nowhere`: services whose name resolves to nothing. Throws
   * `nginx-changed`, `nginx-refused`, `nginx-reload-failed`, `nginx-stale`, `nginx-not-running`.
   */
  route(route: Route, nowhere: ReadonlySet<string>, signal: AbortSignal): Promise<void>
  /**
   * How many requests are at these addresses. `mayGrow`: whether another may come, which the proxy took by a route before this one. `passedMs`:
   * milliseconds since the drain began, less those that this process stood still for.
   */
  requestsAt(
    remotes: readonly Remote[],
    passedMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly count: number; readonly mayGrow: boolean }>
  /** Notes that nobody knows any more which text the proxy has loaded. */
  forget(): void
  /**
   * After a crash: finds out which of these routes the proxy's text is, and so who is out. `nowhere`: services whose name may have resolved to
   * nothing when it was written. Resolves with `nginx-changed` where somebody else wrote the text.
   */
  resume(routes: readonly Route[], nowhere: readonly string[]): Promise<Problem | undefined>
  /** Throws `container-missing` where the proxy could load no text while this service's name resolves to nothing. `said`: how the service is. */
  checkLoadableWithout(service: string, said: string): void
}

/** What can be asked of the proxy. */
export interface Asked {
  /** Asks from where the proxy stands, by what programs there are. */
  readonly asker: Asker
  /** The address at which a door is reached from there; undefined where it has none. */
  addressOf(address: string, from: From): string | undefined
  /** What the proxy logs of its requests from now on. */
  openTraffic(signal: AbortSignal): Promise<Traffic | Unusable>
}

export interface Traffic {
  /** Every attempt at a server since the traffic was opened. */
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
  /** The files, and how each stands. `routes`: those that the roll passes through; `nowhere`: services whose name may have resolved to nothing then. */
  files(routes: readonly Route[], nowhere: readonly string[]): Promise<readonly WrittenState[]>
  /** The command by which a person makes the proxy load its file. */
  readonly repair: string
}

export interface WrittenState {
  readonly path: string
  readonly state: Damage['files'][number]['state']
  /** The file's content before the roll. */
  readonly before: string | Uint8Array
}

export interface Warning {
  readonly code: string
  readonly message: string
  readonly cure?: string
}
