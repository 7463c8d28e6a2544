// One roll on its way: what it is about, how far it has come, and who is told. It alone knows that, and keeps it for a recovery after a crash.

import type { Step } from '../../shared/plan.ts'
import type { RollState } from './context.ts'
import { writeFacts, writeNote, writeRecord, type Point, type Progress } from './record.ts'
import type { RollContext } from './roll-context.ts'
import { runSteps } from './run-steps.ts'

/** When steps are to end. */
export interface Limits {
  /** Ends the steps at the next safe point. */
  readonly signal: AbortSignal
  /** Ends the steps at once: the time is over. */
  readonly deadline: AbortSignal
}

export interface CourseOptions {
  /** How often the roll was begun before. */
  readonly attempt: number
  readonly context: RollContext
  /** When the deploy began, in milliseconds by `clock.elapsed()`. */
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

  /** The whole record as text. */
  get record(): string {
    return writeRecord({ attempt: this.attempt, progress: this.progress })
  }

  /** Milliseconds since the deploy began. */
  get ms(): number {
    return this.state.ports.clock.elapsed() - this.#startedAt
  }

  /** Keeps the facts, once. Throws where they cannot be kept. */
  keepFacts(): void {
    this.context.remember(writeNote({ attempt: this.attempt }), writeFacts(this.progress))
  }

  /** Keeps the note. Throws where it cannot be kept: then the roll has not come so far. */
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

  /** As `keep`, for when going on matters more than the note. The older note names every step that was begun, and each may be repeated. */
  keepIfPossible(point: Partial<Point>): void {
    try {
      this.keep(point)
    } catch {
      this.#progress = { ...this.#progress, ...point }
    }
  }

  /** Numbers steps that the deploy's events are about to name. Returns the index of the first. */
  announce(steps: readonly Step[]): number {
    const from = this.#progress.nextStep
    this.#progress = { ...this.#progress, nextStep: from + steps.length }
    return from
  }

  /**
   * Runs steps that were announced; `from` is the index of the first. `onProgress` is told how many were begun: before each step, and after a command
   * has ended. Where it throws, the step is not begun. Throws the Problem of the first step that fails.
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
