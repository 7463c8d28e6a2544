// Virtual time. It stands still while anybody computes, and jumps to the next timer when everybody waits.

import type { Clock } from '../../../agent/ports.ts'

interface Timer {
  readonly at: number
  readonly run: () => void
}

/** Beyond it nothing in a test is still of interest: whatever waits then would wait for ever. */
const TIME_MS_MAX = 12 * 3600_000
/** So often is the world looked at while something goes on; where nothing changes, ever less. */
const TICK_MS = 5

export class VirtualClock implements Clock {
  readonly #startedAt = 1_700_000_000_000
  #now = this.#startedAt
  #setMs = 0
  #changedAt = this.#now
  #tickAt = this.#now
  readonly #timers: Timer[] = []
  #hasWoken = false
  /** Called every few milliseconds of virtual time. */
  onTick: () => void = () => {}

  now(): number {
    return this.#now + this.#setMs
  }

  /** Somebody sets the machine's clock. */
  set(byMs: number): void {
    this.#setMs += byMs
  }

  /** Milliseconds since the world began. */
  elapsed(): number {
    return this.#now - this.#startedAt
  }

  /** Runs something later; the world's own processes live by this. */
  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run }
    const index = this.#timers.findLastIndex(({ at }) => at <= timer.at)
    this.#timers.splice(index + 1, 0, timer)
    return () => {
      const at = this.#timers.indexOf(timer)
      if (at >= 0) this.#timers.splice(at, 1)
    }
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const onAbort = () => {
        cancel()
        reject(signal.reason)
      }
      const cancel = this.after(ms, () => {
        signal.removeEventListener('abort', onAbort)
        this.#hasWoken = true
        resolve()
      })
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** Something has changed: look closely again. */
  touch(): void {
    this.#changedAt = this.#now
    this.#tickAt = Math.min(this.#tickAt, this.#now + TICK_MS)
  }

  /** Somebody has been told something: let them think before time goes on. */
  wake(): void {
    this.#hasWoken = true
  }

  /** Runs until the work is done; rejects when it waits for something that can never come. */
  async run<T>(work: Promise<T>): Promise<T> {
    let isDone = false
    const done = () => (isDone = true)
    work.then(done, done)
    // Once a run only, for whoever waits outside of the world: a turn of the event loop costs more than most of what happens here.
    await new Promise((resume) => setImmediate(resume))
    for (;;) {
      // Ticks come after all microtasks: by then everybody has thought as far as they can.
      await new Promise<void>((resume) => process.nextTick(resume))
      if (isDone) return await work
      this.#advance()
    }
  }

  #advance(): void {
    this.#hasWoken = false
    while (!this.#hasWoken) {
      const timer = this.#timers.shift()
      if (!timer || this.elapsed() > TIME_MS_MAX)
        throw new Error('everybody waits, and nothing will ever happen')
      this.#tickUntil(timer.at)
      this.#now = Math.max(this.#now, timer.at)
      timer.run()
    }
  }

  #tickUntil(end: number): void {
    while (this.#tickAt <= end) {
      this.#now = Math.max(this.#now, this.#tickAt)
      this.onTick()
      this.#tickAt = this.#now + Math.max(TICK_MS, Math.floor((this.#now - this.#changedAt) / 20))
    }
  }
}
