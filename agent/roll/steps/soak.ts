// Watches a service in traffic for the soak time: it must stay up and healthy.

import { Problem } from '../../../shared/problems.ts'
import { containersOf } from '../context.ts'
import { failIfStopped, logsOf, probeAll } from './await-healthy.ts'
import type { StepHandler } from './index.ts'

/** A crash shows as a refused connection first, and to the engine up to this much later. */
const CRASH_SEEN_MS_MAX = 500

export const soak: StepHandler<'soak'> = {
  deadlineMs: ({ ms }) => ms + 60_000,
  async do({ service, ms }, { roll, signal }) {
    const { clock } = roll.ports
    const end = clock.now() + ms
    while (clock.now() < end) {
      const containers = await containersOf(roll, service, signal)
      for (const container of containers) await failIfStopped(roll, container, signal)
      const fault = await probeAll(roll, service, containers, signal)
      if (fault !== undefined) {
        const seenBy = clock.now() + CRASH_SEEN_MS_MAX
        for (let isOver = false; !isOver; isOver = clock.now() >= seenBy) {
          await clock.sleep(roll.stack.health.intervalMs, signal)
          for (const container of await containersOf(roll, service, signal))
            await failIfStopped(roll, container, signal)
        }
        throw new Problem('container-unhealthy', `${service} became unhealthy in traffic: ${fault}`, {
          log: await logsOf(roll, containers[0], signal),
          cure: `see why GET ${roll.stack.health.path} is no longer answered as it should be`,
        })
      }
      await clock.sleep(Math.min(roll.stack.health.intervalMs, Math.max(0, end - clock.now())), signal)
    }
    return {}
  },
}
