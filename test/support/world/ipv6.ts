// Networks with IPv6: each container has an address there that says its IPv4 one.

import type { Container, Remote } from '../../../agent/ports.ts'
import type { FakeWorld } from '../fake-world.ts'

/** The IPv6 address of a container, by its IPv4 one. */
export const six = (ip: string) => `fd00::${ip.replaceAll('.', ':')}`
const four = (ip: string) => ip.replace('fd00::', '').replaceAll(':', '.')

/** A network in which nginx goes to its servers by IPv6 alone, whether they have IPv4 addresses too. */
export function overIPv6(world: FakeWorld, isDual: boolean): void {
  const { engine, http } = world.ports
  const { containers, connections } = engine
  const { get } = http
  const asSeen = (one: Container): Container => ({
    ...one,
    addresses: Object.fromEntries(
      Object.entries(one.addresses).map(([network, ips]) => [
        network,
        [...(isDual ? ips : []), ...ips.map(six)],
      ]),
    ),
  })
  Object.assign(engine, {
    containers: async (...args: Parameters<typeof containers>) => (await containers(...args)).map(asSeen),
    connections: async (nginx: Container, remotes: readonly Remote[], signal: AbortSignal) =>
      await connections(
        nginx,
        remotes.filter(({ ip }) => ip.includes(':')).map(({ ip, port }) => ({ ip: four(ip), port })),
        signal,
      ),
  })
  Object.assign(http, {
    get: (target: Parameters<typeof get>[0], timeoutMs: number, signal: AbortSignal) =>
      get({ ...target, ip: four(target.ip) }, timeoutMs, signal),
  })
}
