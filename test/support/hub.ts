// A stand-in for the hub: a real ws server that speaks the protocol and does as it is told, so that the agent's side can be seen alone.

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { onTestFinished } from 'vitest'
import { WebSocketServer, type WebSocket } from 'ws'
import type { ToldDeclined, AgentLoggedEvent as LoggedEvent } from '../../shared/events.ts'
import {
  decodeFrame,
  encodeFrame,
  fromAgentSchema,
  PING,
  PONG,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  type DeployFrame,
  type FromHub,
  type Hello,
} from '../../shared/protocol.ts'
import { until } from './until.ts'

export interface Hub {
  readonly url: string
  readonly tokens: string[]
  readonly hellos: Hello[]
  /** Every frame of events as it came, repetitions included. */
  readonly batches: { deploy: string; events: LoggedEvent[] }[]
  /** What the agent did not take in, as often as it said so. */
  readonly declined: { deploy: string; event: ToldDeclined }[]
  readonly pings: { count: number }
  /** What a hub would have stored: by deploy, without repetitions. Throws on a gap. */
  log(deploy: string): LoggedEvent[]
  types(deploy: string): string[]
  readonly sockets: Set<WebSocket>
  send(frame: FromHub): void
  deliver(frame: DeployFrame): void
  /** Cuts every socket, as a network does. */
  drop(): void
  stop(): Promise<void>
  /** May be changed while it runs. */
  behaviour: Behaviour
}

export interface Behaviour {
  answersPings: boolean
  welcomes: boolean
  stores: boolean
  /** Without it, whoever dials is left waiting. */
  answersUpgrades: boolean
  /** Answer to the upgrade, instead of a socket. */
  refuseWith: number | undefined
  /** Closes each socket with this code after the welcome. */
  closeWith: number | undefined
  /** Of the welcome, and of the `date` of an answer to the upgrade. */
  clockOffsetMs: number
  /** Of the protocol. The first said nothing of it. */
  version: number
}

export async function startHub(initial: Partial<Behaviour> = {}): Promise<Hub> {
  const http = createServer()
  const server = new WebSocketServer({ noServer: true })
  const sockets = new Set<WebSocket>()
  const unanswered = new Set<Duplex>()
  const batches: Hub['batches'] = []
  const declined: Hub['declined'] = []
  const pings = { count: 0 }
  const tokens: string[] = []
  const hellos: Hello[] = []
  const behaviour: Behaviour = {
    answersPings: true,
    welcomes: true,
    stores: true,
    answersUpgrades: true,
    refuseWith: undefined,
    closeWith: undefined,
    clockOffsetMs: 0,
    version: PROTOCOL_VERSION,
    ...initial,
  }
  const hub: Hub = {
    url: '',
    tokens,
    hellos,
    batches,
    declined,
    pings,
    sockets,
    behaviour,
    log: (deploy) => logOf(batches, deploy),
    types: (deploy) => logOf(batches, deploy).map(({ event }) => event.type),
    send: (frame) => {
      for (const socket of sockets) socket.send(encodeFrame(frame))
    },
    deliver: (frame) => hub.send(frame),
    drop: () => {
      for (const socket of sockets) socket.terminate()
      for (const socket of unanswered) socket.destroy()
    },
    stop: async () => {
      hub.drop()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }

  server.on('headers', (headers) => {
    if (hub.behaviour.version > 1) headers.push(`${PROTOCOL_HEADER}: ${hub.behaviour.version}`)
  })
  http.on('upgrade', (request, socket, head) => {
    tokens.push(request.headers.authorization?.replace('Bearer ', '') ?? '')
    // An agent that stops meanwhile resets the connection, and nobody else listens to a socket that is upgraded.
    if (!hub.behaviour.answersUpgrades) {
      unanswered.add(socket.on('error', () => {}))
      return
    }
    if (hub.behaviour.refuseWith !== undefined) {
      socket.on('error', () => {})
      const date = new Date(Date.now() + hub.behaviour.clockOffsetMs).toUTCString()
      socket.end(
        `HTTP/1.1 ${hub.behaviour.refuseWith} No\r\nDate: ${date}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
      )
      return
    }
    server.handleUpgrade(request, socket, head, (ws) => {
      sockets.add(ws)
      ws.on('close', () => sockets.delete(ws))
      ws.on('message', (data) => receive(ws, String(data)))
    })
  })

  function receive(ws: WebSocket, text: string): void {
    if (text === PING) {
      pings.count += 1
      if (hub.behaviour.answersPings) ws.send(PONG)
      return
    }
    const decoded = decodeFrame(fromAgentSchema, text)
    if (!decoded.ok) throw new Error(`the agent sent a bad frame: ${decoded.reason}`)
    const { frame } = decoded
    if (frame.type === 'hello') {
      hellos.push(frame)
      if (hub.behaviour.welcomes)
        ws.send(
          encodeFrame({
            type: 'welcome',
            v: hub.behaviour.version,
            generation: 1,
            at: Date.now() + hub.behaviour.clockOffsetMs,
          }),
        )
      if (hub.behaviour.closeWith !== undefined) ws.close(hub.behaviour.closeWith, 'told to')
      return
    }
    if (frame.type === 'declined') {
      declined.push({ deploy: frame.deploy, event: frame.event })
      return
    }
    if (frame.type !== 'events') return
    batches.push({ deploy: frame.deploy, events: frame.events })
    if (hub.behaviour.stores)
      ws.send(encodeFrame({ type: 'stored', deploy: frame.deploy, seq: frame.events.at(-1)?.seq ?? 0 }))
  }

  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return Object.assign(hub, { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` })
}

/** A hub for one test. */
export async function hubFor(behaviour: Partial<Behaviour> = {}): Promise<Hub> {
  const hub = await startHub(behaviour)
  onTestFinished(() => hub.stop())
  return hub
}

const FINAL = ['succeeded', 'failed', 'stuck', 'superseded', 'cancelled', 'expired']

/** Waits until a deploy is over; the types of its events. */
export async function ended(hub: Hub, id: string): Promise<string[]> {
  await until(`the end of ${id}`, () => FINAL.includes(hub.types(id).at(-1) ?? ''))
  return hub.types(id)
}

function logOf(batches: Hub['batches'], deploy: string): LoggedEvent[] {
  const log: LoggedEvent[] = []
  for (const batch of batches)
    if (batch.deploy === deploy)
      for (const event of batch.events) {
        if (event.seq <= log.length) continue
        if (event.seq !== log.length + 1) throw new Error(`gap: ${event.seq} after ${log.length}`)
        log.push(event)
      }
  return log
}
