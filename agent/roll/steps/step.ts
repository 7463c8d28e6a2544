// What every kind of step has: what it does, and how long it may take.

import type { Facts } from '../../../shared/events.ts'
import type { Step, StepKind } from '../../../shared/plan.ts'
import type { RollState } from '../context.ts'

export interface StepContext {
  readonly roll: RollState
  report(facts: Facts): void
  readonly signal: AbortSignal
}

export interface StepHandler<K extends StepKind> {
  /** Safe to repeat: a step that was half done before a crash or a failure is done again. Returns what it found out. */
  do(step: Extract<Step, { kind: K }>, context: StepContext): Promise<Facts>
  /**
   * How what it does is undone. `by-plan`: the strategy plans the way back. `nothing`: it changes nothing of the stack. `never`: what a command
   * has done is its author's affair.
   */
  readonly undone: 'by-plan' | 'nothing' | 'never'
  /** Whether a cancel waits until the step is done: broken off, it would leave more to clear up. */
  readonly isFinishedFirst?: boolean
  /** The step has failed if it took longer. */
  deadlineMs(step: Extract<Step, { kind: K }>, roll: RollState): number
}
