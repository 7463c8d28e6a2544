// One deploy at a time for each stack; different stacks side by side. Of those that wait, only the newest is worth running.

export interface Queued {
  readonly id: string
  readonly stack: string
}

export interface QueueOptions<T extends Queued> {
  /** Does the work; must not reject. */
  readonly run: (deploy: T) => Promise<void>
  /** A waiting deploy that will not run, because a newer one of its stack has come. */
  readonly onSuperseded: (deploy: T, by: T) => void
}

export class Queue<T extends Queued> {
  readonly #options: QueueOptions<T>
  readonly #lanes = new Map<string, { waiting: T | undefined; done: Promise<void> }>()
  #isStopped = false

  constructor(options: QueueOptions<T>) {
    this.#options = options
  }

  add(deploy: T): void {
    if (this.#isStopped) return
    const lane = this.#lanes.get(deploy.stack)
    if (!lane) {
      const started = { waiting: deploy as T | undefined, done: Promise.resolve() }
      this.#lanes.set(deploy.stack, started)
      started.done = this.#work(deploy.stack, started)
      return
    }
    const before = lane.waiting
    lane.waiting = deploy
    if (before) this.#options.onSuperseded(before, deploy)
  }

  /** Starts nothing more; resolves when what runs has ended. What waits stays in the journal for the next start. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all([...this.#lanes.values()].map(({ done }) => done))
  }

  async #work(stack: string, lane: { waiting: T | undefined }): Promise<void> {
    while (lane.waiting && !this.#isStopped) {
      const deploy = lane.waiting
      lane.waiting = undefined
      await this.#options.run(deploy)
    }
    this.#lanes.delete(stack)
  }
}
