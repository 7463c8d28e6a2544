// The deploys that run or are recovered, and how each is told to stop because somebody cancelled it.

import { Problem } from '../shared/problems.ts'

interface Running {
  readonly id: string
  readonly stack: string
  readonly cancel: AbortController
  by: string | undefined
}

export class RunningDeploys {
  readonly #running = new Map<string, Running>()

  /** Does a deploy's work; its signal aborts when somebody cancels the deploy meanwhile. */
  async during(
    { id, stack }: { readonly id: string; readonly stack: string },
    work: (cancelled: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const cancel = new AbortController()
    this.#running.set(id, { id, stack, cancel, by: undefined })
    try {
      await work(cancel.signal)
    } finally {
      this.#running.delete(id)
    }
  }

  find(id: string): { readonly id: string; readonly stack: string } | undefined {
    return this.#running.get(id)
  }

  cancel(id: string, by: string): void {
    const running = this.#running.get(id)
    if (!running || running.by !== undefined) return
    running.by = by
    running.cancel.abort(new Problem('cancelled', `cancelled by ${by}`))
  }

  /** Who has cancelled it. */
  cancelledBy(id: string): string | undefined {
    return this.#running.get(id)?.by
  }
}
