// Events on their way to the hub. The journal holds them until the hub has stored them; the outbox only knows how far the present
// connection has come. It never waits, so the roll never does either.

import { FRAME_BYTES_MAX } from '../../../shared/limits.ts'
import type { FromAgent } from '../../../shared/protocol.ts'
import type { AgentLoggedEvent } from '../../../shared/events.ts'
import type { Journal } from '../journal/journal.ts'

/** As many as the protocol allows in one frame. */
const BATCH_EVENTS_MAX = 256
/** Room for the frame around the events. */
const BATCH_BYTES_MAX = FRAME_BYTES_MAX - 1024
/**
 * The hub answers within a second. One that failed on a frame keeps the socket open, so what it has not stored by then is sent once
 * more, and then after twice the time each: a hub that never will must not be flooded.
 */
const STORED_MS_MAX = 15_000
const RESEND_MS_MAX = 600_000

interface Progress {
  /** The last `seq` handed to this connection. */
  readonly sent: number
  readonly resendAt: number
  readonly waitMs: number
}

export class Outbox {
  readonly #journal: Journal
  readonly #send: (frame: FromAgent) => boolean
  readonly #storedMs: number
  readonly #progress = new Map<string, Progress>()
  #timer: NodeJS.Timeout | undefined

  constructor(journal: Journal, send: (frame: FromAgent) => boolean, storedMs = STORED_MS_MAX) {
    this.#journal = journal
    this.#send = send
    this.#storedMs = storedMs
  }

  /** A new connection was welcomed: everything that is not stored goes out again, in order. */
  connected(): void {
    this.#progress.clear()
    for (const { id, acked } of this.#journal.unacked()) this.#pump(id, acked)
  }

  /** A deploy's log has grown. */
  grown(id: string): void {
    this.#pump(id, this.#journal.ackedOf(id))
  }

  stored(id: string, seq: number): void {
    this.#journal.acknowledge(id, seq)
    const progress = this.#progress.get(id)
    if (!progress) return
    if (seq >= progress.sent) this.#progress.delete(id)
    else this.#progress.set(id, this.#freshly(progress.sent))
  }

  /** Whether the hub has stored everything. */
  isEmpty(): boolean {
    return this.#journal.unacked().length === 0
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  // Always from the journal, from where this connection stopped: live events and the backlog are one path.
  #pump(id: string, acked: number): void {
    const before = this.#progress.get(id)
    let sent = Math.max(acked, before?.sent ?? 0)
    for (;;) {
      const events = fitting(this.#journal.eventsAfter(id, sent, BATCH_EVENTS_MAX))
      const last = events.at(-1)
      if (!last || !this.#send({ type: 'events', deploy: id, events })) break
      sent = last.seq
    }
    if (sent === acked) return void this.#progress.delete(id)
    this.#progress.set(id, { ...(before ?? this.#freshly(sent)), sent })
    this.#watch()
  }

  #freshly(sent: number): Progress {
    return { sent, resendAt: Date.now() + this.#storedMs, waitMs: this.#storedMs }
  }

  #watch(): void {
    if (this.#progress.size > 0) this.#timer ??= setTimeout(() => this.#onTime(), this.#storedMs).unref()
  }

  #onTime(): void {
    this.#timer = undefined
    try {
      this.#resend()
    } catch {
      // The journal cannot be read now. Nobody waits for this, and there is a next time.
    }
    this.#watch()
  }

  #resend(): void {
    for (const [id, progress] of this.#progress) {
      if (progress.resendAt > Date.now()) continue
      const acked = this.#journal.ackedOf(id)
      const waitMs = Math.min(RESEND_MS_MAX, progress.waitMs * 2)
      this.#progress.set(id, { sent: acked, resendAt: Date.now() + waitMs, waitMs })
      this.#pump(id, acked)
    }
  }
}

/** The first of the events that fit into one frame; at least one, for none is stored that is longer than EVENT_BYTES_MAX. */
function fitting(events: readonly AgentLoggedEvent[]): AgentLoggedEvent[] {
  let bytes = 0
  const end = events.findIndex(
    (event) => (bytes += Buffer.byteLength(JSON.stringify(event)) + 1) > BATCH_BYTES_MAX,
  )
  return end < 0 ? [...events] : events.slice(0, Math.max(1, end))
}
