// One connection to the hub, from the dial to its end: it authenticates, says hello, pings, and ends where the hub goes silent. What the hub
// says is handed on.

import type { IncomingMessage } from 'node:http'
import { WebSocket, type ClientOptions } from 'ws'
import { FRAME_BYTES_MAX } from '../../../shared/limits.ts'
import {
  CLOSE,
  decodeFrame,
  encodeFrame,
  fromHubSchema,
  PING,
  PONG,
  PROTOCOL_HEADER,
  type FromAgent,
  type FromHub,
  type Hello,
  type UnknownFrame,
} from '../../../shared/protocol.ts'
import type { Log } from '../../log.ts'
import type { LossReason } from './backoff.ts'
import { frameFor, helloFor } from './closed.ts'

/** The relay answers an upgrade in a second or two, also from a cold start. */
const HANDSHAKE_MS_MAX = 15_000
/** After our close frame, for the hub's; then the socket is cut. */
const CLOSE_MS_MAX = 1000

/** How a connection ended, or why there was none. */
export interface Loss {
  readonly reason: LossReason
  readonly detail: string
  readonly upMs: number
  /** How far our clock is ahead of the relay's, where it has answered. */
  readonly aheadMs?: number
  /** The host's own fault: nothing was dialled. */
  readonly isOurs?: boolean
}

export interface ConnectionTiming {
  readonly pingMs: number
  readonly silenceMs: number
  readonly welcomeMs: number
}

export interface ConnectionOptions {
  /** The relay's origin. */
  readonly relay: string
  readonly host: string
  readonly token: string
  readonly hello: Hello
  readonly timing: ConnectionTiming
  readonly log: Log
  /** Triggers and chats that this relay is not told of, since it could not read them. */
  readonly onWithheld: (names: readonly string[]) => void
  /** Must not throw. */
  readonly onFrame: (frame: FromHub | UnknownFrame) => void
}

export class Connection {
  /** Resolves when the socket is closed. Never rejects: every end is a loss with a reason. */
  readonly lost: Promise<Loss>
  readonly #options: ConnectionOptions
  readonly #socket: WebSocket
  readonly #silenceTimer: NodeJS.Timeout
  readonly #pingTimer: NodeJS.Timeout
  #welcomeTimer: NodeJS.Timeout | undefined
  #welcomedAt: number | undefined
  /** Of a relay that says nothing of its version: the first had no such header. */
  #version = 1
  #cause: Omit<Loss, 'upMs'> | undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
    const { relay, host, token, timing } = options
    const socket = dial(`${relay.replace(/^http/, 'ws')}/agent/${host}`, token)
    this.#socket = socket
    this.#silenceTimer = setTimeout(() => this.#cut('the relay has gone silent'), timing.silenceMs)
    this.#pingTimer = setInterval(() => this.isOpen && socket.send(PING), timing.pingMs)
    socket.on('upgrade', (response) => (this.#version = Number(response.headers[PROTOCOL_HEADER]) || 1))
    socket.on('open', () => this.#sayHello())
    socket.on('message', (data, isBinary) => this.#take(isBinary ? new ArrayBuffer(0) : String(data)))
    socket.on('unexpected-response', (request, response) => {
      this.#cause = refusalIn(response)
      response.destroy()
      request.destroy()
      socket.terminate()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#cause ??= { reason: 'lost', detail: error.message || (error.code ?? 'the connection failed') }
    })
    this.lost = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        clearTimeout(this.#silenceTimer)
        clearTimeout(this.#welcomeTimer)
        clearInterval(this.#pingTimer)
        resolve(this.#lossBy(code, `closed with ${code} ${reason}`.trim()))
      })
    })
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN
  }

  /** Hands a frame to the socket; whether that could be done. */
  send(frame: FromAgent): boolean {
    if (!this.isOpen) return false
    const text = encodeFrame(frameFor(this.#version, frame))
    // Such a frame is a bug, and the hub would close the socket at each try to send it.
    if (Buffer.byteLength(text) > FRAME_BYTES_MAX) {
      this.#options.log('warn', `a frame over ${FRAME_BYTES_MAX} bytes is not sent: ${text.slice(0, 100)}…`)
      return false
    }
    this.#socket.send(text)
    return true
  }

  leave(): void {
    this.#socket.close(CLOSE.goingAway, 'the agent stops')
  }

  #sayHello(): void {
    const { hello, timing, onWithheld } = this.#options
    const { hello: told, withheld } = helloFor(this.#version, hello)
    onWithheld(withheld)
    this.#socket.send(encodeFrame(told))
    this.#welcomeTimer = setTimeout(() => this.#cut('the relay did not welcome us'), timing.welcomeMs)
  }

  #take(data: string | ArrayBuffer): void {
    // Frames still come in while the socket is closing. The hub delivers again what is not taken now.
    if (!this.isOpen) return
    this.#silenceTimer.refresh()
    if (data === PONG) return
    const decoded = decodeFrame(fromHubSchema, data)
    if (!decoded.ok) {
      this.#cause = { reason: 'lost', detail: `the relay sent a malformed frame (${decoded.reason})` }
      this.#socket.close(decoded.close, decoded.reason)
      return
    }
    if (decoded.frame.type === 'welcome') {
      clearTimeout(this.#welcomeTimer)
      this.#welcomedAt = performance.now()
    }
    this.#options.onFrame(decoded.frame)
  }

  #cut(detail: string): void {
    this.#cause ??= { reason: 'lost', detail }
    this.#socket.terminate()
  }

  #lossBy(code: number, otherwise: string): Loss {
    const upMs = this.#welcomedAt === undefined ? 0 : performance.now() - this.#welcomedAt
    if (code === CLOSE.replaced) return { upMs, reason: 'replaced', detail: 'replaced' }
    if (code === CLOSE.unauthorized) return { upMs, reason: 'unauthorized', detail: 'unauthorized' }
    return { upMs, ...(this.#cause ?? { reason: 'lost', detail: otherwise }) }
  }
}

function dial(url: string, token: string): WebSocket {
  // The types do not know closeTimeout yet.
  const options: ClientOptions & { closeTimeout: number } = {
    headers: { authorization: `Bearer ${token}` },
    perMessageDeflate: false,
    maxPayload: FRAME_BYTES_MAX,
    handshakeTimeout: HANDSHAKE_MS_MAX,
    closeTimeout: CLOSE_MS_MAX,
  }
  return new WebSocket(url, options)
}

// 404: a relay that does not know the host, or something that is no relay. Either way a person must act.
function refusalIn({ statusCode = 0, headers }: IncomingMessage): Omit<Loss, 'upMs'> {
  return {
    reason: [401, 403, 404].includes(statusCode) ? 'unauthorized' : 'lost',
    detail: `the relay answered ${statusCode}`,
    // NaN where it does not say.
    aheadMs: Date.now() - Date.parse(headers.date ?? ''),
  }
}
