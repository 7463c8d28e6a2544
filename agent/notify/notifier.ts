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

export interface Notifier {
  /** There may be something new in the journal. Never waits, never throws. */
  wake(): void
  /** Resolves when nothing is on its way any more: what is due goes out first, for so long at most. The rest waits for the next start. */
  end(ms: number): Promise<void>
}

/** What the journal stores of an event for a stack's destinations. Whatever goes wrong here, the event itself is stored. */
export function noticesOf(config: Pick<Config, 'stacks'>, log: Log): NoticesFor {
  return (event, at, story) => {
    try {
      const moment = momentOf(event)
      const isAnybodyTold = config.stacks.some(({ notify }) => notify.length > 0)
      if (moment === undefined || !isAnybodyTold) return []
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

export function startNotifier(options: NotifierOptions): Notifier {
  const { config, journal, writer, log, random = Math.random } = options
  const stopping = new AbortController()
  const given = new AbortController()
  let woken = Promise.withResolvers<void>()

  const send = (request: Outgoing) =>
    options.send
      ? options.send(request, given.signal)
      : post(request, { version: options.version, signal: given.signal })

  // Ends only with the notifier: whatever fails here is told, and tried again.
  async function serve(stack: StackConfig, destination: Destination): Promise<void> {
    let fault: string | undefined
    while (!given.signal.aborted) {
      try {
        const next = woken.promise
        const first = journal.notices.first(stack.name, destination.name)
        fault = undefined
        const dueInMs = first ? first.nextAt - Date.now() : Infinity
        if (dueInMs > 0) {
          if (stopping.signal.aborted) return
          await either(next, Math.min(dueInMs, SLEEP_MS_MAX))
        } else if (first) await tell(stack, destination, first)
      } catch (error) {
        const { message } = reportOf(error)
        if (message !== fault) log('warn', `notices to ${destination.name} of ${stack.name} wait: ${message}`)
        fault = message
        if (stopping.signal.aborted) return
        await either(undefined, JOURNAL_WAIT_MS)
      }
    }
  }

  async function tell(stack: StackConfig, destination: Destination, waiting: Waiting): Promise<void> {
    const { number, at, notice } = waiting
    const link = linkTo(config, notice?.deploy ?? '')
    const outcome = notice ? await attempt(destination, { ...notice, host: config.host, link }) : DAMAGED
    // Broken off by the agent's end, not refused.
    if (!outcome.isSent && given.signal.aborted) return
    const tries = waiting.tries + 1
    const nextAt = outcome.isSent ? undefined : nextTryAt(outcome, { at, tries }, Date.now(), random())
    const place = `${destination.name} of ${stack.name}`
    const what = notice ? `${notice.moment} of deploy ${notice.deploy}` : 'a notice'
    if (outcome.isSent) {
      if (waiting.tries > 0) log('info', `${place} is notified of ${what}, at try ${tries}`)
    } else if (nextAt === undefined)
      log('warn', `${place} is not notified of ${what}: given up after ${times(tries)}: ${outcome.fault}`)
    else if (waiting.tries === 0) log('warn', `${place} is not notified of ${what} yet: ${outcome.fault}`)
    await record(() => {
      if (outcome.isSent) journal.notices.ended(number, 'sent', Date.now())
      else if (nextAt === undefined) journal.notices.ended(number, 'given-up', Date.now(), outcome.fault)
      else journal.notices.failed(number, outcome.fault, nextAt)
    })
    show(stack)
  }

  async function attempt(destination: Destination, notice: Notice): Promise<Outcome> {
    try {
      return await destination.tell(notice, { send, nowMs: Date.now() })
    } catch (error) {
      return bug(error)
    }
  }

  // What cannot be recorded would be sent again at once, and again.
  async function record(work: () => void): Promise<void> {
    while (!writer.attempt(work)) {
      if (stopping.signal.aborted) return given.abort()
      await either(undefined, JOURNAL_WAIT_MS)
    }
  }

  async function either(woke: Promise<void> | undefined, ms: number): Promise<void> {
    const enough = new AbortController()
    const signal = AbortSignal.any([stopping.signal, enough.signal])
    const slept = sleep(ms, undefined, { signal }).catch(() => {})
    await Promise.race(woke ? [woke, slept] : [slept])
    enough.abort()
  }

  function show({ name, notify }: Pick<StackConfig, 'name' | 'notify'>): void {
    try {
      const destinations = notify.map((each) => ({ name: each.name, type: each.type, on: each.on }))
      options.show(name, { at: Date.now(), destinations, notices: journal.notices.list(name) })
    } catch (error) {
      log('warn', `what became of the notices of ${name} cannot be shown: ${reportOf(error).message}`)
    }
  }

  // Also of stacks and destinations that ropeway.yml has no more: nothing of theirs is lost without a word.
  function begin(): void {
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
      show({ name, notify })
    }
  }

  writer.attempt(begin)
  const lanes = config.stacks.flatMap((stack) => stack.notify.map((each) => serve(stack, each)))

  return {
    wake: () => {
      woken.resolve()
      woken = Promise.withResolvers()
    },
    end: async (ms) => {
      stopping.abort()
      woken.resolve()
      const timer = setTimeout(() => given.abort(), ms)
      await Promise.all(lanes)
      clearTimeout(timer)
    },
  }
}

// By a token only: the address itself gives nobody anything. One of this machine alone would lead its reader to their own.
function linkTo({ relay, host }: Pick<Config, 'relay' | 'host'>, deploy: string): string | undefined {
  return relay.startsWith('https:') ? `${relay}/watch#host=${host}&deploy=${deploy}` : undefined
}

function times(count: number, what = 'try'): string {
  return count === 1 ? `1 ${what}` : `${count} ${what === 'try' ? 'tries' : `${what}s`}`
}
