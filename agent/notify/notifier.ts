// Tells others of deploys: what the journal holds for a destination goes out in order, each notice until it is taken or given up. It runs
// beside the rolls and never holds one up: a roll writes to the journal and goes on.

import { setTimeout as sleep } from 'node:timers/promises'
import { reportOf } from '../../shared/problems.ts'
import type { Config, StackConfig } from '../config/config.ts'
import type { Journal } from '../daemon/journal/journal.ts'
import type { NoticesFor, Waiting } from '../daemon/journal/notices.ts'
import type { Writer } from '../daemon/journal/writer.ts'
import type { Log } from '../log.ts'
import type { Destination, Outcome, Outgoing, Send } from './kind.ts'
import type { Listing } from './listing.ts'
import { momentOf, noticeOf, type Notice } from './notice.ts'
import { post } from './post.ts'
import { nextTryAt } from './retry.ts'

/** While the journal cannot be read or written: it is asked again, as its writer does. */
const JOURNAL_WAIT_MS = 1000
/** No timer is longer: Node's own limit is 24 days, and a clock may be set right meanwhile. */
const SLEEP_MS_MAX = 60_000
/** What is damaged in the journal cannot be told by any number of tries. */
const DAMAGED: Outcome = {
  isSent: false,
  fault: 'what the journal holds here cannot be read',
  isFinal: true,
}
// Only its name: nobody knows what the message holds. Final, so that those behind it are told.
const bug = (error: unknown): Outcome => ({
  isSent: false,
  fault: `a bug in Ropeway (${error instanceof Error ? error.name : 'unknown'}); please report it`,
  isFinal: true,
})

export interface NotifierOptions {
  readonly config: Pick<Config, 'host' | 'relay' | 'stacks'>
  readonly journal: Journal
  readonly writer: Writer
  readonly log: Log
  readonly version: string
  /** Where a command finds what became of a stack's notices. */
  readonly show: (stack: string, listing: Listing) => void
  /** Sends a request; a test may send it elsewhere. */
  readonly send?: (request: Outgoing, signal: AbortSignal) => ReturnType<Send>
  /** From [0, 1). */
  readonly random?: () => number
}

/** What the journal stores of an event for a stack's destinations. Whatever goes wrong here, the event itself is stored. */
export function noticesOf(config: Pick<Config, 'stacks'>, log: Log): NoticesFor {
  return (event, at, story) => {
    try {
      if (config.stacks.every(({ notify }) => notify.length === 0)) return []
      const moment = momentOf(event, () => story().events)
      if (moment === undefined) return []
      const told = story()
      const stack = config.stacks.find(({ name }) => name === told.deploy.stack)
      const destinations = stack?.notify.filter(({ on }) => on.includes(moment)) ?? []
      if (destinations.length === 0) return []
      const notice = noticeOf(moment, event, at, told)
      return destinations.map(({ name }) => ({ destination: name, notice }))
    } catch (error) {
      log('warn', `nobody is notified of ${event.type}: ${reportOf(error).message}`)
      return []
    }
  }
}

export class Notifier {
  readonly #options: NotifierOptions
  /** Aborted at the agent's end: what is due still goes out, and nothing is waited for. */
  readonly #stopping = new AbortController()
  /** Aborted when there is no more time: what is on its way is broken off. */
  readonly #stopped = new AbortController()
  #woken = Promise.withResolvers<void>()
  #serving: readonly Promise<void>[] = []

  constructor(options: NotifierOptions) {
    this.#options = options
  }

