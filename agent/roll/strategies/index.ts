// The strategies: a file each, and one line here.

import { Problem } from '../../../shared/problems.ts'
import type { ProxySeen } from '../proxy.ts'
import { inPlace } from './in-place.ts'
import type { RollFacts, Strategy } from './strategy.ts'

const STRATEGIES: Readonly<Record<string, Strategy>> = {
  'in-place': inPlace,
}

/** The name of the strategy for a stack with this proxy. */
export function strategyFor(_proxy: ProxySeen): string {
  return 'in-place'
}

/** Throws `journal-unusable` for a strategy that only another version of the agent knows. */
export function strategyOf({ strategy }: Pick<RollFacts, 'strategy'>): Strategy {
  const found = STRATEGIES[strategy]
  if (found) return found
  throw new Problem(
    'journal-unusable',
    `the roll goes by the strategy ${strategy}, which this agent does not know`,
    {
      cure: 'run the version of ropeway that began it',
    },
  )
}
