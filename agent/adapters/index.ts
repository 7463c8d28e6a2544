// The real world, for main.ts to hand to the roll.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Ports } from '../ports.ts'
import { composeCli } from './compose.ts'
import { dockerEngine } from './engine.ts'
import { hostFiles } from './files.ts'
import { httpClient } from './http.ts'

export function realPorts(): Ports {
  return {
    engine: dockerEngine(),
    compose: composeCli(),
    files: hostFiles(),
    http: httpClient(),
    clock: {
      now: () => Date.now(),
      sleep: async (ms, signal) => {
        await sleep(ms, undefined, { signal }).catch(() => {
          throw signal.reason
        })
      },
    },
  }
}
