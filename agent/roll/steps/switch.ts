// Takes members out and puts others back: one switch of the proxy to another route, with proof that it took effect.

import { missingIn } from '../context.ts'
import { outOf } from '../route.ts'
import { failIfAnyStopped } from './await-healthy.ts'
import type { StepHandler } from './step.ts'

/** A proxy that has not taken the route after half of this has failed; the other half is for going back to the former one. */
const SWITCH_MS_MAX = 60_000

export const switchRoute: StepHandler<'switch'> = {
  undone: 'by-plan',
  deadlineMs: () => SWITCH_MS_MAX,
  isFinishedFirst: true,
  async do({ route }, { roll, signal }) {
    const missing = missingIn(roll)
    if (roll.proxy.goesBy(route, missing)) return {}
    // A container may have died since it was healthy. It must not get traffic, and its name cannot be resolved.
    await failIfAnyStopped(roll, new Set(outOf(route)), signal)
    await roll.proxy.route(route, missing, signal)
    return {}
  },
}
