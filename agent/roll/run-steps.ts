// The runner: each step in turn, with its deadline, as events. It decides nothing; the first failure ends it.

import type { DeployEvent, Facts } from '../../shared/events.ts'
import { describeStep, type Step } from '../../shared/plan.ts'
import { Problem, reportOf } from '../../shared/problems.ts'
import type { Clock } from '../ports.ts'
import type { RollState } from './context.ts'
import { handlerOf } from './steps/index.ts'

/** How long a step that is finished first may go on after a cancel. It takes seconds; one that takes this long hangs, and is ended like any other. */
const SAFE_POINT_MS_MAX = 30_000

export interface RunOptions {
  /** The index of the first step in the deploy's events. */
  readonly from: number
  /** Ends the roll at the next safe point. */
  readonly signal: AbortSignal
  /** Ends the roll at once: its time is over. */
  readonly deadline: AbortSignal
  emit(event: DeployEvent): void
  /** Told how many steps were begun: before each step, and after a command has ended. Where it throws, the step is not begun. */
  onProgress?(begun: number, isLastDone: boolean): void
}

/** Runs the steps. Throws the first one's Problem. */
export async function runSteps(steps: readonly Step[], roll: RollState, options: RunOptions): Promise<void> {
  const { clock } = roll.ports
  for (const [offset, step] of steps.entries()) {
    const index = options.from + offset
    options.signal.throwIfAborted()
    options.deadline.throwIfAborted()
    options.onProgress?.(offset + 1, false)
    options.emit({ type: 'step-started', step: index })
    const startedAt = clock.elapsed()
    try {
      const facts = await runStep(step, roll, index, options)
      options.emit({ type: 'step-finished', step: index, ms: clock.elapsed() - startedAt, facts })
    } catch (error) {
      options.emit({
        type: 'step-failed',
        step: index,
        ms: clock.elapsed() - startedAt,
        problem: reportOf(error),
      })
      throw error
    }
    // Only a command needs a note of its end: any other step may be repeated.
    if (step.kind === 'command') options.onProgress?.(offset + 1, true)
  }
}

async function runStep<S extends Step>(
  step: S,
  roll: RollState,
  index: number,
  { emit, signal, deadline }: RunOptions,
) {
  const { clock } = roll.ports
  const handler = handlerOf(step.kind)
  const report = (facts: Facts) => emit({ type: 'step-progress', step: index, facts })
  const run = (inTime: AbortSignal) => handler.do(step, { roll, report, signal: inTime })
  const ms = handler.deadlineMs(step, roll)
  const what = describeStep(step)
  if (!handler.isFinishedFirst) return await within(clock, ms, what, AbortSignal.any([signal, deadline]), run)
  return await untilSafePoint(clock, signal, async (late) =>
    within(clock, ms, what, AbortSignal.any([deadline, late]), run),
  )
}

// Lets the work go on for a while after a cancel: half done, it would leave more to clear up.
async function untilSafePoint<T>(
  clock: Clock,
  signal: AbortSignal,
  work: (late: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController()
  const done = new AbortController()
  const onAbort = () => {
    clock.sleep(SAFE_POINT_MS_MAX, done.signal).then(
      () => late.abort(signal.reason),
      () => {},
    )
  }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await work(late.signal)
  } finally {
    signal.removeEventListener('abort', onAbort)
    done.abort()
  }
}

/** Does the work with a signal that also aborts after `ms` milliseconds, with the problem `deadline`. */
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
