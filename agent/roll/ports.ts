// What a roll needs: the host, and the drivers of its proxy and its runtime.

import type { HostPorts } from '../ports.ts'
import type { ProxyDriver } from './proxy.ts'
import type { RuntimeDriver } from './runtime.ts'

export interface Ports extends Omit<HostPorts, 'compose'> {
  readonly proxies: ProxyDriver
  readonly runtimes: RuntimeDriver
}
