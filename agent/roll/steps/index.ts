// The map from a step's kind to what it does. What reverses a step is data too (shared/plan.ts), so a new kind without an undo
// or without a handler does not compile.

import type { Facts } from '../../../shared/events.ts'
import type { Step, StepKind } from '../../../shared/plan.ts'
import type { RollState } from '../context.ts'
import { awaitHealthy } from './await-healthy.ts'
import { command } from './command.ts'
import { drain } from './drain.ts'
import { pull } from './pull.ts'
import { soak } from './soak.ts'
import { switchUpstream } from './switch.ts'
import { update } from './update.ts'
import { verify } from './verify.ts'

export interface StepContext {
  readonly roll: RollState
  report(facts: Facts): void
  readonly signal: AbortSignal
}

export interface StepHandler<K extends StepKind> {
  /** Safe to repeat: a step that was half done before a crash or a failure is done again. Returns what it found out. */
  do(step: Extract<Step, { kind: K }>, context: StepContext): Promise<Facts>
  /** Whether a cancel waits until the step is done: broken off, it would leave more to clear up. */
  readonly isFinishedFirst?: boolean
  /** The step has failed if it took longer. */
  deadlineMs(step: Extract<Step, { kind: K }>, roll: RollState): number
}

const handlers = {
  pull,
  command,
  switch: switchUpstream,
  drain,
  update,
  'await-healthy': awaitHealthy,
  soak,
  verify,
} satisfies { [K in StepKind]: StepHandler<K> }

export function handlerOf<K extends StepKind>(kind: K): StepHandler<K> {
  return handlers[kind] as unknown as StepHandler<K>
}
