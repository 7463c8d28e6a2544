// The runner: each step in turn, with its deadline, as events. It decides nothing; the first failure ends it.

import type { DeployEvent, Facts } from '../../shared/events.ts'
import { describeStep, type Step } from '../../shared/plan.ts'
import { Problem, reportOf } from '../../shared/problems.ts'
import type { Clock } from '../ports.ts'
import type { RollState } from './context.ts'
import { handlerOf } from './steps/index.ts'

export interface RunOptions {
  /** The index of the first step in the deploy's events. */
  readonly from: number
  readonly signal: AbortSignal
  emit(event: DeployEvent): void
  /** Called before a step is begun, with `begun` up to it. */
  onBegin?(begun: readonly Step[]): void
}

/** Runs the steps. Throws the first one's Problem; `begun` then ends with the step that failed. */
export async function runSteps(
  steps: readonly Step[],
  roll: RollState,
  begun: Step[],
  options: RunOptions,
): Promise<void> {
  const { clock } = roll.ports
  for (const [offset, step] of steps.entries()) {
    const index = options.from + offset
    options.signal.throwIfAborted()
    begun.push(step)
    options.onBegin?.(begun)
    options.emit({ type: 'step-started', step: index })
    const startedAt = clock.now()
    try {
      const facts = await runStep(step, roll, index, options)
      options.emit({ type: 'step-finished', step: index, ms: clock.now() - startedAt, facts })
    } catch (error) {
      options.emit({
        type: 'step-failed',
        step: index,
        ms: clock.now() - startedAt,
        problem: reportOf(error),
      })
      throw error
    }
  }
}

async function runStep<S extends Step>(
  step: S,
  roll: RollState,
  index: number,
  { emit, signal }: RunOptions,
) {
  const handler = handlerOf(step.kind)
  const report = (facts: Facts) => emit({ type: 'step-progress', step: index, facts })
  return await within(
    roll.ports.clock,
    handler.deadlineMs(step, roll),
    describeStep(step),
    signal,
    (inTime) => handler.do(step, { roll, report, signal: inTime }),
  )
}

/** Does the work with a signal that also aborts once it took longer than that, by the clock. */
export async function within<T>(
  clock: Clock,
  ms: number,
  what: string,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new AbortController()
  const done = new AbortController()
  const onTime = () => deadline.abort(new Problem('deadline', `${what} took longer than ${ms / 1000} s`))
  clock.sleep(ms, done.signal).then(onTime, () => {})
  try {
    return await work(AbortSignal.any([...(signal ? [signal] : []), deadline.signal]))
  } finally {
    done.abort()
  }
}
