// The host's lock of a stack, in memory: it is held by a live agent, or by somebody else.

import type { StackConfig } from '../../../agent/config/config.ts'
import type { Clock, Locks } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'

export class FakeLocks implements Locks {
  readonly #clock: Pick<Clock, 'now'>
  #holder: string | undefined
  #since = 0

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  async take({ name }: Pick<StackConfig, 'name'>, holder: string): Promise<{ release(): Promise<void> }> {
    if (this.#holder !== undefined)
      throw new Problem(
        'stack-busy',
        `process 1 (${this.#holder}) has rolled stack ${name} since ${new Date(this.#since).toISOString().slice(11, 19)}Z`,
      )
    this.hold(holder)
    return { release: async () => this.release(holder) }
  }

  /** Another process of the host has it. */
  hold(holder: string): void {
    this.#holder = holder
    this.#since = this.#clock.now()
  }

  release(holder: string): void {
    if (this.#holder === holder) this.#holder = undefined
  }

  /** Whoever had it has ended. */
  free(): void {
    this.#holder = undefined
  }

  get holder(): string | undefined {
    return this.#holder
  }
}
