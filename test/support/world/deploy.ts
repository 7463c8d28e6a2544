// One deploy as the agent has it: what its journal keeps, over all the lives of the agent's process that work on it.

import type { StackConfig } from '../../../agent/config/config.ts'
import type { DrivenPorts } from '../../../agent/drivers.ts'
import { joinRecord } from '../../../agent/roll/record.ts'
import { recover } from '../../../agent/roll/recover.ts'
import { roll } from '../../../agent/roll/roll.ts'
import type { RollContext } from '../../../agent/roll/roll-context.ts'
import { isFinal, nextStatus, type Status } from '../../../shared/deploy.ts'
import type { DeployEvent } from '../../../shared/events.ts'
import type { Step } from '../../../shared/plan.ts'
import { Problem } from '../../../shared/problems.ts'
import type { AnyRequest } from '../../../shared/request.ts'
import type { VirtualClock } from './clock.ts'
import { Faults, type Call, type Fault, type MetFault } from './faults.ts'
import type { FakeLocks } from './locks.ts'
import type { FakeReleases, FakeStuckNotes } from './memory.ts'
import { StepsTold, wordsOf } from './told.ts'

/** What a roll has asked the journal to keep. */
interface Kept {
  readonly note: string
  readonly facts: string | undefined
}

export interface Life {
  readonly kept: readonly Kept[]
  readonly events: readonly DeployEvent[]
  readonly status: Status
  /** The last event. */
  readonly end: DeployEvent | undefined
  readonly calls: readonly Call[]
  /** The injected faults that came to be, and where. */
  readonly met: readonly MetFault[]
  readonly hasCrashed: boolean
}

export interface Host {
  readonly clock: VirtualClock
  readonly stack: StackConfig
  readonly ports: DrivenPorts
  readonly locks: FakeLocks
  readonly releases: FakeReleases
  readonly stuck: FakeStuckNotes
  readonly moments: { look(): void }
  tell(text: string): void
}

export interface DeployOptions {
  readonly id: string
  readonly request: AnyRequest
  readonly isAutomatic?: boolean
  readonly signal?: AbortSignal | undefined
}

export class FakeDeploy {
  readonly request: AnyRequest
  readonly isAutomatic: boolean
  readonly lives: Life[] = []
  readonly #id: string
  readonly #host: Host
  readonly #signal: AbortSignal
  readonly #events: DeployEvent[] = []
  /** The steps that viewers have been told of. */
  #steps: Step[] = []
  readonly #kept: Kept[] = []
  #facts: string | undefined
  #note: string | undefined
  status: Status = 'queued'

  constructor(host: Host, { id, request, isAutomatic = false, signal }: DeployOptions) {
    this.#host = host
    this.#id = id
    this.request = request
    this.isAutomatic = isAutomatic
    this.#signal = signal ?? new AbortController().signal
  }

  get isOver(): boolean {
    return isFinal(this.status)
  }

  get end(): DeployEvent | undefined {
    return this.isOver ? this.#events.at(-1) : undefined
  }

  get events(): readonly DeployEvent[] {
    return this.#events
  }

  /** The agent starts and does what its journal says is to be done, until the deploy's end or its own. */
  async live(injected: readonly Fault[] = []): Promise<Life> {
    const host = this.#host
    const faults = new Faults(host.clock, injected)
    const cancel = new AbortController()
    faults.onCancel = () => cancel.abort(new Problem('cancelled', 'the deploy was cancelled'))
    faults.onCall = (text) => host.tell(`FAULT ${text}`)
    faults.onEffect = () => host.moments.look()
    const before = this.#events.length
    const keptBefore = this.#kept.length
    const told = new StepsTold(this.#steps)
    const context = this.#context(faults, told, AbortSignal.any([this.#signal, cancel.signal]))
    const ports = faults.wrap(host.ports)
    const work =
      this.status === 'queued'
        ? roll(host.stack, this.request, ports, context)
        : recover(host.stack, this.request, this.#record(), ports, context)
    await host.clock.run(Promise.race([work, faults.crashed]))
    // Only a live process holds a lock.
    if (faults.isDead && host.locks.holder?.includes(this.#id)) host.locks.free()
    this.#steps = told.steps
    const events = this.#events.slice(before)
    const life: Life = {
      events,
      status: this.status,
      end: events.at(-1),
      calls: faults.calls,
      met: faults.met,
      kept: this.#kept.slice(keptBefore),
      hasCrashed: faults.isDead,
    }
    this.lives.push(life)
    return life
  }

  // As the journal keeps it.
  #record(): string | undefined {
    return this.#note === undefined ? undefined : joinRecord(this.#facts, this.#note)
  }

  #context(faults: Faults, told: StepsTold, signal: AbortSignal): RollContext {
    const { releases, stuck, tell } = this.#host
    return {
      signal,
      deploy: { id: this.#id, actor: 'somebody', isAutomatic: this.isAutomatic },
      releases: releases.in(faults),
      stuck: stuck.in(faults),
      remember: (note, facts) =>
        void faults.write('journal.remember', () => {
          this.#facts = facts ?? this.#facts
          this.#note = note
          this.#kept.push({ note, facts })
        }),
      emit: (event) => {
        faults.write('journal.emit', () => {
          this.status = nextStatus(this.status, event)
          this.#events.push(event)
          told.add(event)
          faults.step = told.now
          faults.isGoingBack = told.isGoingBack
          tell(wordsOf(event, told.now))
        })
      },
    }
  }
}
