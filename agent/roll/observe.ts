// Looks at the stack as it is: how its files define it, the containers, what the proxy has loaded, and how the three belong together. Touches
// nothing.

import type { StackConfig } from '../config/config.ts'
import type { Container } from '../ports.ts'
import type { Ports } from './ports.ts'
import type { ProxySeen, SeenMember } from './proxy.ts'
import type { RuntimeSeen } from './runtime.ts'

/** Plain JSON: the roll's record keeps it. */
export interface Observed {
  readonly runtime: RuntimeSeen
  readonly containers: readonly Container[]
  readonly proxy: ProxySeen
  /** In the proxy's order. */
  readonly members: readonly Member[]
}

/** A member as the proxy knows it, with its containers. */
export interface Member extends SeenMember {
  readonly containers: readonly Container[]
}

export async function observe(stack: StackConfig, ports: Ports, signal: AbortSignal): Promise<Observed> {
  const { engine, runtimes, proxies } = ports
  const [defined] = await Promise.all([runtimes.define(stack, signal), engine.ping(signal)])
  // Inspecting the files keeps a core busy, so it runs beside the questions to the engine and the proxy.
  const runtime = runtimes.inspect(stack, defined, signal)
  runtime.catch(() => {}) // awaited at the end; until then another failure may come first
  const containers = await engine.containers(defined.project, signal)
  const proxy = await proxies.inspect(stack, { services: defined.services, containers }, signal)
  const members = proxy.members.map((member) => ({
    ...member,
    containers: containers.filter(({ service }) => service === member.service),
  }))
  return { runtime: await runtime, containers, proxy, members }
}

/** The addresses by which the proxy reaches a container: those of both families in the networks that they share. */
export function addressesFrom({ networks }: Pick<ProxySeen, 'networks'>, container: Container): string[] {
  return Object.entries(container.addresses)
    .filter(([network]) => networks.includes(network))
    .flatMap(([, ips]) => ips)
}
