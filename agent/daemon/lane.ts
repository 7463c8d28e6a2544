// What shares a lock, and so is deployed one after the other: its requests are verified in the order in which they came, what was
// interrupted is recovered first, then whatever waits runs in turn, unless a newer request covers it, it has expired or somebody cancels it.

import { Problem } from '../../shared/problems.ts'
import { supersededBy, type Supersedable } from '../../shared/supersede.ts'
import { lockPath } from '../adapters/locks.ts'
import type { StackConfig } from '../config/config.ts'

export interface Queued extends Supersedable {
  readonly id: string
  readonly stack: string
  /** When it must not begin any more: milliseconds since 1970. */
  readonly expiresAt: number
}

export interface LaneOptions<T extends Queued> {
  /** Does the work of one deploy; must not reject. `cancelled` aborts with a CancelledBy. */
  readonly run: (deploy: T, cancelled: AbortSignal) => Promise<void>
  /** A waiting deploy that will not run, because a newer one of its stack has come. */
  readonly onSuperseded: (deploy: T, by: T) => void
  /** One whose turn came too late. */
  readonly onExpired: (deploy: T) => void
  /** One that was taken out while it waited. */
  readonly onCancelled: (deploy: T, by: string) => void
}

/** Why a deploy that runs is to stop: somebody wants it. */
export class CancelledBy extends Problem {
  readonly by: string

  constructor(by: string) {
    super('cancelled', `cancelled by ${by}`)
    this.by = by
  }
}

interface Running {
  readonly id: string
  readonly stack: string
  readonly cancel: AbortController
}

export class Lane<T extends Queued> {
  readonly #options: LaneOptions<T>
  /** The last that is verified, of each stack and of each deploy. */
  readonly #verifying = new Map<string, Promise<void>>()
  readonly #running = new Map<string, Running>()
  #waiting: readonly T[] = []
  #recovered: Promise<void> | undefined
  #isWorking = false
  #worked: Promise<void> | undefined
  #isStopped = false

  constructor(options: LaneOptions<T>) {
    this.#options = options
  }

  /**
   * Does what concerns a frame after all that came before it for the same stack or deploy: a newer request cannot overtake an older one of its
   * stack, nor a cancel its deploy, and an issuer that does not answer holds up one stack alone. `work` must not reject.
   */
  async verify(
    subject: { readonly stack?: string; readonly id: string },
    work: () => Promise<void>,
  ): Promise<void> {
    const keys = [`deploy ${subject.id}`, ...(subject.stack === undefined ? [] : [`stack ${subject.stack}`])]
    const done = Promise.all(keys.map((key) => this.#verifying.get(key))).then(work)
    for (const key of keys) this.#verifying.set(key, done)
    await done
    for (const key of keys) if (this.#verifying.get(key) === done) this.#verifying.delete(key)
  }

  /** Whether a deploy is here: being verified, waiting or running. */
  has(id: string): boolean {
    return this.#verifying.has(`deploy ${id}`) || this.find(id) !== undefined
  }

  /** Recovers an interrupted deploy, before anything that waits runs. `work` must not reject. */
  recover(
    deploy: { readonly id: string; readonly stack: string },
    work: (cancelled: AbortSignal) => Promise<void>,
  ): void {
    const before = this.#recovered
    const done = this.#during(deploy, async (cancelled) => {
      await before
      await work(cancelled)
      if (this.#recovered === done) this.#recovered = undefined
    })
    this.#recovered = done
  }

  add(deploy: T): void {
    if (this.#isStopped) return
    const ofStack = this.#waiting.filter(({ stack }) => stack === deploy.stack)
    const superseded = supersededBy(deploy, ofStack)
    this.#waiting = [...this.#waiting.filter((older) => !superseded.includes(older)), deploy]
    for (const older of superseded) this.#options.onSuperseded(older, deploy)
    if (this.#isWorking) return
    this.#isWorking = true
    this.#worked = this.#work()
  }

  /** One that waits or runs. */
  find(id: string): { readonly id: string; readonly stack: string } | undefined {
    return this.#waiting.find((deploy) => deploy.id === id) ?? this.#running.get(id)
  }

  /** Takes out one that waits; tells one that runs to stop. Who cancels it first is named. */
  cancel(id: string, by: string): void {
    const waiting = this.#waiting.find((deploy) => deploy.id === id)
    if (!waiting) return this.#running.get(id)?.cancel.abort(new CancelledBy(by))
    this.#waiting = this.#waiting.filter((deploy) => deploy !== waiting)
    this.#options.onCancelled(waiting, by)
  }

  /** Starts nothing more; resolves when what runs or is recovered has ended. What waits stays in the journal for the next start. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all([this.#recovered, this.#worked])
  }

  async #work(): Promise<void> {
    if (this.#recovered) await this.#recovered
    for (;;) {
      const [deploy, ...rest] = this.#waiting
      if (!deploy || this.#isStopped) break
      this.#waiting = rest
      if (deploy.expiresAt < Date.now()) this.#options.onExpired(deploy)
      else await this.#during(deploy, (cancelled) => this.#options.run(deploy, cancelled))
    }
    this.#isWorking = false
  }

  async #during(
    { id, stack }: { readonly id: string; readonly stack: string },
    work: (cancelled: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const cancel = new AbortController()
    this.#running.set(id, { id, stack, cancel })
    await work(cancel.signal)
    this.#running.delete(id)
  }
}

/** All lanes of a host. */
export class Lanes<T extends Queued> {
  readonly #options: LaneOptions<T>
  readonly #ofStacks = new Map<string, Lane<T>>()

  constructor(stacks: readonly StackConfig[], options: LaneOptions<T>) {
    this.#options = options
    const ofLocks = new Map<string, Lane<T>>()
    for (const stack of stacks) {
      const lock = lockPath(stack)
      const lane = ofLocks.get(lock) ?? new Lane(options)
      ofLocks.set(lock, lane)
      this.#ofStacks.set(stack.name, lane)
    }
  }

  /** The lane of a stack of ropeway.yml. */
  of(stack: string): Lane<T> | undefined {
    return this.#ofStacks.get(stack)
  }

  /** That of a stack which ropeway.yml may have no more. */
  orNew(stack: string): Lane<T> {
    const lane = this.#ofStacks.get(stack) ?? new Lane(this.#options)
    this.#ofStacks.set(stack, lane)
    return lane
  }

  /** The lane that has a deploy. */
  with(id: string): Lane<T> | undefined {
    return this.#all().find((lane) => lane.has(id))
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all().map((lane) => lane.stop()))
  }

  #all(): Lane<T>[] {
    return [...new Set(this.#ofStacks.values())]
  }
}
