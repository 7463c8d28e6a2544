// Watches a service in traffic for the soak time: it must stay up and healthy.

import { Problem } from '../../../shared/problems.ts'
import { containersOf } from '../context.ts'
import { failIfStopped, probeAll } from './await-healthy.ts'
import type { StepHandler } from './index.ts'

export const soak: StepHandler<'soak'> = {
  deadlineMs: ({ ms }) => ms + 60_000,
  async do({ service, ms }, { roll, signal }) {
    const { clock } = roll.ports
    const end = clock.now() + ms
    while (clock.now() < end) {
      const containers = await containersOf(roll, service, signal)
      for (const container of containers) await failIfStopped(roll, container, signal)
      const fault = await probeAll(roll, service, containers, signal)
      if (fault !== undefined)
        throw new Problem('container-unhealthy', `${service} became unhealthy in traffic: ${fault}`)
      await clock.sleep(Math.min(roll.stack.health.intervalMs, Math.max(0, end - clock.now())), signal)
    }
    return {}
  },
}
