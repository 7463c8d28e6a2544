// Which drivers a host's stacks are rolled by.

import { composeDriver } from './compose/runtime.ts'
import { nginxDriver } from './nginx/proxy.ts'
import type { HostPorts } from './ports.ts'
import type { Ports } from './roll/ports.ts'

/** The host, and what drives its stacks. */
export type DrivenPorts = HostPorts & Ports

export function withDrivers(host: HostPorts): DrivenPorts {
  return { ...host, proxies: nginxDriver(host), runtimes: composeDriver(host) }
}
