// The agent's link to its hub: one connection after the other, whatever ended the last one. It carries frames and knows nothing of deploys.

import { setTimeout as sleep } from 'node:timers/promises'
import { PING_INTERVAL_MS, SILENCE_MS_MAX } from '../../../shared/limits.ts'
import {
  PROTOCOL_VERSION,
  type CancelFrame,
  type FromAgent,
  type FromHub,
  type Hello,
  type UnknownFrame,
} from '../../../shared/protocol.ts'
import { reportOf } from '../../../shared/problems.ts'
import { describeProblem } from '../../../shared/words.ts'
import type { Log } from '../../log.ts'
import { nextDelay, RESTED, type LossReason } from './backoff.ts'
import { Connection, type ConnectionTiming, type Loss } from './connection.ts'

/** A hub that fails on our hello keeps the socket open and even answers pings: without its welcome the connection is worth nothing. */
const WELCOME_MS_MAX = 15_000
/** Tokens live for minutes and both clocks judge them: beyond this difference the operator should know. */
const CLOCK_SKEW_MS_MAX = 30_000

export interface LinkOptions {
  /** The relay's origin. */
  readonly relay: string
  readonly host: string
  /** A fresh token for each attempt. */
  readonly token: () => Promise<string>
  /** The first frame, made anew for each connection. */
  readonly hello: () => Promise<Hello>
  readonly log: Log
  readonly onWelcome: () => void
  readonly onDeploy: (frame: Extract<FromHub, { type: 'deploy' }>) => void
  readonly onCancel: (frame: CancelFrame) => void
  readonly onStored: (frame: Extract<FromHub, { type: 'stored' }>) => void
  readonly timing?: Partial<LinkTiming>
}

export interface LinkTiming extends ConnectionTiming {
  /** How long to wait before the next dial, by the delay that `nextDelay` computed. Tests shorten it. */
  readonly wait: (delayMs: number, reason: LossReason) => number
}

export class Link {
  readonly #options: LinkOptions
  readonly #timing: LinkTiming
  /** From its welcome to its end. */
  #connection: Connection | undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#timing = {
      pingMs: PING_INTERVAL_MS,
      silenceMs: SILENCE_MS_MAX,
      welcomeMs: WELCOME_MS_MAX,
      wait: (delayMs) => delayMs,
      ...options.timing,
    }
  }

  /** Connects again and again until the signal; resolves when the last socket is closed. */
  async run(signal: AbortSignal): Promise<void> {
    let state = RESTED
    while (!signal.aborted) {
      const loss = await this.#connectOnce(signal)
      if (signal.aborted) return
      const next = nextDelay(state, loss, Math.random())
      state = next.state
      this.#report(loss, next.delayMs)
      await sleep(this.#timing.wait(next.delayMs, loss.reason), undefined, { signal }).catch(() => {})
    }
  }

  /** Whether the hub has welcomed us and the socket is open. */
  get isUp(): boolean {
    return this.#connection?.isOpen ?? false
  }

  /** Hands a frame to the socket. False when the hub is not there: it must be sent again after the next welcome. */
  send(frame: FromAgent): boolean {
    return this.#connection?.send(frame) ?? false
  }

  /** One connection's whole life. Never throws: every end is a loss with a reason. */
  async #connectOnce(signal: AbortSignal): Promise<Loss> {
    const { relay, host, log } = this.#options
    let token: string
    let hello: Hello
    try {
      token = await this.#options.token()
      hello = await this.#options.hello()
    } catch (error) {
      // The host's own files: a person cures that while the agent runs.
      return { reason: 'lost', detail: describeProblem(reportOf(error)), upMs: 0, isOurs: true }
    }
    const connection = new Connection({
      relay,
      host,
      token,
      hello,
      timing: this.#timing,
      log,
      onWithheld: (names) => this.#warnUnknown(names),
      onFrame: (frame) => {
        if (frame.type === 'welcome') this.#connection = connection
        try {
          this.#receive(frame)
        } catch (error) {
          log('warn', `a frame of type ${frame.type} could not be dealt with: ${reportOf(error).message}`)
        }
      },
    })
    const leave = () => connection.leave()
    signal.addEventListener('abort', leave)
    if (signal.aborted) leave()
    const loss = await connection.lost
    this.#connection = undefined
    signal.removeEventListener('abort', leave)
    return loss
  }

  #receive(frame: FromHub | UnknownFrame): void {
    const { log, onWelcome, onDeploy, onCancel, onStored } = this.#options
    switch (frame.type) {
      case 'welcome': {
        const skewMs = frame.at - Date.now()
        if (Math.abs(skewMs) > CLOCK_SKEW_MS_MAX)
          log(
            'warn',
            `the relay's clock is ${skew(skewMs)} this one: signed requests may be refused. Check the time service`,
          )
        if (Math.abs(frame.v - PROTOCOL_VERSION) > 1)
          log(
            'warn',
            `the relay speaks protocol ${frame.v}, this agent ${PROTOCOL_VERSION}: update the older one`,
          )
        this.#warnUnknown(frame.unknown ?? [])
        onWelcome()
        return
      }
      case 'deploy':
        onDeploy(frame)
        return
      case 'cancel':
        onCancel(frame)
        return
      case 'stored':
        onStored(frame)
        return
      default:
        log('warn', `a frame of type ${frame.type} is passed over: the relay is newer than this agent`)
    }
  }

  #warnUnknown(names: readonly string[]): void {
    if (names.length === 0) return
    const { relay, log } = this.#options
    log(
      'warn',
      `${relay} knows no triggers of these types, and refuses what comes to them: ${names.join(', ')}. Update the relay`,
    )
  }

  #report({ reason, detail, aheadMs = 0, isOurs = false }: Loss, delayMs: number): void {
    const { relay, host, log } = this.#options
    const again = `dialling again in ${(delayMs / 1000).toFixed(1)} s`
    switch (reason) {
      case 'lost':
        log(isOurs ? 'warn' : 'info', `no connection to ${relay}: ${detail}; ${again}`)
        return
      case 'replaced':
        log(
          'warn',
          `ANOTHER AGENT has connected as ${host} and took over: stop one of the two, or give it its own name; ${again}`,
        )
        return
      case 'unauthorized':
        // Whatever else is wrong, a clock that is makes every token look expired or not yet made.
        if (Math.abs(aheadMs) > CLOCK_SKEW_MS_MAX)
          log(
            'warn',
            `${relay} REFUSES this host (${detail}): ${host}'s clock is ${skew(aheadMs)} the relay's: tokens are refused until one of them is set right; ${again}`,
          )
        else log('warn', `${relay} REFUSES this host's key (${detail}): run \`ropeway enroll\`; ${again}`)
        return
    }
  }
}

function skew(aheadMs: number): string {
  return `${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`
}
