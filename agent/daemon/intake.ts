// The way in: a frame from the hub is verified, then it is in the journal and in its lane, or it is declined and nothing of it is kept. What
// cancels a deploy comes the same way, so that it cannot overtake the deploy.

import type { DeclinedEvent } from '../../shared/events.ts'
import { PENDING_MAX } from '../../shared/limits.ts'
import { reportOf } from '../../shared/problems.ts'
import type { CancelFrame, DeployFrame, FromAgent } from '../../shared/protocol.ts'
import { describeEvent, describeProblem, EMPTY_PICTURE } from '../../shared/words.ts'
import type { Config } from '../config/config.ts'
import type { Journal } from './journal/journal.ts'
import { shorten } from './journal/shorten.ts'
import type { Writer } from './journal/writer.ts'
import type { Lane, Lanes } from './lane.ts'
import type { Log } from '../log.ts'
import type { Work } from './runner.ts'
import { verdictOf, verifyCancel, verifyFrame, whyDeclined, type Trusted, type Verified } from './verify.ts'

/** Frames that wait to be verified: all that an honest hub can have. What a flood brings beyond it is dropped, and offered again. */
const FRAMES_WAITING_MAX = PENDING_MAX

/** Of a deploy that this agent had, by the relay's word, and does not know: it may have begun, and must not begin twice. */
const LOST: DeclinedEvent = {
  type: 'failed',
  ms: 0,
  problem: {
    code: 'interrupted',
    message:
      'the agent had this deploy, and its journal does not know it any more: nobody knows how far it came',
    cure: 'compare what runs with the compose file and the nginx configuration, then deploy again',
  },
}

export interface IntakeOptions {
  readonly config: Config
  readonly trusted: Trusted
  readonly journal: Journal
  readonly writer: Writer
  readonly log: Log
  /** A deploy is in the journal whose events the hub has not acknowledged. */
  readonly onUnacknowledged: (id: string) => void
  readonly lanes: Pick<Lanes<Work>, 'of' | 'with'>
  readonly send: (frame: FromAgent) => void
}

export class Intake {
  readonly #options: IntakeOptions
  readonly #verifying = new Set<Promise<void>>()

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  consider(frame: DeployFrame): void {
    const lane = this.#options.lanes.of(frame.stack)
    const work = this.#guarded(() => this.#consider(frame, lane), `deploy ${frame.id} stays with the relay`)
    this.#begin(() => (lane ? lane.verify(frame, work) : work()))
  }

  cancel(frame: CancelFrame): void {
    const { deploy: id } = frame
    const lane = this.#options.lanes.with(id)
    if (!lane) return this.#nothingToCancel(id)
    const work = this.#guarded(() => this.#cancel(frame, lane), `deploy ${id} is not cancelled`)
    this.#begin(() => lane.verify({ id }, work))
  }

  /** When all that has come is dealt with. */
  async end(): Promise<void> {
    await Promise.all(this.#verifying)
  }

  #begin(verify: () => Promise<void>): void {
    if (this.#verifying.size >= FRAMES_WAITING_MAX) return
    const done = verify().finally(() => this.#verifying.delete(done))
    this.#verifying.add(done)
  }

  #guarded(work: () => Promise<void>, onFault: string): () => Promise<void> {
    const { log } = this.#options
    return () =>
      work().catch((error: unknown) => log('warn', `${onFault}: ${describeProblem(reportOf(error))}`))
  }

  async #consider(frame: DeployFrame, lane: Lane<Work> | undefined): Promise<void> {
    const { config, trusted, journal, writer, log, onUnacknowledged } = this.#options
    if (journal.has(frame.id)) return onUnacknowledged(frame.id)
    if (frame.received) return this.#decline(frame.id, LOST)
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
    onUnacknowledged(id)
    lane?.add({ ...verified.deploy, stackConfig: verified.stackConfig })
  }

  async #cancel(frame: CancelFrame, lane: Lane<Work>): Promise<void> {
    const { config, trusted, log } = this.#options
    const { deploy: id } = frame
    const deploy = lane.find(id)
    if (!deploy) return this.#nothingToCancel(id)
    const { actor } = await verifyCancel(frame, deploy, config, trusted, new Date())
    log('info', `deploy ${id} of ${deploy.stack} is cancelled by ${actor}`)
    lane.cancel(id, actor)
  }

  #nothingToCancel(id: string): void {
    this.#options.log('info', `deploy ${id} is not cancelled: there is none that waits or runs`)
  }

  // Where the link is down nothing is lost: the hub offers it again.
  #decline(id: string, event: DeclinedEvent): void {
    const words = describeEvent(EMPTY_PICTURE, { seq: 0, at: 0, event })
    this.#options.log(event.type === 'failed' ? 'warn' : 'info', `deploy ${id} is not taken in: ${words}`)
    this.#options.send({ type: 'declined', deploy: id, event: shorten(event) })
  }
}
