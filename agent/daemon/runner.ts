// Runs a deploy, or recovers it, and writes down what becomes of it: whatever a roll does, its deploy gets a final event. Without one the
// stack's state is unknown, and only a person can tell.

import { chatTrigger } from '../../shared/chat/chat.ts'
import { isFinal } from '../../shared/deploy.ts'
import type { AgentEvent } from '../../shared/events.ts'
import { Problem, reportOf, type ProblemReport } from '../../shared/problems.ts'
import { describeEvent, EMPTY_PICTURE, nextPicture, type Picture } from '../../shared/words.ts'
import type { Config, StackConfig } from '../config/config.ts'
import type { Journal, JournaledDeploy } from './journal/journal.ts'
import type { Writer } from './journal/writer.ts'
import { CancelledBy } from './lane.ts'
import type { Log } from '../log.ts'
import type { Ports } from '../roll/ports.ts'
import type { recover } from '../roll/recover.ts'
import type { Releases } from '../roll/releases/release.ts'
import type { RollContext } from '../roll/roll-context.ts'
import type { roll } from '../roll/roll.ts'
import type { StuckNotes } from '../roll/stuck/note.ts'
import type { VerifiedDeploy } from './verified-deploy.ts'
import { BY_TOKEN } from './verify.ts'

/** A deploy whose stack is in ropeway.yml. */
export interface Work extends VerifiedDeploy {
  readonly stackConfig: StackConfig
}

export interface RunnerOptions {
  readonly config: Config
  readonly journal: Journal
  readonly ports: Ports
  readonly roll: typeof roll
  readonly recover: typeof recover
  readonly releasesOf: (stack: string) => Releases
  readonly stuckOf: (stack: string) => StuckNotes
  readonly log: Log
  /** Ends the agent: running rolls undo, their events go out, the socket closes. What is left without an end, the next start recovers. */
  readonly signal: AbortSignal
}

const UNKNOWN_STATE: ProblemReport = {
  code: 'internal',
  message: 'it is not known how far the roll came',
  cure: 'compare what runs with the compose file and the nginx configuration',
}

export class Runner {
  readonly #options: RunnerOptions
  readonly #writer: Writer
  readonly #pictures = new Map<string, Picture>()
  /** In the place of a trigger's name where a person has asked. */
  readonly #byPeople: readonly string[]

  constructor(options: RunnerOptions, writer: Writer) {
    this.#options = options
    this.#writer = writer
    this.#byPeople = [BY_TOKEN, ...options.config.chats.map(chatTrigger)]
  }

  emit(id: string, event: AgentEvent, log = this.#options.log): void {
    const at = Date.now()
    this.#writer.append(id, event, at)
    // Words need no place in the log, which the event may have to wait for.
    const logged = { seq: 0, at, event }
    const picture = nextPicture(this.#pictures.get(id) ?? EMPTY_PICTURE, logged)
    this.#pictures.set(id, picture)
    if (isFinal(this.#writer.statusOf(id))) this.#pictures.delete(id)
    const words = describeEvent(picture, logged)
    if (words !== undefined) log('info', `deploy ${id}: ${words}`)
  }

  /** Rolls. `stop` ends it at its next safe point. */
  async roll(deploy: Work, stop: AbortSignal): Promise<void> {
    const { roll: begin, ports } = this.#options
    await this.#toItsEnd(deploy, stop, (context) => begin(deploy.stackConfig, deploy.request, ports, context))
  }

  /**
   * Recovers what an agent's end has interrupted. The end of this one does not stop it: a way back that is broken off would only make another
   * one necessary. Who cancels the deploy stops what goes on with it, and not a way back.
   */
  async recover(deploy: JournaledDeploy, cancelled: AbortSignal): Promise<void> {
    const { recover: begin, config, journal, ports, log } = this.#options
    const { id, stack, request } = deploy
    log('warn', `deploy ${id} of ${stack} was interrupted by the agent's end: recovering`)
    await this.#toItsEnd(deploy, cancelled, async (context) => {
      const stackConfig = config.stacks.find(({ name }) => name === stack)
      if (!stackConfig) throw this.stackGone(stack)
      await begin(stackConfig, request, journal.recordOf(id), ports, context)
    })
  }

  stackGone(stack: string): Problem {
    return new Problem(
      'stack-unknown',
      `the agent had a deploy of ${stack}, which ${this.#options.config.path} lacks now`,
    )
  }

  // Never rejects: nobody waits for it who could do anything.
  async #toItsEnd(
    deploy: VerifiedDeploy,
    stop: AbortSignal,
    work: (context: RollContext) => Promise<void>,
  ): Promise<void> {
    const { id } = deploy
    const startedAt = performance.now()
    let fault: unknown = new Problem('internal', 'the roll ended without an outcome')
    try {
      await work(this.#contextOf(deploy, stop)).catch((error: unknown) => (fault = error))
      if (isFinal(this.#writer.statusOf(id))) return
      // Stopped in the middle: it stays `running` in the journal, and the next start recovers it.
      if (this.#options.signal.aborted) return
      const ms = Math.round(performance.now() - startedAt)
      this.emit(id, { type: 'stuck', ms, problem: reportOf(fault), undo: UNKNOWN_STATE })
    } catch (error) {
      this.#options.log('warn', `deploy ${id} has no end in the journal: ${reportOf(error).message}`)
    }
  }

  #contextOf({ id, stack, actor, trigger }: VerifiedDeploy, stop: AbortSignal): RollContext {
    const { releasesOf, stuckOf } = this.#options
    return {
      deploy: { id, actor, isAutomatic: !this.#byPeople.includes(trigger) },
      releases: releasesOf(stack),
      stuck: stuckOf(stack),
      emit: (event: AgentEvent) => this.emit(id, withCanceller(event, stop)),
      remember: (note, facts) => this.#writer.record(id, note, facts),
      signal: stop,
    }
  }
}

// A roll knows that it was told to stop, and not by whom.
function withCanceller(event: AgentEvent, { reason }: AbortSignal): AgentEvent {
  return event.type === 'cancelled' && reason instanceof CancelledBy ? { ...event, by: reason.by } : event
}
