// The real world, for main.ts to hand to the roll.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../ports.ts'
import { withDrivers, type DrivenPorts } from '../drivers.ts'
import { composeCli } from './compose/compose.ts'
import { dockerEngine } from './engine/engine.ts'
import { hostFiles } from './files.ts'
import { httpClient } from './http.ts'
import { hostLocks } from './locks.ts'

export function realPorts(): DrivenPorts {
  const engine = dockerEngine()
  return withDrivers({
    engine,
    compose: composeCli({ engine, clock: hostClock }),
    files: hostFiles(),
    http: httpClient(),
    locks: hostLocks(),
    clock: hostClock,
  })
}

const hostClock: Clock = {
  now: () => Date.now(),
  elapsed: () => Math.round(performance.now()),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, { signal }).catch(() => {
      throw signal.reason
    })
  },
}
