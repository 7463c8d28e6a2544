// The end of a roll, either way: every server back, every instance up, both files as they should be, and nginx answers as it did before.

import { Problem } from '../../../shared/problems.ts'
import { lookAround, type RollState } from '../context.ts'
import { askThrough, isGatewayError, type OpenDoor } from '../gates/gates.ts'
import { failIfAnyStopped, isExpectedWell, probeAll } from './await-healthy.ts'
import type { StepHandler } from './step.ts'

/** How long an answer may stay bad: what is broken is so for longer, while a moment's trouble or a rate limit passes. */
const BAD_MS_MAX = 10_000
const BAD_POLL_MS = 500

export const verify: StepHandler<'verify'> = {
  undone: 'nothing',
  deadlineMs: () => 120_000,
  async do(_step, { roll, signal }) {
    await roll.proxy.checkAsWritten()
    await roll.runtime.checkAsWritten()
    const [{ out }, { updated }] = [roll.proxy, roll.runtime]
    if (out.size > 0 || ![0, roll.order.length].includes(updated.size))
      throw new Error(`a roll ended with ${[...out]} out and ${[...updated]} updated`)
    const asked = roll.observed.members.filter(
      ({ service, isLive }) => isLive && isExpectedWell(roll, service),
    )
    // The proxy may have another address by now.
    await lookAround(roll, signal)
    await Promise.all(asked.map(({ service }) => seeWell(roll, service, signal)))
    const requests = await Promise.all(roll.gates.doors.map((door) => seeOpen(roll, door, signal)))
    return { requests: requests.reduce((sum, count) => sum + count, 0) }
  },
}

async function seeWell(roll: RollState, service: string, signal: AbortSignal): Promise<void> {
  await untilGood(roll, signal, async () => {
    const all = await failIfAnyStopped(roll, new Set(), signal)
    const containers = all.filter((one) => one.service === service)
    const fault = await probeAll(roll, service, containers, signal)
    return fault === undefined
      ? undefined
      : new Problem('container-unhealthy', `${service} does not answer: ${fault}`)
  })
}

// Sends one request for each server that the proxy knows, as clients come. The user decides what the answer is (a redirect, a 404), but it must not
// say that the proxy reaches nobody where it reached a server before.
async function seeOpen(roll: RollState, door: OpenDoor, signal: AbortSignal): Promise<number> {
  const count = door.isLimited ? 1 : roll.proxy.seen.servers.all
  for (let asked = 0; asked < count; asked += 1)
    await untilGood(roll, signal, async () => {
      const answer = await askThrough(door, roll.ports, roll.proxy, signal)
      if (!isGatewayError(door, answer)) return undefined
      const gives = 'fault' in answer ? answer.fault : answer.status
      return new Problem(
        'proxy-unhealthy',
        `GET ${door.path} (Host: ${door.host}) through nginx gives ${gives}, and gave ${door.status} before the roll`,
        { cure: 'the log of nginx says why' },
      )
    })
  return count
}

async function untilGood(
  { ports: { clock } }: RollState,
  signal: AbortSignal,
  look: () => Promise<Problem | undefined>,
): Promise<void> {
  const end = clock.elapsed() + BAD_MS_MAX
  for (;;) {
    const problem = await look()
    if (!problem) return
    if (clock.elapsed() >= end) throw problem
    await clock.sleep(BAD_POLL_MS, signal)
  }
}
