// What is written to the journal while rolls go on. A full disk must end neither a roll in the middle nor the agent: what cannot be
// written now waits here, in order, until there is room.

import { nextStatus, type Status } from '../../../shared/deploy.ts'
import type { AgentEvent } from '../../../shared/events.ts'
import { EVENTS_KEPT_MAX } from '../../../shared/limits.ts'
import { Problem, reportOf } from '../../../shared/problems.ts'
import type { Log } from '../../log.ts'
import type { Journal } from './journal.ts'
import type { VerifiedDeploy } from '../verified-deploy.ts'

/** Events of one deploy that wait: as many as the hub keeps of it. Beyond it the oldest progress goes, or the oldest event. */
export const WAITING_EVENTS_MAX = EVENTS_KEPT_MAX
/** While events wait. Room is made by a person or a cleaner's job: a second more does not matter. */
const RETRY_MS = 1000

interface Waiting {
  /** After all of the events. */
  readonly status: Status
  readonly events: readonly { readonly event: AgentEvent; readonly at: number }[]
}

export class Writer {
  readonly #journal: Journal
  readonly #log: Log
  readonly #onAppended: (id: string) => void
  readonly #waiting = new Map<string, Waiting>()
  #fault: string | undefined
  #timer: NodeJS.Timeout | undefined

  /** `onAppended`: events of a deploy have come to the disk. */
  constructor(journal: Journal, log: Log, onAppended: (id: string) => void) {
    this.#journal = journal
    this.#log = log
    this.#onAppended = onAppended
  }

  /** Whether a deploy is new, and stored. What is not stored was not received: the hub offers it again. */
  receive(deploy: VerifiedDeploy, at: number): boolean {
    let isNew = false
    const isDone = this.attempt(() => (isNew = this.#journal.receive(deploy, at) === 'new'))
    return isDone && isNew
  }

  /** Stores an event as soon as that can be done. Throws only for one that cannot follow, which is a bug. */
  append(id: string, event: AgentEvent, at: number): void {
    const status = nextStatus(this.statusOf(id), event)
    const events = [...(this.#waiting.get(id)?.events ?? []), { event, at }]
    this.#waiting.set(id, { status, events: bounded(events) })
    this.flush()
  }

  /** A deploy's status, by the events that wait too. */
  statusOf(id: string): Status {
    return this.#waiting.get(id)?.status ?? this.#journal.statusOf(id)
  }

  /**
   * Keeps a roll's note, or throws. The events come first: after a crash, a note without its `started` would belong to a deploy that
   * seems not to have begun, and would be begun once more.
   */
  record(id: string, note: string, facts?: string): void {
    if (this.flush() && this.attempt(() => this.#journal.record(id, note, facts))) return
    throw new Problem('journal-unusable', `the agent's journal cannot be written: ${this.#fault}`, {
      cure: 'make room on the disk of its data directory, then deploy again',
    })
  }

  /** Writes what waits; whether nothing waits any more. */
  flush(): boolean {
    for (const [id, { status, events }] of this.#waiting) {
      const left = events.findIndex(
        ({ event, at }) => !this.#write(() => this.#journal.append(id, event, at)),
      )
      if (left < 0) this.#waiting.delete(id)
      else this.#waiting.set(id, { status, events: events.slice(left) })
      if (left !== 0) this.attempt(() => this.#onAppended(id))
      if (left < 0) continue
      this.#timer ??= setTimeout(() => this.#retry(), RETRY_MS).unref()
      return false
    }
    return true
  }

  /** Does what needs the journal; whether that could be done. Each cause is told once, and once that it is over. */
  attempt(work: () => void): boolean {
    const isDone = this.#write(work)
    if (isDone && this.#fault !== undefined && this.#waiting.size === 0) {
      this.#fault = undefined
      this.#log('warn', 'the journal can be written again')
    }
    return isDone
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #write(work: () => void): boolean {
    try {
      work()
      return true
    } catch (error) {
      const { message } = reportOf(error)
      if (message !== this.#fault)
        this.#log(
          'warn',
          `the journal cannot be written (${message}): nothing new is taken in, and events wait in memory. Make room on the disk`,
        )
      this.#fault = message
      return false
    }
  }

  #retry(): void {
    this.#timer = undefined
    this.flush()
  }
}

function bounded(events: Waiting['events']): Waiting['events'] {
  if (events.length <= WAITING_EVENTS_MAX) return events
  const progress = events.findIndex(({ event }) => event.type === 'step-progress')
  return events.toSpliced(Math.max(0, progress), 1)
}
