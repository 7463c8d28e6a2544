// The Durable Object of one host: its doors. Calls from the Worker, the agent's socket and the viewers' come in here. Who has a token is
// authorized, and all go on to admission.ts, reads.ts, delivery.ts or the chats.

import { DurableObject } from 'cloudflare:workers'
import type { PublicKey, Rotation } from '../../shared/api.ts'
import { isFinal } from '../../shared/deploy.ts'
import { HOST_REQUESTS_PER_MINUTE, TRIGGER_REQUESTS_PER_MINUTE } from '../../shared/limits.ts'
import {
  CLOSE,
  PING,
  PONG,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  decodeFrame,
  fromAgentSchema,
} from '../../shared/protocol.ts'
import { SCOPES, type Claims, type Scope } from '../../shared/tokens.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse, type Refusal } from '../refusal.ts'
import { Admission } from './admission.ts'
import { Alarm } from './alarm.ts'
import { Chats, type ChatAnswer, type ChatRequest } from './chat/chats.ts'
import { Showing } from './chat/showing.ts'
import type { Accepted } from './decide.ts'
import { Delivery } from './delivery.ts'
import { FactStore, sessionKey } from './facts.ts'
import { rotated } from './keys.ts'
import { Limiter } from './limiter.ts'
import { makeNonce } from './nonce.ts'
import { findDeploy, read, readEvents, type Answer, type Kind, type Query } from './reads.ts'
import { migrate } from './schema.ts'
import { isSession, makeSession, watcherClaims } from './session.ts'
import * as sockets from './sockets.ts'
import type { LastNoted } from './uses.ts'
import type { HookRequest, Ignored } from './verified.ts'
import { authorize, type Caller, type Holder, type TokenRequest } from './verify.ts'

const TOO_MANY_KEYS: Refusal = {
  refused: 'malformed',
  message: 'too many former keys still count',
  cure: 'ask with keepSeconds 0, which ends them all',
}

/** Of what wrangler.toml says, the hub's part: numbers, as text; shared/limits.ts says what they limit. */
export interface HubEnv {
  readonly TRIGGER_REQUESTS_PER_MINUTE?: string
  readonly HOST_REQUESTS_PER_MINUTE?: string
}

