// The Durable Object of one host: who it is, its agent's socket, its undelivered requests and the log of its deploys.
// A shell: it looks up what is stored, asks decide.ts, and does what that says, each time in one turn of the event loop.

import { DurableObject } from 'cloudflare:workers'
import type { DeployDetails, HostState, PublicKey, StackState } from '../../shared/api.ts'
import { isFinal, type Deploy } from '../../shared/deploy.ts'
import type { LoggedEvent } from '../../shared/events.ts'
import {
  CLOSE,
  PING,
  PONG,
  PROTOCOL_VERSION,
  decodeFrame,
  fromAgentSchema,
  toBase64,
  type FromAgent,
  type Hello,
  type Proof,
} from '../../shared/protocol.ts'
import { allows, type Claims, type Scope } from '../../shared/tokens.ts'
import { TOKEN_TRIGGER } from '../../shared/triggers/index.ts'
import type { Env } from '../env.ts'
import { isRefusal, refusalResponse, type Refusal } from '../refusal.ts'
import { accept, deployFrame, takeIn, type Asking } from './decide.ts'
import * as log from './log.ts'
import * as sockets from './sockets.ts'
import { authorize, verifyAsk, verifyHook, type Caller, type Enrolment } from './verify.ts'

/** What the hub knows of its host. Deploys and events are in log.ts. */
interface Stored {
  enrolment: Enrolment
  /** What the agent said last, secrets of triggers included: these never leave this object. */
  hello: Pick<Hello, 'agent' | 'stacks' | 'triggers'>
  /** Counts the agent's connections; only the newest counts. */
  generation: number
  seenAt: number
}

/** What became of a request. */
export interface Accepted {
  readonly status: 'accepted' | 'duplicate'
  readonly deploy: string
  readonly agent: 'online' | 'offline'
}

