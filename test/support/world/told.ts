// What the events of a deploy say, checked as they come: each step has its place in the plan, and one runs at a time.

import type { DeployEvent } from '../../../shared/events.ts'
import type { Step } from '../../../shared/plan.ts'
import { describeProblem } from '../../../shared/words.ts'

/** The steps as a viewer puts them together from events; throws for an event that fits none. */
export class StepsTold {
  readonly steps: Step[]
  #expected = 0
  #running: number | undefined
  /** Where the roll is. */
  now = 'preflight'
  isGoingBack = false

  constructor(before: readonly Step[]) {
    this.steps = [...before]
  }

  add(event: DeployEvent): void {
    if (event.type === 'planned' || event.type === 'undoing' || event.type === 'resuming') {
      if (this.#running !== undefined) throw new Error(`${event.type} while a step runs`)
      if (event.type === 'planned') this.steps.length = 0
      else this.steps.length = Math.min(this.steps.length, event.from ?? this.steps.length)
      this.#expected = this.steps.length
      this.steps.push(...(event.type === 'planned' ? event.plan.steps : event.steps))
      if (event.type !== 'resuming') this.isGoingBack = event.type === 'undoing'
    } else if (event.type === 'step-started') {
      if (event.step !== this.#expected || !this.steps[event.step] || this.#running !== undefined)
        throw new Error(`step ${event.step} started instead of ${this.#expected} of ${this.steps.length}`)
      this.#running = event.step
      this.now = `${event.step} ${this.steps[event.step]?.kind}`
      this.#expected += 1
    } else if ('step' in event) {
      if (event.step !== this.#running)
        throw new Error(`${event.type} of step ${event.step}, not ${this.#running}`)
      if (event.type !== 'step-progress') this.#running = undefined
      // Whatever happens from here on until it is said happens on the way back.
      if (event.type === 'step-failed') this.isGoingBack = true
    } else if (['succeeded', 'failed', 'cancelled', 'stuck'].includes(event.type)) {
      if (this.#running !== undefined) throw new Error(`${event.type} while a step runs`)
      this.now = 'the end'
    }
  }
}

export function wordsOf(event: DeployEvent, now: string): string {
  const problem = 'problem' in event ? `: ${describeProblem(event.problem)}` : ''
  const way = event.type === 'recovering' ? ` ${event.way}` : ''
  const undo = event.type === 'stuck' ? ` UNDO: ${describeProblem(event.undo)}` : ''
  return `[${now}] ${event.type}${way}${problem}${undo}`
}
