// The real ports with a stopwatch on every call: where a roll's time goes.

import { withDrivers, type DrivenPorts } from '../../agent/drivers.ts'
import type { HostPorts } from '../../agent/ports.ts'

export type Times = Map<string, { calls: number; ms: number }>

type Method = (...args: unknown[]) => unknown

/** `times` fills up with each call; calls that run at the same time count both. */
export function timedPorts({ proxies: _proxies, runtimes: _runtimes, ...host }: DrivenPorts): {
  ports: DrivenPorts
  times: Times
} {
  const times: Times = new Map()
  const timed = Object.entries(host).map(([port, methods]) => [
    port,
    Object.fromEntries(
      Object.entries(methods as unknown as Record<string, Method>).map(([name, method]) => [
        name,
        port === 'clock' && name !== 'sleep' ? method : stopwatch(`${port}.${name}`, method, times),
      ]),
    ),
  ])
  return { ports: withDrivers(Object.fromEntries(timed) as unknown as HostPorts), times }
}

function stopwatch(name: string, method: Method, times: Times): Method {
  return async (...args) => {
    const startedAt = performance.now()
    // Only what was waited for to its end: a deadline that is not reached is a sleep that is broken off.
    const result = await method(...args)
    const label = labelOf(name, args)
    const time = times.get(label) ?? { calls: 0, ms: 0 }
    times.set(label, { calls: time.calls + 1, ms: time.ms + performance.now() - startedAt })
    return result
  }
}

// Which command it is, or how long a sleep, says more than that it is one.
function labelOf(name: string, args: readonly unknown[]): string {
  if (name === 'engine.exec') return `${name} ${(args[1] as string[]).join(' ')}`
  if (name === 'clock.sleep') return `${name} ${String(args[0])}`
  return name
}
