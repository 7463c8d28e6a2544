// Takes members out and puts others back: one switch of the proxy to another route, with proof that it took effect.

import { missingIn } from '../context.ts'
import { outOf } from '../route.ts'
import { failIfAnyStopped } from './await-healthy.ts'
import type { StepHandler } from './step.ts'

/** A proxy that is still not there after half of this was asked, and has had its time to go back. */
const SWITCH_MS_MAX = 60_000

export const switchRoute: StepHandler<'switch'> = {
  undone: 'by-plan',
  deadlineMs: () => SWITCH_MS_MAX,
  isFinishedFirst: true,
  async do({ route }, { roll, signal }) {
    const missing = missingIn(roll)
    if (roll.proxy.goesBy(route, missing)) return {}
    // Healthy a moment ago is not healthy now: a container that has died must not get traffic, nor can its name be resolved.
    await failIfAnyStopped(roll, new Set(outOf(route)), signal)
    await roll.proxy.route(route, missing, signal)
    return {}
  },
}
