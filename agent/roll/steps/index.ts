// The map from a step's kind to its handler, which says what the step does and how that is undone. A new kind without either does not compile.

import type { StepKind } from '../../../shared/plan.ts'
import { awaitHealthy } from './await-healthy.ts'
import { command } from './command.ts'
import { drain } from './drain.ts'
import { pull } from './pull.ts'
import { soak } from './soak.ts'
import type { StepHandler } from './step.ts'
import { switchRoute } from './switch.ts'
import { update } from './update.ts'
import { verify } from './verify.ts'

const handlers = {
  pull,
  command,
  switch: switchRoute,
  drain,
  update,
  'await-healthy': awaitHealthy,
  soak,
  verify,
} satisfies { [K in StepKind]: StepHandler<K> }

export function handlerOf<K extends StepKind>(kind: K): StepHandler<K> {
  return handlers[kind] as unknown as StepHandler<K>
}
