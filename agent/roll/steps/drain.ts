// Waits until no request can be at a server that was taken out: counted, not slept.

import { containersOf, remotesOf } from '../context.ts'
import { failIfAnyStopped } from './await-healthy.ts'
import type { StepHandler } from './step.ts'

/** The shortest pause between two counts. A count costs 0.1 ms at a small proxy. */
const DRAIN_POLL_MS = 20
/** With 60,000 connections a count takes a good part of a second. A pause so many times as long leaves most of a core to the apps. */
const DRAIN_POLL_SHARE = 4
/** The longest pause between two counts. A drain looks at least once a second, whatever a count costs. */
const DRAIN_POLL_MS_MAX = 1_000
/** How often the instances in traffic are looked at: the engine answers in milliseconds, but a drain may take minutes. */
const LIVENESS_POLL_MS = 250
/**
 * One look and its pause count for at most this much of passed time, or for the pause where that is longer. While this process stood still, the proxy
 * may have stood still too, with its timers and clients.
 */
const LOOK_MS_MAX = 100

export const drain: StepHandler<'drain'> = {
  undone: 'nothing',
  deadlineMs: (_step, { stack }) => stack.drainTimeoutMs + 60_000,
  async do({ service }, { roll, report, signal }) {
    const { clock } = roll.ports
    const remotes = remotesOf(roll, service, await containersOf(roll, service, signal))
    const deadline = clock.elapsed() + roll.stack.drainTimeoutMs
    let reported = -1
    let livenessAt = clock.elapsed()
    let lookedAt = clock.elapsed()
    let passedMs = 0
    let pauseMs = DRAIN_POLL_MS
    for (;;) {
      const now = clock.elapsed()
      passedMs += Math.min(now - lookedAt, Math.max(LOOK_MS_MAX, pauseMs))
      lookedAt = now
      const { count, mayGrow } = await roll.proxy.requestsAt(remotes, passedMs, signal)
      const tookMs = clock.elapsed() - now
      if (count === 0 && !mayGrow) return { cut: 0 }
      if (clock.elapsed() >= deadline) return { cut: count, timedOut: true }
      if (count !== reported) report({ connections: count })
      reported = count
      if (clock.elapsed() >= livenessAt) {
        await failIfAnyStopped(roll, roll.proxy.out, signal)
        livenessAt = clock.elapsed() + LIVENESS_POLL_MS
      }
      pauseMs = Math.min(Math.max(DRAIN_POLL_MS, DRAIN_POLL_SHARE * tookMs), DRAIN_POLL_MS_MAX)
      await clock.sleep(pauseMs, signal)
    }
  },
}
