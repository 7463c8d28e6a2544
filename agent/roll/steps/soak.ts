// Watches a service in traffic for the soak time: it must stay up and healthy, and not answer worse than the others.

import type { Facts } from '../../../shared/events.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Container } from '../../ports.ts'
import { containersOf, remotesOf, type RollState } from '../context.ts'
import { describeProbe } from '../gates/gates.ts'
import { countAttempts, judge, sumOf } from '../judge.ts'
import type { Traffic, Unusable } from '../proxy.ts'
import { failIfAnyStopped, failIfStopped, logsOf, probeAll } from './await-healthy.ts'
import type { StepHandler } from './step.ts'

/** A crash shows as a refused connection first, and to the engine up to this much later. */
const CRASH_SEEN_MS_MAX = 500
/** When the traffic is first looked at, and the least time between two looks. */
const LOOK_MS = 1000
/**
 * Each look reads the traffic from the beginning of the soak, so looks come ever less often: the next one after this part of the time that
 * has passed. That makes fourteen looks in half a minute, and seven more for a soak that is five times as long.
 */
const LOOK_SHARE = 0.25

export const soak: StepHandler<'soak'> = {
  undone: 'nothing',
  deadlineMs: ({ ms }) => ms + 60_000,
  async do({ service, ms }, { roll, report, signal }) {
    const { clock } = roll.ports
    const startedAt = clock.elapsed()
    const end = startedAt + ms
    const traffic = await roll.proxy.openTraffic(signal)
    let lookAt = startedAt + LOOK_MS
    while (clock.elapsed() < end) {
      const all = await failIfAnyStopped(roll, roll.proxy.out, signal)
      await failIfUnhealthy(
        roll,
        service,
        all.filter((one) => one.service === service),
        signal,
      )
      if (clock.elapsed() >= lookAt) {
        report(await lookAtTraffic(roll, service, all, traffic, signal))
        lookAt = clock.elapsed() + Math.max(LOOK_MS, LOOK_SHARE * (clock.elapsed() - startedAt))
      }
      await clock.sleep(Math.min(roll.stack.health.intervalMs, Math.max(0, end - clock.elapsed())), signal)
    }
    const all = await failIfAnyStopped(roll, roll.proxy.out, signal)
    return await lookAtTraffic(roll, service, all, traffic, signal)
  },
}

async function failIfUnhealthy(
  roll: RollState,
  service: string,
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<void> {
  const { clock } = roll.ports
  const fault = await probeAll(roll, service, containers, signal)
  if (fault === undefined) return
  const seenBy = clock.elapsed() + CRASH_SEEN_MS_MAX
  for (let isOver = false; !isOver; isOver = clock.elapsed() >= seenBy) {
    await clock.sleep(roll.stack.health.intervalMs, signal)
    for (const container of await containersOf(roll, service, signal))
      await failIfStopped(roll, container, signal)
  }
  throw new Problem('container-unhealthy', `${service} became unhealthy in traffic: ${fault}`, {
    log: await logsOf(roll, containers[0], signal),
    cure: `see why ${describeProbe(roll.gates.probe)} is no longer answered as it should be`,
  })
}

// Judges the service's traffic. Throws `instance-worse`. Where nothing could be judged, `log` says why: it must not look like a pass.
async function lookAtTraffic(
  roll: RollState,
  service: string,
  all: readonly Container[],
  traffic: Traffic | Unusable,
  signal: AbortSignal,
): Promise<Facts> {
  const attempts = 'unusable' in traffic ? traffic : await traffic.read(signal)
  if ('unusable' in attempts) return { log: attempts.unusable }
  const counts = countAttempts(attempts)
  const countOf = (services: readonly string[]) =>
    sumOf(
      counts,
      services.flatMap((one) => addressesOf(roll, one, all)),
    )
  const instance = countOf([service])
  const others = countOf(
    roll.observed.members
      .filter((one) => one.service !== service && one.isLive && !roll.proxy.out.has(one.service))
      .map((one) => one.service),
  )
  const { requests, errors } = instance
  const facts = { requests, errors, othersRequests: others.requests, othersErrors: others.errors }
  switch (judge(instance, others)) {
    case 'fine':
      return facts
    case 'too-few':
      return {
        ...facts,
        log: `too few requests to judge by: ${requests}, and ${others.requests} at the others`,
      }
    case 'worse':
      throw new Problem(
        'instance-worse',
        `${service} answers 5xx to ${errors} of ${requests} requests in traffic, the others to ${others.errors} of ${others.requests}`,
        {
          log: await logsOf(
            roll,
            all.find((one) => one.service === service),
            signal,
          ),
          cure: 'see in its log which requests fail',
        },
      )
  }
}

function addressesOf(roll: RollState, service: string, all: readonly Container[]): string[] {
  const containers = all.filter((one) => one.service === service)
  return remotesOf(roll, service, containers).map(
    ({ ip, port }) => `${ip.includes(':') ? `[${ip}]` : ip}:${port}`,
  )
}
