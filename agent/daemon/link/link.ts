// The agent's socket to its hub: dial, authenticate, say hello, keep alive, and dial again whatever happened. It carries frames and
// knows nothing of deploys.

import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket, type ClientOptions } from 'ws'
import { FRAME_BYTES_MAX, PING_INTERVAL_MS, SILENCE_MS_MAX } from '../../../shared/limits.ts'
import {
  CLOSE,
  decodeFrame,
  encodeFrame,
  fromHubSchema,
  PING,
  PONG,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  type CancelFrame,
  type FromAgent,
  type FromHub,
  type Hello,
  type UnknownFrame,
} from '../../../shared/protocol.ts'
import { reportOf } from '../../../shared/problems.ts'
import { describeProblem } from '../../../shared/words.ts'
import { nextDelay, RESTED, type LossReason } from './backoff.ts'
import { frameFor, helloFor } from './closed.ts'
import type { Log } from '../../log.ts'

/** The relay answers an upgrade in a second or two, also from a cold start. */
const HANDSHAKE_MS_MAX = 15_000
/** A hub that fails on our hello keeps the socket open and even answers pings: without its welcome the connection is worth nothing. */
const WELCOME_MS_MAX = 15_000
/** After our close frame, for the hub's; then the socket is cut. */
const CLOSE_MS_MAX = 1000
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

export interface LinkTiming {
  readonly pingMs: number
  readonly silenceMs: number
  readonly welcomeMs: number
  /** The wait that was computed to the wait that is kept: tests shorten it. */
  readonly wait: (delayMs: number, reason: LossReason) => number
}

export class Link {
  readonly #options: LinkOptions
  readonly #timing: LinkTiming
  #socket: WebSocket | undefined
  /** What the relay at the other end speaks. */
  #version = 1

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
    return this.#socket?.readyState === WebSocket.OPEN
  }

  /** Hands a frame to the socket. False when the hub is not there: it must be sent again after the next welcome. */
  send(frame: FromAgent): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false
    const text = encodeFrame(frameFor(this.#version, frame))
    // A bug, but one that would close the socket again and again.
    if (Buffer.byteLength(text) > FRAME_BYTES_MAX) {
      this.#options.log('warn', `a frame over ${FRAME_BYTES_MAX} bytes is not sent: ${text.slice(0, 100)}…`)
      return false
    }
    this.#socket.send(text)
    return true
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
    // The types do not know closeTimeout yet.
    const options: ClientOptions & { closeTimeout: number } = {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      maxPayload: FRAME_BYTES_MAX,
      handshakeTimeout: HANDSHAKE_MS_MAX,
      closeTimeout: CLOSE_MS_MAX,
    }
    const socket = new WebSocket(`${relay.replace(/^http/, 'ws')}/agent/${host}`, options)
    const { promise: lost, resolve: lose } = Promise.withResolvers<Loss>()
    let welcomedAt: number | undefined
    let why: Omit<Loss, 'upMs'> | undefined

    const cut = (detail: string) => {
      why ??= { reason: 'lost', detail }
      socket.terminate()
    }
    const silence = setTimeout(() => cut('the relay has gone silent'), this.#timing.silenceMs)
    let unwelcome: NodeJS.Timeout | undefined
    const ping = setInterval(() => {
      if (socket.readyState === WebSocket.OPEN) socket.send(PING)
    }, this.#timing.pingMs)
    const leave = () => socket.close(CLOSE.goingAway, 'the agent stops')
    signal.addEventListener('abort', leave)

    // One that says nothing of its version is of the first, which knew no such header.
    let version = 1
    socket.on('upgrade', (response) => (version = Number(response.headers[PROTOCOL_HEADER]) || 1))
    socket.on('open', () => {
      const { hello: told, withheld } = helloFor(version, hello)
      this.#warnUnknown(withheld)
      socket.send(encodeFrame(told))
      unwelcome = setTimeout(() => cut('the relay did not welcome us'), this.#timing.welcomeMs)
    })
    socket.on('message', (data, isBinary) => {
      // While closing, frames still come in: not taken here, they are delivered again.
      if (socket.readyState !== WebSocket.OPEN) return
      silence.refresh()
      const text = isBinary ? new ArrayBuffer(0) : String(data)
      if (text === PONG) return
      const decoded = decodeFrame(fromHubSchema, text)
      if (!decoded.ok) {
        why = { reason: 'lost', detail: `the relay sent a malformed frame (${decoded.reason})` }
        socket.close(decoded.close, decoded.reason)
        return
      }
      if (decoded.frame.type === 'welcome') {
        clearTimeout(unwelcome)
        welcomedAt = performance.now()
        this.#socket = socket
        this.#version = version
      }
      try {
        this.#receive(decoded.frame)
      } catch (error) {
        log(
          'warn',
          `a frame of type ${decoded.frame.type} could not be dealt with: ${reportOf(error).message}`,
        )
      }
    })
    socket.on('unexpected-response', (request, response) => {
      const status = response.statusCode ?? 0
      // 404: a relay that does not know the host, or something that is no relay. Either way a person must act.
      const isRefused = status === 401 || status === 403 || status === 404
      why = {
        reason: isRefused ? 'unauthorized' : 'lost',
        detail: `the relay answered ${status}`,
        // NaN where it does not say.
        aheadMs: Date.now() - Date.parse(response.headers.date ?? ''),
      }
      response.destroy()
      request.destroy()
      socket.terminate()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      why ??= { reason: 'lost', detail: error.message || (error.code ?? 'the connection failed') }
    })
    socket.on('close', (code, reason) => {
      const upMs = welcomedAt === undefined ? 0 : performance.now() - welcomedAt
      lose({
        upMs,
        ...(reasonOf(code) ?? why ?? { reason: 'lost', detail: `closed with ${code} ${reason}`.trim() }),
      })
    })
    if (signal.aborted) leave()

    const loss = await lost
    if (this.#socket === socket) this.#socket = undefined
    clearTimeout(silence)
    clearTimeout(unwelcome)
    clearInterval(ping)
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

interface Loss {
  readonly reason: LossReason
  readonly detail: string
  readonly upMs: number
  /** How far our clock is ahead of the relay's, where it has answered. */
  readonly aheadMs?: number
  /** The host's own fault: nothing was dialled. */
  readonly isOurs?: boolean
}

function skew(aheadMs: number): string {
  return `${Math.round(Math.abs(aheadMs) / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`
}

function reasonOf(code: number): { reason: LossReason; detail: string } | undefined {
  if (code === CLOSE.replaced) return { reason: 'replaced', detail: 'replaced' }
  if (code === CLOSE.unauthorized) return { reason: 'unauthorized', detail: 'unauthorized' }
  return undefined
}
