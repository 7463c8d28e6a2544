// The state of one roll, which its steps share: what was seen before, and what has become of it.

import type { StackConfig } from '../config/config.ts'
import type { Container, Remote } from '../ports.ts'
import { remotesAt, type Gates } from './gates/gates.ts'
import { addressesFrom, type Member, type Observed } from './observe.ts'
import type { Ports } from './ports.ts'
import type { Preflight } from './preflight.ts'
import type { Proxy } from './proxy.ts'
import type { Runtime } from './runtime.ts'
import type { RollFacts } from './strategies/strategy.ts'
import type { WantedVersions, PinnedImages } from './wanted.ts'

export interface RollState {
  readonly deployId: string
  readonly stack: StackConfig
  readonly wanted: WantedVersions
  /** What the roll is about, from which its steps are planned. */
  readonly facts: RollFacts
  readonly ports: Ports
  readonly observed: Observed
  readonly gates: Gates
  readonly proxy: Proxy
  readonly runtime: Runtime
  /** The services in rolling order. */
  readonly order: readonly string[]
  /** The container IDs of each member, as last seen or made: others are somebody else's. Undefined after a crash and on the way back. */
  known: Map<string, readonly string[]> | undefined
  readonly images: PinnedImages
}

export function beginRoll(
  deployId: string,
  stack: StackConfig,
  { observed, proxy, runtime, gates, wanted, images, facts, plan }: Preflight,
  ports: Ports,
): RollState {
  return {
    deployId,
    stack,
    wanted,
    facts,
    ports,
    observed,
    gates,
    proxy,
    runtime,
    order: plan.instances,
    known: new Map(observed.members.map(({ service, containers }) => [service, idsOf(containers)])),
    images,
  }
}

export function idsOf(containers: readonly Container[]): string[] {
  return containers.map(({ id }) => id).toSorted()
}

/** The services whose container did not run before the roll, and that the roll has not updated. It is no fault that they still do not run. */
export function missingIn({ gates, runtime }: Pick<RollState, 'gates' | 'runtime'>): Set<string> {
  return new Set(goneBefore(gates)).difference(runtime.updated)
}

/** The services whose container did not run before the roll. */
export function goneBefore({ before }: Pick<Gates, 'before'>): string[] {
  return Object.entries(before).flatMap(([service, { state }]) => (state === 'gone' ? [service] : []))
}

export function memberOf(roll: Pick<RollState, 'observed'>, service: string): Member {
  const member = roll.observed.members.find((one) => one.service === service)
  if (!member) throw new Error(`${service} is no member of this roll`)
  return member
}

/** The service's containers as they are now. */
export async function containersOf(
  roll: RollState,
  service: string,
  signal: AbortSignal,
): Promise<Container[]> {
  return await roll.ports.engine.containers(roll.runtime.seen.project, signal, [service])
}

/** The containers of all members as they are now; the proxy takes note of its own. */
export async function lookAround(roll: RollState, signal: AbortSignal): Promise<Container[]> {
  const { observed, proxy, runtime, ports } = roll
  const services = [...observed.members.map(({ service }) => service), ...proxy.services]
  const all = await ports.engine.containers(runtime.seen.project, signal, services)
  proxy.look(all)
  return all.filter(({ service }) => !proxy.services.includes(service))
}

/** Where the proxy reaches the service now: every address of both families, with every port. */
export function remotesOf(roll: RollState, service: string, containers: readonly Container[]): Remote[] {
  const ips = containers.flatMap((container) => addressesFrom(roll.proxy.seen, container))
  return remotesAt(memberOf(roll, service), ips)
}
