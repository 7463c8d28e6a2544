// A relay for tests, and the three who talk to it: the host's agent, a sender of hooks, a holder of tokens.

import { randomBytes, randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, type CryptoKey } from 'jose'
import { WebSocket, type ClientOptions } from 'ws'
import { startRelay, type Relay, type RelayOptions } from '../../agent/relay/relay.ts'
import type { PublicKey } from '../../shared/api.ts'
import type { AgentEvent, LoggedEvent } from '../../shared/events.ts'
import { PROTOCOL_VERSION, type DeployFrame, type FromAgent, type FromHub } from '../../shared/protocol.ts'
import { signToken, type Scope, type TokenOptions } from '../../shared/tokens.ts'
import { REQUEST_TTL_MS } from '../../shared/limits.ts'
import type { Trigger } from '../../shared/triggers/index.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { buildWorker } from '../build.ts'

export const ENROLL_KEY = 'test-enrolment-key'
/** The hub gives up on nothing within a test; what does not come within this is not going to. */
const NEXT_MS_MAX = 20_000
/** The same where a process of its own, which has to start first, makes it come: on a busy machine that takes seconds. */
export const START_MS_MAX = 60_000

/** More than any test asks for that is not about limits. */
const NO_LIMITS = { requests: 1_000_000, failures: 1_000_000, perTrigger: 1_000_000, perHost: 1_000_000 }

export async function testRelay(options: Partial<RelayOptions> = {}): Promise<Relay> {
  await buildWorker()
  return startRelay({ dataDir: undefined, port: 0, enrollKey: ENROLL_KEY, limits: NO_LIMITS, ...options })
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** Whatever JSON it was: tests say what they expect of it. */
  readonly body: ReturnType<typeof JSON.parse>
}

/** One request, its answer read whole. */
export async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? undefined : JSON.parse(text),
  }
}

/** A host with its key, enrolled under a name that no other test has. */
export class TestHost {
  readonly name: string
  readonly secret = `whsec_${randomBytes(32).toString('base64')}`
  readonly privateKey: CryptoKey
  readonly publicKey: PublicKey
  /** Changes when the relay starts again on another port; tokens are made for it. */
  url: string

  private constructor(url: string, name: string, privateKey: CryptoKey, publicKey: PublicKey) {
    this.url = url
    this.name = name
    this.privateKey = privateKey
    this.publicKey = publicKey
  }

  /** A host with a key that the relay does not know yet. */
  static async unknown(relay: Relay, name = `host-${randomUUID()}`): Promise<TestHost> {
    const keys = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
    return new TestHost(relay.url, name, keys.privateKey, (await exportJWK(keys.publicKey)) as PublicKey)
  }

  static async enrolled(relay: Relay): Promise<TestHost> {
    const host = await TestHost.unknown(relay)
    await host.enroll()
    return host
  }

  enroll(publicKey: object = this.publicKey, enrollKey = ENROLL_KEY): Promise<Answer> {
    return ask(`${this.url}/v1/hosts/${this.name}/enroll`, {
      method: 'POST',
      headers: { authorization: `Bearer ${enrollKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ publicKey }),
    })
  }

  token(scopes: readonly Scope[], options: Partial<TokenOptions> = {}): Promise<string> {
    return signToken(this.privateKey, {
      host: this.name,
      audience: this.url,
      actor: 'tester',
      scopes,
      ttlSeconds: 60,
      now: new Date(),
      ...options,
    })
  }

  /** GET below /v1/hosts/{host} with a token that may read, unless another is given. */
  async get(path: string, init: { token?: string; headers?: Record<string, string> } = {}): Promise<Answer> {
    const token = init.token ?? (await this.token(['read']))
    return ask(`${this.url}/v1/hosts/${this.name}${path}`, {
      headers: { authorization: `Bearer ${token}`, accept: 'application/json', ...init.headers },
    })
  }

  /** Writes JSON below /v1/hosts/{host}, with a token of scope `agent` unless another is asked for. */
  async put(
    path: string,
    body: unknown,
    init: { method?: string; scopes?: readonly Scope[] } = {},
  ): Promise<Answer> {
    const token = await this.token(init.scopes ?? ['agent'])
    return ask(`${this.url}/v1/hosts/${this.name}${path}`, {
      method: init.method ?? 'PUT',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  }

  /** POST …/deploys with a token. */
  async deploy(
    body: string,
    init: { token?: string; stack?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const token = init.token ?? (await this.token(['deploy']))
    return ask(`${this.url}/v1/hosts/${this.name}/stacks/${init.stack ?? 'hello'}/deploys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...init.headers },
      body,
    })
  }

