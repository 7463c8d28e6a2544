// Hosts that exist for the relay alone: a key, some stacks with a trigger each, and the agent's side of the socket as far as it is needed.

import { once } from 'node:events'
import { randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, type CryptoKey } from 'jose'
import { WebSocket, type ClientOptions } from 'ws'
import type { PublicKey } from '../../../shared/api.ts'
import { REQUEST_TTL_MS } from '../../../shared/limits.ts'
import {
  PROTOCOL_VERSION,
  encodeFrame,
  type FromAgent,
  type FromHub,
  type Hello,
} from '../../../shared/protocol.ts'
import { signToken, type Scope } from '../../../shared/tokens.ts'
import { signStandardWebhook } from '../../../shared/triggers/standard-webhooks.ts'
import { Connection, requestBytes } from './connection.ts'
import { ENROLL_KEY } from './relay.ts'

export const SECRET = `whsec_${btoa('only for this benchmark!')}`
export const BODY = JSON.stringify({ env: { MESSAGE: '{service},v2' } })
const JSON_TYPE = { 'content-type': 'application/json' }
/** A relay with ten thousand others to greet takes its time. */
const WELCOME_MS_MAX = 60_000

export interface BenchHost {
  readonly name: string
  readonly stacks: readonly string[]
  readonly publicKey: PublicKey
  readonly privateKey: CryptoKey
}

export async function newHost(name: string, stacks: number): Promise<BenchHost> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  return {
    name,
    stacks: Array.from({ length: stacks }, (_, index) => `stack-${index}`),
    publicKey: (await exportJWK(publicKey)) as PublicKey,
    privateKey,
  }
}

export async function enroll(
  connection: Connection,
  url: string,
  { name, publicKey }: Pick<BenchHost, 'name' | 'publicKey'>,
): Promise<void> {
  const headers = { ...JSON_TYPE, authorization: `Bearer ${ENROLL_KEY}` }
  const request = requestBytes(
    'POST',
    `${url}/v1/hosts/${name}/enroll`,
    headers,
    JSON.stringify({ publicKey }),
  )
  const { status, body } = await connection.send(request)
  // 200 to one that was asked twice, since the first answer was lost.
  if (status !== 201 && status !== 200) throw new Error(`enrolling ${name} was answered ${status}: ${body}`)
}

export function tokenFor({ name, privateKey }: BenchHost, url: string, scope: Scope): Promise<string> {
  return signToken(privateKey, {
    host: name,
    audience: url,
    actor: 'bench',
    scopes: [scope],
    ttlSeconds: 600,
    now: new Date(),
  })
}

export function helloOf({ stacks }: BenchHost, ttlMs = REQUEST_TTL_MS): Hello {
  return {
    type: 'hello',
    v: PROTOCOL_VERSION,
    agent: 'bench',
    stacks: [...stacks],
    triggers: stacks.map((stack) => ({
      type: 'standard-webhooks',
      stack,
      name: 'deploy',
      ttlMs,
      keys: [SECRET],
    })),
    revoked: [],
  }
}

/** The agent's socket, welcomed. Every frame goes to `onFrame`, and every pong. */
export async function connectAgent(
  host: BenchHost,
  url: string,
  onFrame: (frame: FromHub | 'pong', socket: WebSocket) => void = () => {},
  hello = helloOf(host),
): Promise<WebSocket> {
  // closeTimeout is newer than the types.
  const options: ClientOptions & { closeTimeout: number } = {
    headers: { authorization: `Bearer ${await tokenFor(host, url, 'agent')}` },
    perMessageDeflate: false,
    closeTimeout: 1000,
    handshakeTimeout: WELCOME_MS_MAX,
  }
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/agent/${host.name}`, options)
  const welcomed = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${host.name} was not welcomed`)), WELCOME_MS_MAX)
    socket.on('message', (data) => {
      const text = String(data)
      const frame = text === 'pong' ? text : (JSON.parse(text) as FromHub)
      if (frame !== 'pong' && frame.type === 'welcome') {
        clearTimeout(timer)
        resolve()
      }
      onFrame(frame, socket)
    })
    socket.once('error', (cause) =>
      reject(new Error(`${host.name} could not connect: ${cause.message}`, { cause })),
    )
    socket.once('close', (code) => reject(new Error(`${host.name} was closed with ${code}`)))
  })
  socket.once('open', () => socket.send(encodeFrame(hello)))
  await welcomed
  return socket
}

export function sendEvents(
  socket: WebSocket,
  deploy: string,
  events: Extract<FromAgent, { type: 'events' }>['events'],
): void {
  socket.send(encodeFrame({ type: 'events', deploy, events }))
}

/** Enrolled, has said hello once, and is away: what it hears of afterwards waits for it. */
export async function absentHost(url: string, name: string, stacks: number): Promise<BenchHost> {
  const host = await newHost(name, stacks)
  const connection = await Connection.open(url)
  await enroll(connection, url, host)
  connection.close()
  const socket = await connectAgent(host, url)
  const closed = once(socket, 'close')
  socket.close(1000)
  await closed
  return host
}

/** A hook of one of the host's stacks, signed now and good for five minutes. */
export async function signedHook(url: string, host: string, stack: string): Promise<Buffer> {
  const signed = await signStandardWebhook(SECRET, {
    id: `msg_${randomUUID()}`,
    timestampSeconds: Math.floor(Date.now() / 1000),
    body: new TextEncoder().encode(BODY),
  })
  return requestBytes('POST', `${url}/hooks/${host}/${stack}/deploy`, { ...JSON_TYPE, ...signed }, BODY)
}
