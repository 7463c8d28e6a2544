// One deploy at a time in each lane; different lanes side by side. Of those of a stack that wait, what a newer one covers is not worth
// running; the others run in the order in which they came.

import { supersededBy, type Wish } from '../shared/supersede.ts'

export interface Queued extends Wish {
  readonly id: string
  readonly stack: string
  /** Stacks of one lane cannot be rolled at the same time, for they share a lock. */
  readonly lane: string
}

export interface QueueOptions<T extends Queued> {
  /** Does the work; must not reject. */
  readonly run: (deploy: T) => Promise<void>
  /** A waiting deploy that will not run, because a newer one of its stack has come. */
  readonly onSuperseded: (deploy: T, by: T) => void
}

interface Lane<T> {
  waiting: readonly T[]
  done: Promise<void>
}

export class Queue<T extends Queued> {
  readonly #options: QueueOptions<T>
  readonly #lanes = new Map<string, Lane<T>>()
  #isStopped = false

  constructor(options: QueueOptions<T>) {
    this.#options = options
  }

  add(deploy: T): void {
    if (this.#isStopped) return
    const lane = this.#lanes.get(deploy.lane)
    if (!lane) {
      const started: Lane<T> = { waiting: [deploy], done: Promise.resolve() }
      this.#lanes.set(deploy.lane, started)
      started.done = this.#work(deploy.lane, started)
      return
    }
    const { waiting } = lane
    const ofStack = waiting.filter(({ stack }) => stack === deploy.stack)
    const superseded = supersededBy(deploy, ofStack)
    lane.waiting = [...waiting.filter((older) => !superseded.includes(older)), deploy]
    for (const older of superseded) this.#options.onSuperseded(older, deploy)
  }

  /** One that waits. */
  find(id: string): T | undefined {
    for (const { waiting } of this.#lanes.values()) {
      const found = waiting.find((deploy) => deploy.id === id)
      if (found) return found
    }
    return undefined
  }

  /** Takes out one that waits; whether it did. */
  remove(id: string): boolean {
    const found = this.find(id)
    const lane = found && this.#lanes.get(found.lane)
    if (!lane) return false
    lane.waiting = lane.waiting.filter((deploy) => deploy !== found)
    return true
  }

  /** Starts nothing more; resolves when what runs has ended. What waits stays in the journal for the next start. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all([...this.#lanes.values()].map(({ done }) => done))
  }

  async #work(name: string, lane: Lane<T>): Promise<void> {
    for (;;) {
      const [deploy, ...rest] = lane.waiting
      if (!deploy || this.#isStopped) break
      lane.waiting = rest
      await this.#options.run(deploy)
    }
    this.#lanes.delete(name)
  }
}