  /** POST …/rollback with a token. */
  async rollback(
    body: string | undefined,
    init: { token?: string; stack?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const token = init.token ?? (await this.token(['rollback']))
    const type = body === undefined ? {} : { 'content-type': 'application/json' }
    return ask(`${this.url}/v1/hosts/${this.name}/stacks/${init.stack ?? 'hello'}/rollback`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, ...type, ...init.headers },
      ...(body === undefined ? {} : { body }),
    })
  }

  /** POST …/cancel of a deploy with a token. */
  async cancel(id: string, init: { token?: string; body?: string } = {}): Promise<Answer> {
    const token = init.token ?? (await this.token(['deploy']))
    return ask(`${this.url}/v1/hosts/${this.name}/deploys/${id}/cancel`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: init.body ?? `{"cancel":"${id}"}`,
    })
  }

  /** A hook as an honest sender makes it; `change` makes it dishonest. */
  async hook(
    body = '{}',
    change: {
      id?: string
      at?: number
      path?: string
      secret?: string
      method?: string
      headers?: Record<string, string | undefined>
      sent?: string | Uint8Array<ArrayBuffer>
    } = {},
  ): Promise<Answer> {
    const signed = await signStandardWebhook(change.secret ?? this.secret, {
      id: change.id ?? `msg_${randomUUID()}`,
      timestampSeconds: change.at ?? Math.floor(Date.now() / 1000),
      body: new TextEncoder().encode(body),
    })
    const headers = new Headers({ ...signed, 'content-type': 'application/json' })
    for (const [name, value] of Object.entries(change.headers ?? {}))
      if (value === undefined) headers.delete(name)
      else headers.set(name, value)
    return ask(`${this.url}${change.path ?? this.hookPath()}`, {
      method: change.method ?? 'POST',
      headers,
      body: change.sent ?? body,
    })
  }

  hookPath(stack = 'hello', trigger = 'deploy'): string {
    return `/hooks/${this.name}/${stack}/${trigger}`
  }

  /** The trigger `deploy` of a stack, as the host's agent announces it. */
  trigger(stack = 'hello'): Trigger {
    return {
      type: 'standard-webhooks',
      stack,
      name: 'deploy',
      ttlMs: REQUEST_TTL_MS,
      keys: [this.secret],
    }
  }

  /** The agent's socket, which has said hello and been welcomed. */
  async agent(
    stacks: readonly string[] = ['hello'],
    triggers: readonly Trigger[] = stacks.map((stack) => this.trigger(stack)),
    revoked: readonly string[] = [],
  ): Promise<AgentSocket> {
    const agent = await this.silentAgent()
    agent.send({
      type: 'hello',
      v: PROTOCOL_VERSION,
      agent: '0.0.0-test',
      stacks: [...stacks],
      triggers: [...triggers],
      revoked: [...revoked],
    })
    const welcome = await agent.next()
    if (welcome.type !== 'welcome') throw new Error(`${welcome.type} instead of welcome`)
    return agent
  }

  /** The agent's socket, open, before it has said anything. */
  async silentAgent(token?: string): Promise<AgentSocket> {
    return AgentSocket.open(this.url, this.name, token ?? (await this.token(['agent'])))
  }

  /** The deploy's events as a stream. */
  async watch(id: string, headers: Record<string, string> = {}): Promise<EventStream> {
    return EventStream.open(`${this.url}/v1/hosts/${this.name}/deploys/${id}/events`, {
      headers: { authorization: `Bearer ${await this.token(['read'])}`, ...headers },
    })
  }
}

