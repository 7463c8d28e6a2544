// What a roll needs: the host, who sends the stack its requests, and who makes it run.

import type { HostPorts } from '../ports.ts'
import type { ProxyDriver } from './proxy.ts'
import type { RuntimeDriver } from './runtime.ts'

export interface Ports extends Omit<HostPorts, 'compose'> {
  readonly proxies: ProxyDriver
  readonly runtimes: RuntimeDriver
}
