// One roll on its way: what it is about, how far it has come, and whom that is told. The one place that knows it, and keeps it for whoever
// goes on after a crash.

import type { Step } from '../../shared/plan.ts'
import type { RollState } from './context.ts'
import { writeFacts, writeNote, writeRecord, type Point, type Progress } from './record.ts'
import type { RollContext } from './roll-context.ts'
import { runSteps } from './run-steps.ts'

/** When steps are to end. */
export interface Limits {
  /** At the next safe point. */
  readonly signal: AbortSignal
  /** At once: the time is over. */
  readonly deadline: AbortSignal
}

export interface CourseOptions {
  /** How often the roll was begun before. */
  readonly attempt: number
  readonly context: RollContext
  /** By what has elapsed, when the deploy's time began to count. */
  readonly startedAt: number
}

export class Course {
  readonly state: RollState
  readonly context: RollContext
  readonly attempt: number
  readonly #startedAt: number
  #progress: Omit<Progress, 'images'>

  constructor(
    state: RollState,
    progress: Omit<Progress, 'images'>,
    { attempt, context, startedAt }: CourseOptions,
  ) {
    this.state = state
    this.context = context
    this.attempt = attempt
    this.#startedAt = startedAt
    this.#progress = progress
  }

  get progress(): Progress {
    return { ...this.#progress, images: Object.fromEntries(this.state.images) }
  }

  /** All of it as text. */
  get record(): string {
    return writeRecord({ attempt: this.attempt, progress: this.progress })
  }

  /** Milliseconds since the deploy's time began to count. */
  get ms(): number {
    return this.state.ports.clock.elapsed() - this.#startedAt
  }

  /** Keeps what the roll is about, once. Throws where that cannot be kept. */
  keepFacts(): void {
    this.context.remember(writeNote({ attempt: this.attempt }), writeFacts(this.progress))
  }

  /** Keeps how far it has come. Throws where that cannot be kept: then it has not come so far. */
  keep(point: Partial<Point>): void {
    const before = this.#progress
    this.#progress = { ...before, ...point }
    try {
      this.context.remember(writeNote({ attempt: this.attempt, progress: this.progress }))
    } catch (error) {
      this.#progress = before
      throw error
    }
  }

  /** As `keep`, where to go on matters more than the note: the one that is there names every step that was begun, and each may be repeated. */
  keepIfPossible(point: Partial<Point>): void {
    try {
      this.keep(point)
    } catch {
      this.#progress = { ...this.#progress, ...point }
    }
  }

  /** Takes note that the deploy's events are about to name these steps. The index of the first. */
  announce(steps: readonly Step[]): number {
    const from = this.#progress.nextStep
    this.#progress = { ...this.#progress, nextStep: from + steps.length }
    return from
  }

  /**
   * Runs steps that were announced, `from` the index of the first. `onProgress` is called before a step is begun, and after a command has ended,
   * with how many were begun; where it throws, the step is not begun. Throws the first one's Problem.
   */
  async run(
    steps: readonly Step[],
    from: number,
    limits: Limits,
    onProgress?: (begun: number, isLastDone: boolean) => void,
  ): Promise<void> {
    const { emit } = this.context
    await runSteps(steps, this.state, { from, ...limits, emit, ...(onProgress ? { onProgress } : {}) })
  }
}
