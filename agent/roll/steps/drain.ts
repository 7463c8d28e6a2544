// Waits until no request can be at a server that was taken out: counted, not slept.

import { containersOf, remotesOf } from '../context.ts'
import { failIfAnyStopped } from './await-healthy.ts'
import type { StepHandler } from './step.ts'
import { stillRetiring } from './switch.ts'

/** The pause between two counts. A count costs 0.1 ms at a small nginx, */
const DRAIN_POLL_MS = 20
/** and at one of 60,000 connections a good part of a second: then the pause is so many times as long, and most of a core stays the apps'. */
const DRAIN_POLL_SHARE = 4
/** Nothing that a drain waits for is worth less than a look a second. */
const DRAIN_POLL_MS_MAX = 1_000
/** How often the instances in traffic are looked at: the engine answers in milliseconds, but a drain may take minutes. */
const LIVENESS_POLL_MS = 250
/** nginx's timers and ours tick apart, and on a busy machine late; added to what nginx promises. Costs time only while a long request runs. */
const TIMER_MARGIN_MS = 500
/** The most that one look and its pause count as time passed, where the pause was shorter: while this process stood still, nginx's may have too, its timers and its clients with it. */
const LOOK_MS_MAX = 100

export const drain: StepHandler<'drain'> = {
  undone: 'nothing',
  deadlineMs: (_step, { stack }) => stack.drainTimeoutMs + 60_000,
  async do({ service }, { roll, report, signal }) {
    const { clock, engine } = roll.ports
    const remotes = remotesOf(roll, service, await containersOf(roll, service, signal))
    const deadline = clock.now() + roll.stack.drainTimeoutMs
    // A worker that is shutting down still answers a request on a client connection that was idle, for keepalive_min_timeout, and by its old
    // configuration: it may yet send one to the server that was taken out. So it must be gone, or that time be over.
    const graceMs = (roll.observed.proxy.settings.keepaliveMinTimeoutMs ?? 0) + TIMER_MARGIN_MS
    let reported = -1
    let lookAt = clock.now()
    let lookedAt = clock.now()
    let passedMs = 0
    let pauseMs = DRAIN_POLL_MS
    for (;;) {
      passedMs += Math.min(clock.now() - lookedAt, Math.max(LOOK_MS_MAX, pauseMs))
      lookedAt = clock.now()
      // In this order: a worker that is gone by now can have opened no connection that the count misses.
      const isQuiet = passedMs >= graceMs || (await stillRetiring(roll, signal)).length === 0
      const countedAt = clock.now()
      const left = await engine.connections(roll.proxy, remotes, signal)
      const tookMs = clock.now() - countedAt
      if (left === 0 && isQuiet) return { cut: 0 }
      if (clock.now() >= deadline) return { cut: left, timedOut: true }
      if (left !== reported) report({ connections: left })
      reported = left
      if (clock.now() >= lookAt) {
        await failIfAnyStopped(roll, roll.out, signal)
        lookAt = clock.now() + LIVENESS_POLL_MS
      }
      pauseMs = Math.min(Math.max(DRAIN_POLL_MS, DRAIN_POLL_SHARE * tookMs), DRAIN_POLL_MS_MAX)
      await clock.sleep(pauseMs, signal)
    }
  },
}
