// What can go wrong at a call of a port: it fails before or after its effect, never answers, or the agent itself is gone by then.

import { withDrivers, type DrivenPorts } from '../../../agent/drivers.ts'
import type { HostPorts } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'
import type { VirtualClock } from './clock.ts'

export type Method =
  | { [P in keyof HostPorts]: `${P}.${Extract<keyof HostPorts[P], string>}` }[Exclude<
      keyof HostPorts,
      'clock'
    >]
  /** What the agent keeps on its own disk: a deploy's events and notes, releases, and that a stack is stuck. */
  | `journal.${'emit' | 'remember' | 'release' | 'forget' | 'stick' | 'clear'}`

export type FaultKind =
  | 'throw'
  | 'throw-after-effect'
  | 'hang'
  | 'hang-after-effect'
  /** Somebody cancels the deploy at this moment. */
  | 'cancel'
  /** The agent's process ends before the call, after it, or in the middle of what it started: with its child, or alone. */
  | 'crash'
  | 'crash-after-effect'
  | 'crash-midway'
  | 'crash-alone'

export interface Fault {
  readonly method: Method | 'any'
  /** The how many-th call of that method, from 1; of any: the first from there on that can meet such a fault. */
  readonly nth: number
  readonly kind: FaultKind
  /** All later calls of the method meet it too. */
  readonly isPersistent?: boolean
}

/** A fault that came to be, and in which step. */
export interface MetFault {
  readonly fault: Fault
  readonly call: Call
  /** Whether the roll was on its way back by then. */
  readonly isBack: boolean
}

export interface Call {
  readonly method: Method
  readonly nth: number
  readonly step: string
}

/** The calls that change something: only for these is a failure after the effect another thing than one before it. */
const EFFECTS: readonly Method[] = [
  'files.write',
  'compose.up',
  'engine.hangUp',
  'engine.pull',
  'engine.exec',
  'journal.emit',
  'journal.remember',
  'journal.release',
]

/** Whether a call can meet this fault, and it is another one than its neighbours. */
export function isFaultOf(method: Method, kind: FaultKind): boolean {
  const isDisk = /^(files|journal)\./.test(method)
  if (kind === 'crash-midway') return method === 'compose.up' || method === 'files.write'
  if (kind === 'crash-alone') return method === 'compose.up'
  if (kind.startsWith('hang') && isDisk) return false
  // An event that cannot be written now waits in the agent's memory: nobody is told.
  if (kind.startsWith('throw') && method === 'journal.emit') return false
  return EFFECTS.includes(method) || !kind.endsWith('-after-effect')
}

/** How long a child of the agent's still runs when the agent is killed in the middle of it. */
const MIDWAY_MS = [120, 260, 420]

