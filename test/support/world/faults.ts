// What can go wrong at a call of a port: it fails before or after its effect, never answers, or the agent itself is gone by then.

import type { Ports } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'
import type { VirtualClock } from './clock.ts'

export type Method = {
  [P in keyof Ports]: `${P}.${Extract<keyof Ports[P], string>}`
}[Exclude<keyof Ports, 'clock'>]

export type FaultKind =
  | 'throw'
  | 'throw-after-effect'
  | 'hang'
  | 'hang-after-effect'
  /** Somebody cancels the deploy at this moment. */
  | 'cancel'
  /** The agent's process ends before the call, after it, or in the middle of what it started. */
  | 'crash'
  | 'crash-after-effect'
  | 'crash-midway'

export interface Fault {
  readonly method: Method
  /** The how many-th call of that method, from 1. */
  readonly nth: number
  readonly kind: FaultKind
  /** All later calls of the method meet it too. */
  readonly isPersistent?: boolean
}

export interface Call {
  readonly method: Method
  readonly nth: number
  readonly step: string
}

/** How long a child of the agent's still runs when the agent is killed in the middle of it. */
const MIDWAY_MS = [120, 260, 420]

/** One life of the agent: its ports, and whether it is still there to use them. */
export class Faults {
  readonly #clock: VirtualClock
  readonly #calls: Call[] = []
  readonly #counts = new Map<string, number>()
  readonly #faults: readonly Fault[]
  readonly #crashed = Promise.withResolvers<void>()
  isDead = false
  /** Where the roll is, for the list of calls. */
  step = 'preflight'
  wasMet = false
  onCancel: () => void = () => {}
  onCall: (text: string) => void = () => {}

  constructor(clock: VirtualClock, faults: readonly Fault[]) {
    this.#clock = clock
    this.#faults = faults
  }

  get calls(): readonly Call[] {
    return this.#calls
  }

  get crashed(): Promise<void> {
    return this.#crashed.promise
  }

  wrap(ports: Ports): Ports {
    const wrapped = Object.entries(ports).map(([port, methods]) => [port, this.#wrapPort(port, methods)])
    return Object.fromEntries(wrapped) as unknown as Ports
  }

  #wrapPort(port: string, methods: object): object {
    return new Proxy(methods, {
      get: (target, name) => {
        const method: unknown = Reflect.get(target, name)
        if (typeof method !== 'function') return method
        const bound = (...args: unknown[]): unknown => Reflect.apply(method, target, args)
        if (port === 'clock')
          return name === 'now'
            ? bound
            : (...args: unknown[]) => this.#alive(bound(...args) as Promise<unknown>)
        return (...args: unknown[]) => this.#call(`${port}.${String(name)}` as Method, bound, args)
      },
    })
  }

  async #call(method: Method, real: (...args: unknown[]) => unknown, args: unknown[]): Promise<unknown> {
    if (this.isDead) return await new Promise(() => {})
    const nth = (this.#counts.get(method) ?? 0) + 1
    this.#counts.set(method, nth)
    this.#calls.push({ method, nth, step: this.step })
    const fault = this.#faults.find(
      (one) => one.method === method && (one.nth === nth || (one.isPersistent === true && nth > one.nth)),
    )
    if (!fault) return await this.#alive(real(...args) as Promise<unknown>)
    this.wasMet = true
    this.onCall(`${fault.kind} at ${method} (call ${nth}, in ${this.step})`)
    return await this.#meet(fault, real, args)
  }

  async #meet(
    { kind, method, nth }: Fault,
    real: (...args: unknown[]) => unknown,
    args: unknown[],
  ): Promise<unknown> {
    if (kind === 'cancel') {
      this.onCancel()
      return await real(...args)
    }
    if (kind === 'crash') return await this.#die()
    if (kind === 'crash-midway') {
      const killed = new AbortController()
      this.#clock.after(MIDWAY_MS[nth % MIDWAY_MS.length] ?? 0, () => {
        killed.abort(new Error('killed'))
        void this.#die()
      })
      return await this.#alive(real(...args.slice(0, -1), killed.signal) as Promise<unknown>)
    }
    if (kind !== 'throw' && kind !== 'hang') await real(...args)
    if (kind === 'crash-after-effect') return await this.#die()
    const signal = args.findLast((arg) => arg instanceof AbortSignal)
    if (kind.startsWith('hang') && signal) return await aborted(signal)
    throw new Problem('engine-unreachable', `injected: ${method} fails`)
  }

  #die(): Promise<never> {
    this.isDead = true
    this.#crashed.resolve()
    this.#clock.wake()
    return new Promise(() => {})
  }

  // The dead hear no answer.
  async #alive<T>(answer: Promise<T>): Promise<T> {
    try {
      const value = await answer
      return this.isDead ? await this.#die() : value
    } catch (error) {
      if (this.isDead) return await this.#die()
      throw error
    }
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
