// The way in: a frame from the hub is verified, then it is in the journal and the queue, or it is declined and nothing of it is kept.

import type { DeclinedEvent } from '../shared/events.ts'
import { PENDING_MAX } from '../shared/limits.ts'
import { reportOf } from '../shared/problems.ts'
import type { DeployFrame, FromAgent } from '../shared/protocol.ts'
import { describeEvent, describeProblem, EMPTY_PICTURE } from '../shared/words.ts'
import type { Config } from './config/config.ts'
import type { Journal } from './journal/journal.ts'
import { shorten } from './journal/shorten.ts'
import type { Writer } from './journal/writer.ts'
import type { Log } from './log.ts'
import { verdictOf, verifyFrame, whyDeclined, type Trusted, type Verified } from './verify.ts'

/** Frames that wait to be verified: all that an honest hub can have. What a flood brings beyond it is dropped, and offered again. */
const FRAMES_WAITING_MAX = PENDING_MAX

export interface IntakeOptions {
  readonly config: Config
  readonly trusted: Trusted
  readonly journal: Journal
  readonly writer: Writer
  readonly log: Log
  /** The hub has not heard of a deploy that is in the journal. */
  readonly onUnheard: (id: string) => void
  readonly onTakenIn: (verified: Verified) => void
  readonly send: (frame: FromAgent) => void
}

export class Intake {
  readonly #options: IntakeOptions
  #waiting = 0
  #last = Promise.resolve()

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  // One after the other, so that a newer request cannot overtake an older one on the way to the queue.
  consider(frame: DeployFrame): void {
    if (this.#waiting >= FRAMES_WAITING_MAX) return
    this.#waiting += 1
    this.#last = this.#last
      .then(() => this.#consider(frame))
      .catch((error: unknown) => {
        const problem = describeProblem(reportOf(error))
        this.#options.log('warn', `deploy ${frame.id} stays with the relay: ${problem}`)
      })
      .finally(() => (this.#waiting -= 1))
  }

  /** When all that has come is dealt with. */
  async end(): Promise<void> {
    await this.#last
  }

  async #consider(frame: DeployFrame): Promise<void> {
    const { config, trusted, journal, writer, log, onUnheard, onTakenIn } = this.#options
    if (journal.has(frame.id)) return onUnheard(frame.id)
    const now = new Date()
    let verified: Verified
    try {
      verified = await verifyFrame(frame, config, trusted, now)
    } catch (error) {
      const verdict = verdictOf(error)
      if (!verdict) throw error
      return this.#decline(frame.id, verdict)
    }
    const { id, stack, trigger, actor, trust } = verified.deploy
    const why = whyDeclined(verified.deploy, journal.newest(stack, trigger), now.getTime())
    if (why) return this.#decline(id, why)
    if (!writer.receive(verified.deploy, now.getTime())) return
    log('info', `deploy ${id} of ${stack}, asked for by ${actor} (${trust})`)
    onUnheard(id)
    onTakenIn(verified)
  }

  // Where the link is down nothing is lost: the hub offers it again.
  #decline(id: string, event: DeclinedEvent): void {
    const words = describeEvent(EMPTY_PICTURE, { seq: 0, at: 0, event })
    this.#options.log(event.type === 'failed' ? 'warn' : 'info', `deploy ${id} is not taken in: ${words}`)
    this.#options.send({ type: 'declined', deploy: id, event: shorten(event) })
  }
}