export class Hub extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG))
    if (this.#get('enrolment')) log.createTables(this.#sql)
  }

  enroll(host: string, publicKey: PublicKey): 'enrolled' | 'known' | 'taken' {
    const enrolment = this.#get('enrolment')
    if (enrolment) return enrolment.publicKey.x === publicKey.x ? 'known' : 'taken'
    log.createTables(this.#sql)
    this.#put('enrolment', { host, publicKey })
    return 'enrolled'
  }

  /** A webhook: the route has chosen the trigger, its type alone says how it is verified. */
  async hook(
    host: string,
    stack: string,
    name: string,
    request: { headers: Record<string, string>; body: Uint8Array },
  ): Promise<Accepted | Refusal> {
    const trigger = this.#get('hello')?.triggers.find((each) => each.stack === stack && each.name === name)
    const verified = await verifyHook(host, trigger, request)
    if (isRefusal(verified)) return verified
    const { asked, headers } = verified
    const proof: Proof = { kind: 'hook', headers, body: toBase64(request.body) }
    return this.#accept({ host, stack, trigger: name, asked }, proof)
  }

  /** `POST …/deploys`: a person or a job asks with a token. */
  async deploy(
    caller: Caller,
    stack: string,
    { idempotencyKey, body }: { idempotencyKey: string; body: Uint8Array },
  ): Promise<Accepted | Refusal> {
    const authorized = await this.#authorize(caller, 'deploy')
    if (isRefusal(authorized)) return authorized
    const { host, claims } = authorized
    const asked = await verifyAsk(host, stack, claims, { idempotencyKey, body })
    if (isRefusal(asked)) return asked
    if (!this.#get('hello')?.stacks.includes(stack)) return stackUnknown(stack)
    const proof: Proof = { kind: 'token', token: caller.token, idempotencyKey, body: toBase64(body) }
    return this.#accept({ host, stack, trigger: TOKEN_TRIGGER, asked }, proof)
  }

  // Durable before anybody hears of it: answers and frames are held back until the rows are on the disk.
  #accept(asking: Asking, proof: Proof): Accepted {
    const now = Date.now()
    const live = sockets.liveAgent(this.ctx, this.#generation, now)
    const decision = this.ctx.storage.transactionSync(() => {
      const accepted = accept(log.findDeploy(this.#sql, asking.asked.id), asking, now)
      if (accepted.isNew) log.insertDeploy(this.#sql, accepted.deploy, proof, accepted.event)
      return accepted
    })
    if (decision.isNew && live?.agent.isGreeted)
      sockets.sendFrame(live.socket, deployFrame({ deploy: decision.deploy, proof }))
    return {
      status: decision.isNew ? 'accepted' : 'duplicate',
      deploy: decision.deploy.id,
      agent: live ? 'online' : 'offline',
    }
  }

  async hostState(caller: Caller): Promise<HostState | Refusal> {
    const authorized = await this.#authorize(caller, 'read')
    if (isRefusal(authorized)) return authorized
    const live = sockets.liveAgent(this.ctx, this.#generation, Date.now())
    const seenAt = live?.seenAt ?? this.#get('seenAt') ?? null
    const hello = this.#get('hello')
    return {
      host: authorized.host,
      agent: {
        status: live ? 'online' : 'offline',
        since: live?.agent.connectedAt ?? seenAt,
        lastSeen: seenAt,
        version: hello?.agent ?? null,
      },
      stacks: hello?.stacks.filter((stack) => allows(authorized.claims, 'read', stack)) ?? [],
    }
  }

  async stackState(caller: Caller, stack: string): Promise<StackState | Refusal> {
    const authorized = await this.#authorize(caller, 'read')
    if (isRefusal(authorized)) return authorized
    const hello = this.#get('hello')
    if (!hello?.stacks.includes(stack) || !allows(authorized.claims, 'read', stack))
      return stackUnknown(stack)
    return {
      host: authorized.host,
      stack,
      triggers: hello.triggers
        .filter((trigger) => trigger.stack === stack)
        .map(({ name, type }) => ({ name, type })),
      latest: log.listDeploys(this.#sql, [stack], 1)[0] ?? null,
    }
  }

  async deploys(
    caller: Caller,
    { stack, limit }: { stack?: string | undefined; limit: number },
  ): Promise<{ deploys: Deploy[] } | Refusal> {
    const authorized = await this.#authorize(caller, 'read')
    if (isRefusal(authorized)) return authorized
    const { claims } = authorized
    if (stack === undefined) return { deploys: log.listDeploys(this.#sql, claims.stacks, limit) }
    if (!allows(claims, 'read', stack)) return { deploys: [] }
    return { deploys: log.listDeploys(this.#sql, [stack], limit) }
  }

  async deployDetails(caller: Caller, id: string): Promise<DeployDetails | Refusal> {
    const found = await this.#find(caller, 'read', id)
    if (isRefusal(found)) return found
    const first = log.edgeEvent(this.#sql, id, 'first')
    const { image, env, reason } = first?.type === 'accepted' ? first : {}
    return {
      ...found,
      request: { image, env, reason },
      outcome: isFinal(found.status) ? (log.edgeEvent(this.#sql, id, 'last') ?? null) : null,
    }
  }

  async deployEvents(
    caller: Caller,
    id: string,
    after: number,
  ): Promise<{ deploy: Deploy; events: LoggedEvent[] } | Refusal> {
    const deploy = await this.#find(caller, 'read', id)
    return isRefusal(deploy) ? deploy : { deploy, events: log.listEvents(this.#sql, id, after) }
  }

  /** The two upgrades. Only the Worker can reach this; the URL is its own, the credentials are the caller's. */
  override async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    const caller = {
      token: (request.headers.get('authorization') ?? '').replace(/^Bearer /i, ''),
      audience: searchParams.get('audience') ?? '',
    }
    if (pathname === '/agent') return this.#connectAgent(caller)
    return this.#connectViewer(caller, {
      deploy: searchParams.get('deploy') ?? '',
      after: Number(searchParams.get('after')),
      scope: searchParams.get('scope') === 'deploy' ? 'deploy' : 'read',
    })
  }

  async #connectAgent(caller: Caller): Promise<Response> {
    const authorized = await this.#authorize(caller, 'agent')
    if (isRefusal(authorized)) return refusalResponse(authorized)
    const { 0: client, 1: server } = new WebSocketPair()
    const now = Date.now()
    this.#put('generation', this.#generation + 1)
    this.#put('seenAt', now)
    sockets.acceptAgent(this.ctx, server, {
      generation: this.#generation,
      connectedAt: now,
      isGreeted: false,
    })
    return new Response(null, { status: 101, webSocket: client })
  }

  // What was and what comes meet without a gap: replay and acceptance are one turn, in which no event can be stored.
  async #connectViewer(
    caller: Caller,
    { deploy: id, after, scope }: { deploy: string; after: number; scope: Scope },
  ): Promise<Response> {
    const deploy = await this.#find(caller, scope, id)
    if (isRefusal(deploy)) return refusalResponse(deploy)
    const { 0: client, 1: server } = new WebSocketPair()
    sockets.acceptViewer(this.ctx, server, id)
    for (const event of log.listEvents(this.#sql, id, after)) server.send(JSON.stringify(event))
    if (isFinal(deploy.status)) sockets.closeQuietly(server, 1000, 'final')
    return new Response(null, { status: 101, webSocket: client })
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    const agent = sockets.agentOn(this.ctx, socket)
    if (agent?.generation !== this.#generation) return
    const decoded = decodeFrame(fromAgentSchema, message)
    if (!decoded.ok) return sockets.closeQuietly(socket, decoded.close, decoded.reason)
    try {
      if (decoded.frame.type === 'hello') this.#greet(socket, agent, decoded.frame)
      else this.#takeIn(socket, decoded.frame)
    } catch (error) {
      // Not acknowledged, so the agent comes back and says it again. An error thrown from here would leave the socket open, and mute.
      console.error(
        `${decoded.frame.type} was not stored: ${error instanceof Error ? error.name : 'unknown'}`,
      )
      sockets.closeQuietly(socket, 1011, 'not stored')
    }
  }

  #greet(socket: WebSocket, on: sockets.AgentSocket, { agent, stacks, triggers }: Hello): void {
    this.#put('hello', { agent, stacks, triggers })
    socket.serializeAttachment({ ...on, isGreeted: true } satisfies sockets.AgentSocket)
    sockets.sendFrame(socket, {
      type: 'welcome',
      v: PROTOCOL_VERSION,
      generation: on.generation,
      at: Date.now(),
    })
    for (const unfinished of log.listUnfinished(this.#sql)) sockets.sendFrame(socket, deployFrame(unfinished))
  }

  #takeIn(socket: WebSocket, { deploy, events }: Extract<FromAgent, { type: 'events' }>): void {
    const place = log.findPlace(this.#sql, deploy)
    const intake = takeIn(place, events)
    if (intake.isGap)
      return sockets.closeQuietly(socket, CLOSE.malformed, `${deploy}: expected event ${intake.expected}`)
    this.ctx.storage.transactionSync(() => {
      for (const row of intake.rows) log.insertEvent(this.#sql, deploy, row)
      if (intake.status !== place?.status && intake.rows.length > 0)
        log.setStatus(this.#sql, deploy, intake.status, Date.now())
    })
    for (const { seq, at, event } of intake.rows)
      sockets.sendToViewers(this.ctx, deploy, JSON.stringify({ seq, at, event } satisfies LoggedEvent))
    if (isFinal(intake.status)) sockets.closeViewers(this.ctx, deploy)
    sockets.sendFrame(socket, { type: 'stored', deploy, seq: intake.storedUpTo })
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    if (sockets.agentOn(this.ctx, socket)?.generation === this.#generation) this.#put('seenAt', Date.now())
    sockets.closeQuietly(socket, code, reason)
  }

  override webSocketError(socket: WebSocket): void {
    if (sockets.agentOn(this.ctx, socket)?.generation === this.#generation) this.#put('seenAt', Date.now())
  }

  /** A deploy that the caller may see; another stack's is as good as none. */
  async #find(caller: Caller, scope: Scope, id: string): Promise<Deploy | Refusal> {
    const authorized = await this.#authorize(caller, scope)
    if (isRefusal(authorized)) return authorized
    const deploy = log.findDeploy(this.#sql, id)
    return deploy && allows(authorized.claims, scope, deploy.stack)
      ? deploy
      : { refused: 'not-found', message: 'the host has no such deploy' }
  }

  #authorize(caller: Caller, scope: Scope): Promise<{ host: string; claims: Claims } | Refusal> {
    return authorize(this.#get('enrolment'), caller, scope)
  }

  get #generation(): number {
    return this.#get('generation') ?? 0
  }

  #get<K extends keyof Stored>(key: K): Stored[K] | undefined {
    return this.ctx.storage.kv.get<Stored[K]>(key)
  }

  #put<K extends keyof Stored>(key: K, value: Stored[K]): void {
    this.ctx.storage.kv.put(key, value)
  }
}

const stackUnknown = (stack: string): Refusal => ({
  refused: 'stack-unknown',
  message: `the host has no stack ${stack}`,
  cure: 'see its ropeway.yml; the relay knows what the agent said when it last connected',
})
