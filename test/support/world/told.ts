// What the events of a deploy say, checked as they come: each step has its place in the plan, and one runs at a time.

import type { DeployEvent } from '../../../shared/events.ts'
import type { Step } from '../../../shared/plan.ts'
import { describeProblem } from '../../../shared/words.ts'

/** The steps as a viewer puts them together from events; throws for an event that fits none. */
export class StepsTold {
  readonly steps: Step[]
  #expected = 0
  #running: number | undefined
  now = 'preflight'

  constructor(before: readonly Step[]) {
    this.steps = [...before]
  }

  add(event: DeployEvent): void {
    if (event.type === 'planned' || event.type === 'undoing') {
      if (this.#running !== undefined) throw new Error(`${event.type} while a step runs`)
      this.#expected = this.steps.length
      this.steps.push(...(event.type === 'planned' ? event.plan.steps : event.steps))
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
    } else if (['succeeded', 'failed', 'stuck'].includes(event.type)) {
      if (this.#running !== undefined) throw new Error(`${event.type} while a step runs`)
      this.now = 'the end'
    }
  }
}

export function wordsOf(event: DeployEvent, now: string): string {
  const problem = 'problem' in event ? `: ${describeProblem(event.problem)}` : ''
  const undo = event.type === 'stuck' ? ` UNDO: ${describeProblem(event.undo)}` : ''
  return `[${now}] ${event.type}${problem}${undo}`
}