/** How much of what has changed in a file is written by then. */
const MIDWAY_SHARES = [0, 0.2, 0.7]

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
  isGoingBack = false
  readonly met: MetFault[] = []
  onCancel: () => void = () => {}
  onCall: (text: string) => void = () => {}
  /** Something may have come of a call by now. */
  onEffect: (method: Method) => void = () => {}

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

  wrap({ proxies: _proxies, runtimes: _runtimes, ...host }: DrivenPorts): DrivenPorts {
    const wrapped = Object.entries(host).map(([port, methods]) => [port, this.#wrapPort(port, methods)])
    return withDrivers(Object.fromEntries(wrapped) as unknown as HostPorts)
  }

  /** A write of the agent's own disk, which is over when the call returns. */
  write<T>(method: Method, real: () => T): T | undefined {
    if (this.isDead) return undefined
    const fault = this.#find(method)?.fault
    if (fault?.kind === 'cancel') this.onCancel()
    if (fault?.kind === 'throw') throw unwritable(method)
    if (fault?.kind === 'crash') return this.#end()
    const value = real()
    this.onEffect(method)
    if (fault?.kind === 'throw-after-effect') throw unwritable(method)
    return fault?.kind.startsWith('crash') ? this.#end() : value
  }

  #wrapPort(port: string, methods: object): object {
    const wrapped = new Map<string, unknown>()
    return new Proxy(methods, {
      get: (target, name) => {
        const key = String(name)
        if (!wrapped.has(key)) wrapped.set(key, this.#wrapMethod(port, key, target))
        return wrapped.get(key)
      },
    })
  }

  #wrapMethod(port: string, name: string, target: object): unknown {
    const method: unknown = Reflect.get(target, name)
    if (typeof method !== 'function') return method
    const bound = (...args: unknown[]): unknown => Reflect.apply(method, target, args)
    if (port !== 'clock') return (...args: unknown[]) => this.#call(`${port}.${name}` as Method, bound, args)
    if (name === 'now' || name === 'elapsed') return bound
    return (...args: unknown[]) => this.#alive(bound(...args) as Promise<unknown>)
  }

  async #call(method: Method, real: (...args: unknown[]) => unknown, args: unknown[]): Promise<unknown> {
    if (this.isDead) return await new Promise(() => {})
    const effect = async (...given: unknown[]) => {
      try {
        return await real(...given)
      } finally {
        this.onEffect(method)
      }
    }
    const found = this.#find(method)
    return found
      ? await this.#meet(found.fault, found.call, effect, args)
      : await this.#alive(effect(...args))
  }

  #find(method: Method): { fault: Fault; call: Call } | undefined {
    const nth = (this.#counts.get(method) ?? 0) + 1
    this.#counts.set(method, nth)
    const call = { method, nth, step: this.step }
    this.#calls.push(call)
    const fault = this.#faults.find((one) => this.#isMet(one, call))
    if (!fault) return undefined
    this.met.push({ fault, call, isBack: this.isGoingBack })
    if (fault.kind === 'cancel') this.isGoingBack = true
    this.onCall(`${fault.kind} at ${method} (call ${nth}, in ${this.step})`)
    return { fault, call }
  }

  #isMet(fault: Fault, { method, nth }: Call): boolean {
    const hadIt = this.met.some((met) => met.fault === fault)
    if (fault.method === 'any')
      return !hadIt && this.#calls.length >= fault.nth && isFaultOf(method, fault.kind)
    if (fault.method !== method || !isFaultOf(method, fault.kind)) return false
    return fault.nth === nth || (fault.isPersistent === true && nth > fault.nth)
  }

  async #meet(
    { kind }: Fault,
    { method, nth }: Call,
    real: (...args: unknown[]) => Promise<unknown>,
    args: unknown[],
  ): Promise<unknown> {
    if (kind === 'cancel') {
      this.onCancel()
      return await real(...args)
    }
    if (kind === 'crash') return await this.#die()
    if (kind === 'crash-midway' && method === 'files.write') {
      const [path, text, how, encoding] = args
      await real(path, text, how, encoding, MIDWAY_SHARES[nth % MIDWAY_SHARES.length])
      return await this.#die()
    }
    if (kind === 'crash-midway' || kind === 'crash-alone') {
      const killed = new AbortController()
      this.#clock.after(MIDWAY_MS[nth % MIDWAY_MS.length] ?? 0, () => {
        if (kind === 'crash-midway') killed.abort(new Error('killed'))
        void this.#die()
      })
      return await this.#alive(real(...args.map((arg) => (arg instanceof AbortSignal ? killed.signal : arg))))
    }
    if (kind !== 'throw' && kind !== 'hang') await real(...args)
    if (kind === 'crash-after-effect') return await this.#die()
    const signal = args.findLast((arg) => arg instanceof AbortSignal)
    if (kind.startsWith('hang') && signal) return await aborted(signal)
    throw new Problem('engine-unreachable', `injected: ${method} fails`)
  }

  #die(): Promise<never> {
    this.#end()
    return new Promise(() => {})
  }

  #end(): undefined {
    this.isDead = true
    this.#crashed.resolve()
    this.#clock.wake()
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

function unwritable(method: Method): Problem {
  return new Problem('journal-unusable', `injected: ${method} fails`)
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