/** The agent's end of the socket: frames queue up, so that none is missed between two `next`. */
export class AgentSocket {
  readonly socket: WebSocket
  readonly #frames: string[] = []
  #wake: () => void = () => {}
  #closed: { code: number; reason: string } | undefined

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', (data) => {
      this.#frames.push(String(data))
      this.#wake()
    })
    socket.on('close', (code, reason) => {
      this.#closed = { code, reason: String(reason) }
      this.#wake()
    })
    // Close follows, with the code that tests look at.
    socket.on('error', () => {})
  }

  /** Rejects with the HTTP status when the relay refuses the upgrade. */
  static async open(url: string, host: string, token: string): Promise<AgentSocket> {
    // closeTimeout is newer than the types. Without it a close by the hub takes 10 s: workerd keeps the connection until it evicts the hub.
    const options: ClientOptions & { closeTimeout: number } = {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      closeTimeout: 1000,
    }
    const socket = new WebSocket(`${url.replace('http', 'ws')}/agent/${host}`, options)
    const agent = new AgentSocket(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
      socket.once('unexpected-response', (request, response) => {
        response.resume()
        request.destroy()
        reject(new Error(`HTTP ${response.statusCode}`))
      })
    })
    return agent
  }

  send(frame: FromAgent): void {
    this.socket.send(JSON.stringify(frame))
  }

  /** Events of a deploy, numbered by the agent from `seq` on. */
  report(deploy: string, seq: number, ...events: AgentEvent[]): void {
    this.send({
      type: 'events',
      deploy,
      events: events.map((event, i) => ({ seq: seq + i, at: Date.now(), event })),
    })
  }

  async nextText(waitMs = NEXT_MS_MAX): Promise<string> {
    await this.#until(() => this.#frames.length > 0, waitMs)
    return this.#frames.shift()!
  }

  async next(waitMs = NEXT_MS_MAX): Promise<FromHub> {
    return JSON.parse(await this.nextText(waitMs))
  }

  async nextDeploy(waitMs = NEXT_MS_MAX): Promise<DeployFrame> {
    const frame = await this.next(waitMs)
    if (frame.type !== 'deploy') throw new Error(`${JSON.stringify(frame)} instead of a deploy`)
    return frame
  }

  /** Sends a ping and gives what came before its answer: all that the hub had to say so far. */
  async drained(): Promise<FromHub[]> {
    this.socket.send('ping')
    await this.#until(() => this.#frames.includes('pong'))
    return this.#frames
      .splice(0, this.#frames.indexOf('pong') + 1)
      .slice(0, -1)
      .map((text) => JSON.parse(text))
  }

  /** What came and was not asked for by `next`. */
  unread(): FromHub[] {
    return this.#frames.splice(0).map((text) => JSON.parse(text))
  }

  async closed(): Promise<{ code: number; reason: string }> {
    await this.#until(() => this.#closed !== undefined)
    return this.#closed!
  }

  async close(): Promise<void> {
    this.socket.close(1000)
    await this.closed()
  }

  async #until(isTrue: () => boolean, waitMs = NEXT_MS_MAX): Promise<void> {
    const deadline = Date.now() + waitMs
    while (!isTrue()) {
      if (this.#closed && !isTrue()) throw new Error(`the socket was closed: ${JSON.stringify(this.#closed)}`)
      const leftMs = deadline - Date.now()
      if (leftMs <= 0) throw new Error(`nothing came for ${waitMs} ms`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

/** A Server-Sent Events stream, one event at a time. */
export class EventStream {
  readonly response: Response
  readonly #abort: AbortController
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  #text = ''

  private constructor(response: Response, abort: AbortController) {
    this.response = response
    this.#abort = abort
    this.#reader = response.body!.getReader()
  }

  static async open(url: string, init: RequestInit): Promise<EventStream> {
    const abort = new AbortController()
    return new EventStream(await fetch(url, { ...init, signal: abort.signal }), abort)
  }

  /** The next event, or undefined when the stream has ended. What keeps a quiet stream open is neither. */
  async next(waitMs = NEXT_MS_MAX): Promise<(LoggedEvent & { id: string }) | undefined> {
    const enough = setTimeout(() => {
      this.#abort.abort(new Error(`the stream brought no event for ${waitMs} ms, and did not end`))
    }, waitMs)
    try {
      return await this.#nextEvent()
    } finally {
      clearTimeout(enough)
    }
  }

  async #nextEvent(): Promise<(LoggedEvent & { id: string }) | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end >= 0) {
        const lines = this.#text.slice(0, end).split('\n')
        this.#text = this.#text.slice(end + 2)
        const field = (name: string) =>
          lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
        const data = field('data')
        if (data !== undefined) return { ...JSON.parse(data), id: field('id') }
        continue
      }
      const { done, value } = await this.#reader.read()
      if (done) return undefined
      this.#text += this.#decoder.decode(value, { stream: true })
    }
  }

  /** All events to the end. */
  async rest(): Promise<(LoggedEvent & { id: string })[]> {
    const events: (LoggedEvent & { id: string })[] = []
    for (let event = await this.next(); event; event = await this.next()) events.push(event)
    return events
  }

  close(): void {
    this.#abort.abort()
  }
}

/** What the agent of a deploy that changes one thing might say. */
export const ROLL: AgentEvent[] = [
  { type: 'received' },
  { type: 'started' },
  {
    type: 'planned',
    plan: { stack: 'hello', upstream: 'apps', instances: ['app2'], steps: [{ kind: 'verify' }] },
  },
  { type: 'step-started', step: 0 },
  { type: 'step-finished', step: 0, ms: 12, facts: { requests: 5 } },
  { type: 'succeeded', ms: 40, changed: true, services: { app2: 'hello:v2' } },
]