  start(): void {
    const { config, writer } = this.#options
    writer.attempt(() => this.#giveUpUnknown())
    this.#serving = config.stacks.flatMap((stack) => stack.notify.map((each) => this.#serve(stack, each)))
  }

  /** There may be something new in the journal. Never waits, never throws. */
  wake(): void {
    this.#woken.resolve()
    this.#woken = Promise.withResolvers()
  }

  /** Resolves when nothing is on its way any more: what is due goes out first, for so long at most. The rest waits for the next start. */
  async end(ms: number): Promise<void> {
    this.#stopping.abort()
    this.#woken.resolve()
    const timer = setTimeout(() => this.#stopped.abort(), ms)
    await Promise.all(this.#serving)
    clearTimeout(timer)
  }

  // Also of stacks and destinations that ropeway.yml has no more: nothing of theirs is lost without a word.
  #giveUpUnknown(): void {
    const { config, journal, log } = this.#options
    const known = new Map(config.stacks.map((stack) => [stack.name, stack.notify]))
    for (const name of new Set([...known.keys(), ...journal.notices.stacks()])) {
      const notify = known.get(name) ?? []
      const names = notify.map((each) => each.name)
      const lost = journal.notices.giveUpOthers(name, names, Date.now())
      if (lost > 0)
        log(
          'warn',
          `${times(lost, 'notice')} of ${name} are given up: ropeway.yml has their destination no more`,
        )
      this.#show({ name, notify })
    }
  }

  // Ends only with the notifier: whatever fails here is logged, and tried again.
  async #serve(stack: StackConfig, destination: Destination): Promise<void> {
    const { journal, log } = this.#options
    let fault: string | undefined
    while (!this.#stopped.signal.aborted) {
      try {
        const woken = this.#woken.promise
        const first = journal.notices.first(stack.name, destination.name)
        fault = undefined
        const dueInMs = first ? first.nextAt - Date.now() : Infinity
        if (dueInMs > 0) {
          if (this.#stopping.signal.aborted) return
          await this.#pause(Math.min(dueInMs, SLEEP_MS_MAX), woken)
        } else if (first) await this.#tell(stack, destination, first)
      } catch (error) {
        const { message } = reportOf(error)
        if (message !== fault) log('warn', `notices to ${destination.name} of ${stack.name} wait: ${message}`)
        fault = message
        if (this.#stopping.signal.aborted) return
        await this.#pause(JOURNAL_WAIT_MS)
      }
    }
  }

  async #tell(stack: StackConfig, destination: Destination, waiting: Waiting): Promise<void> {
    const { config, journal, random = Math.random } = this.#options
    const { number, at, notice } = waiting
    const link = linkTo(config, notice?.deploy ?? '')
    const outcome = notice
      ? await this.#attempt(destination, { ...notice, host: config.host, link })
      : DAMAGED
    // Broken off by the agent's end, not refused.
    if (!outcome.isSent && this.#stopped.signal.aborted) return
    const tries = waiting.tries + 1
    const nextAt = outcome.isSent ? undefined : nextTryAt(outcome, { at, tries }, Date.now(), random())
    this.#log(`${destination.name} of ${stack.name}`, waiting, outcome, nextAt)
    await this.#record(() => {
      if (outcome.isSent) journal.notices.ended(number, 'sent', Date.now())
      else if (nextAt === undefined) journal.notices.ended(number, 'given-up', Date.now(), outcome.fault)
      else journal.notices.failed(number, outcome.fault, nextAt)
    })
    this.#show(stack)
  }

  async #attempt(destination: Destination, notice: Notice): Promise<Outcome> {
    const { version } = this.#options
    const { signal } = this.#stopped
    const send = (request: Outgoing) =>
      this.#options.send?.(request, signal) ?? post(request, { version, signal })
    try {
      return await destination.tell(notice, { send, nowMs: Date.now() })
    } catch (error) {
      return bug(error)
    }
  }

  // The first try that fails, the last, and a success after a failure: what comes in between is more of the same.
  #log(
    place: string,
    { tries: before, notice }: Waiting,
    outcome: Outcome,
    nextAt: number | undefined,
  ): void {
    const { log } = this.#options
    const what = notice ? `${notice.moment} of deploy ${notice.deploy}` : 'a notice'
    const tries = before + 1
    if (outcome.isSent) {
      if (before > 0) log('info', `${place} is notified of ${what}, at try ${tries}`)
    } else if (nextAt === undefined)
      log('warn', `${place} is not notified of ${what}: given up after ${times(tries)}: ${outcome.fault}`)
    else if (before === 0) log('warn', `${place} is not notified of ${what} yet: ${outcome.fault}`)
  }

  // A notice stays the first that waits until its outcome is recorded. Without this wait it would be sent again at once, and again.
  async #record(work: () => void): Promise<void> {
    while (!this.#options.writer.attempt(work)) {
      if (this.#stopping.signal.aborted) return this.#stopped.abort()
      await this.#pause(JOURNAL_WAIT_MS)
    }
  }

  // Ends early with the notifier, or when `woken` resolves.
  async #pause(ms: number, woken?: Promise<void>): Promise<void> {
    const enough = new AbortController()
    const signal = AbortSignal.any([this.#stopping.signal, enough.signal])
    const slept = sleep(ms, undefined, { signal }).catch(() => {})
    await Promise.race(woken ? [woken, slept] : [slept])
    enough.abort()
  }

  #show({ name, notify }: Pick<StackConfig, 'name' | 'notify'>): void {
    const { journal, log, show } = this.#options
    try {
      const destinations = notify.map((each) => ({ name: each.name, type: each.type, on: each.on }))
      show(name, { at: Date.now(), destinations, notices: journal.notices.list(name) })
    } catch (error) {
      log('warn', `what became of the notices of ${name} cannot be shown: ${reportOf(error).message}`)
    }
  }
}

// By a token only: the address itself gives nobody anything. One of this machine alone would lead its reader to their own.
function linkTo({ relay, host }: Pick<Config, 'relay' | 'host'>, deploy: string): string | undefined {
  return relay.startsWith('https:') ? `${relay}/watch#host=${host}&deploy=${deploy}` : undefined
}

function times(count: number, what = 'try'): string {
  return count === 1 ? `1 ${what}` : `${count} ${what === 'try' ? 'tries' : `${what}s`}`
}
