// A stack of which nothing matters but its compose file.

import type { StackConfig } from '../../../agent/config/config.ts'
import { STACK_DEFAULTS } from '../../support/stack-config.ts'

export function stackAt(compose: string): StackConfig {
  return { ...STACK_DEFAULTS, name: 'hello', compose: [compose], project: undefined, triggers: [] }
}