export class Hub extends DurableObject<HubEnv> {
  readonly #sql = this.ctx.storage.sql
  readonly #facts = new FactStore(this.ctx.storage.kv)
  readonly #alarm = new Alarm(this.ctx.storage)
  readonly #showing = new Showing(this.ctx, this.#facts, this.#alarm)
  readonly #delivery = new Delivery(this.ctx, this.#facts, {
    alarm: this.#alarm,
    onShown: (deploy) => this.#showing.note(deploy),
  })
  readonly #admission: Admission
  readonly #chats: Chats

  constructor(ctx: DurableObjectState, env: HubEnv) {
    super(ctx, env)
    const limiter = new Limiter({
      perTrigger: Number(env.TRIGGER_REQUESTS_PER_MINUTE) || TRIGGER_REQUESTS_PER_MINUTE,
      perHost: Number(env.HOST_REQUESTS_PER_MINUTE) || HOST_REQUESTS_PER_MINUTE,
    })
    const noted: LastNoted = new Map()
    const delivery = this.#delivery
    this.#admission = new Admission(this.#sql, this.#facts, { delivery, limiter, noted })
    this.#chats = new Chats(ctx, this.#facts, {
      delivery,
      showing: this.#showing,
      limiter,
      noted,
      accept: (submission, proof) => this.#admission.accept(submission, proof),
    })
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG))
    if (this.#facts.get('enrolment')) migrate(ctx.storage, this.#facts)
  }

  enroll(host: string, publicKey: PublicKey): 'enrolled' | 'known' | 'taken' {
    const enrolment = this.#facts.get('enrolment')
    if (enrolment) return enrolment.keys[0]?.publicKey.x === publicKey.x ? 'known' : 'taken'
    migrate(this.ctx.storage, this.#facts)
    this.#facts.put('enrolment', { host, keys: [{ publicKey, until: null }] })
    return 'enrolled'
  }

  /** A webhook: the route has chosen the trigger, its type alone says how it is verified. */
  hook(
    host: string,
    stack: string,
    name: string,
    request: HookRequest,
  ): Promise<Accepted | Ignored | Refusal> {
    return this.#admission.hook(host, stack, name, request)
  }

  /** A session for the stack of a request that has just come by a hook. The Worker watches the deploy with it and gives it to nobody. */
  async watcher(host: string, stack: string, audience: string): Promise<string> {
    const now = new Date()
    const claims = watcherClaims(stack, makeNonce(), now)
    return (await makeSession(sessionKey(this.#facts), { host, audience, claims, now })).token
  }

  /** What a chat's platform sent; the answer is the platform's own JSON. */
  chat(host: string, name: string, request: ChatRequest): Promise<ChatAnswer | Refusal> {
    return this.#chats.hear(host, name, request)
  }

  /** `POST …/deploys` and `POST …/rollback`: a person or a job asks with a token. */
  ask(caller: Caller, stack: string, request: TokenRequest): Promise<Accepted | Refusal> {
    return this.#as(caller, request.kind, (holder) =>
      this.#admission.ask(holder, caller.token, stack, request),
    )
  }

  /** `POST …/cancel`: the hub ends a deploy that it alone has. For any other it sends the agent what the caller signed. */
  cancel(
    caller: Caller,
    id: string,
    body: Uint8Array,
  ): Promise<{ status: 'cancelled' | 'cancelling' } | Refusal> {
    return this.#as(caller, 'deploy', (holder) => this.#admission.cancel(holder, caller.token, id, body))
  }

  /** A short-lived right to read, for a browser, which can send no token with an event stream. */
  async session(caller: Caller): Promise<{ token: string; expiresAt: number } | Refusal> {
    // A session cannot be made from a session, or it could be prolonged for ever.
    if (isSession(caller.token)) return UNAUTHORIZED
    const { audience } = caller
    return this.#as(caller, 'read', ({ host, claims }) =>
      makeSession(sessionKey(this.#facts), { host, audience, claims, now: new Date() }),
    )
  }

  /** The host gets a new key, by a token of its newest one. A former key that still counts may not replace it. */
  rotateKey(caller: Caller, rotation: Rotation): Promise<{ host: string; keys: number } | Refusal> {
    const rotate = () => {
      const enrolment = this.#facts.get('enrolment')
      const next = enrolment && rotated(enrolment, rotation, Date.now())
      if (!next) return TOO_MANY_KEYS
      this.#facts.put('enrolment', next)
      if (next.keys.length === 1) {
        // Every token so far was signed with a key that does not count any more. So the sessions that were made from them end too.
        this.#facts.forget('sessionKey')
        sockets.dismissViewers(this.ctx, 'all')
      }
      return { host: next.host, keys: next.keys.length }
    }
    return this.#as(caller, 'agent', rotate, { newestKeyOnly: true })
  }

  revoke(caller: Caller, ids: readonly string[]): Promise<{ host: string; revoked: number } | Refusal> {
    return this.#as(caller, 'agent', ({ host }) => {
      this.#facts.put('revoked', ids)
      sockets.dismissViewers(this.ctx, ids)
      return { host, revoked: ids.length }
    })
  }

  /** Everything that the API shows. */
  read<K extends Kind>(caller: Caller, query: Query<K>): Promise<Answer<K> | Refusal> {
    return this.#as(caller, 'read', (holder) => {
      const liveAgent = () => this.#delivery.liveAgent(Date.now())
      return read({ sql: this.#sql, facts: this.#facts, liveAgent, ...holder }, query)
    })
  }

  /** The two WebSocket upgrades. Only the Worker can call this: it made the URL, and passes on the caller's credentials. */
  override async fetch(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    const caller = {
      token: (request.headers.get('authorization') ?? '').replace(/^Bearer /i, ''),
      audience: searchParams.get('audience') ?? '',
    }
    if (pathname === '/agent') return answered(this.#as(caller, 'agent', () => this.#connectAgent()))
    const scope = SCOPES.find((each) => each === searchParams.get('scope')) ?? 'read'
    const watched = { scope, id: searchParams.get('deploy') ?? '', after: Number(searchParams.get('after')) }
    return answered(this.#as(caller, scope, ({ claims }) => this.#connectViewer(claims, watched)))
  }

  #connectAgent(): Response {
    const { 0: client, 1: server } = new WebSocketPair()
    const now = Date.now()
    this.#facts.put('generation', this.#generation + 1)
    this.#facts.put('seenAt', now)
    sockets.acceptAgent(this.ctx, server, {
      generation: this.#generation,
      connectedAt: now,
      isGreeted: false,
    })
    const headers = { [PROTOCOL_HEADER]: String(PROTOCOL_VERSION) }
    return new Response(null, { status: 101, webSocket: client, headers })
  }

  // Replay and acceptance are one turn of the event loop. No event can be stored between them, so the viewer misses none.
  #connectViewer(
    claims: Claims,
    { scope, id, after }: { scope: Scope; id: string; after: number },
  ): Response | Refusal {
    const deploy = findDeploy(this.#sql, claims, scope, id)
    if (isRefusal(deploy)) return deploy
    const { 0: client, 1: server } = new WebSocketPair()
    sockets.acceptViewer(this.ctx, server, { deploy: id, token: claims.id })
    for (const event of readEvents(this.#sql, id, after)) server.send(JSON.stringify(event))
    if (isFinal(deploy.status)) sockets.closeQuietly(server, 1000, 'final')
    return new Response(null, { status: 101, webSocket: client })
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    const agent = sockets.agentOn(this.ctx, socket)
    if (agent?.generation !== this.#generation) return
    const decoded = decodeFrame(fromAgentSchema, message)
    if (!decoded.ok) return sockets.closeQuietly(socket, decoded.close, decoded.reason)
    const { frame } = decoded
    if ((frame.type === 'hello') === agent.isGreeted)
      return sockets.closeQuietly(socket, CLOSE.malformed, 'hello comes first, and once')
    const now = Date.now()
    try {
      if (frame.type === 'hello') {
        await this.#delivery.greet(socket, agent, frame, now)
        await this.#showing.resume()
      } else if (frame.type === 'events') this.#delivery.takeIn(socket, frame, now)
      else if (frame.type === 'declined') this.#delivery.decline(frame, now)
      else console.warn(`a frame of type ${frame.type} is passed over: the agent is newer than this relay`)
    } catch (error) {
      // The agent gets no acknowledgement, so it connects again and repeats the frame. An error thrown from here would leave the socket open and mute.
      console.error(`${frame.type} was not stored: ${error instanceof Error ? error.name : 'unknown'}`)
      sockets.closeQuietly(socket, 1011, 'not stored')
    }
  }

  override async alarm(): Promise<void> {
    this.#alarm.rings()
    try {
      await this.#delivery.wake(Date.now())
    } finally {
      await this.#showing.wake(Date.now())
    }
  }

  override webSocketClose(socket: WebSocket, code: number, reason: string): void {
    this.#leave(socket)
    sockets.closeQuietly(socket, code, reason)
  }

  override webSocketError(socket: WebSocket): void {
    this.#leave(socket)
  }

  #leave(socket: WebSocket): void {
    if (sockets.agentOn(this.ctx, socket)?.generation === this.#generation)
      this.#facts.put('seenAt', Date.now())
  }

  /** Does the work if the caller's token is good and has the scope. Everything that needs a token goes through here. */
  async #as<T>(
    caller: Caller,
    scope: Scope,
    work: (holder: Holder) => T | Promise<T>,
    { newestKeyOnly = false }: { newestKeyOnly?: boolean } = {},
  ): Promise<T | Refusal> {
    const holder = await authorize(this.#facts, caller, scope, new Date(), { newestKeyOnly })
    return isRefusal(holder) ? holder : await work(holder)
  }

  get #generation(): number {
    return this.#facts.get('generation') ?? 0
  }
}

async function answered(response: Promise<Response | Refusal>): Promise<Response> {
  const upgraded = await response
  return isRefusal(upgraded) ? refusalResponse(upgraded) : upgraded
}
