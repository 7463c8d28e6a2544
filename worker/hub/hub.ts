// The Durable Object of one host: its doors. Calls from the Worker, the agent's socket and the viewers' come in here, are authorized,
// and go on to delivery.ts or reads.ts.

import { DurableObject } from 'cloudflare:workers'
import type { PublicKey, Rotation } from '../../shared/api.ts'
import { isFinal, type Deploy } from '../../shared/deploy.ts'
import {
  HOST_REQUESTS_PER_MINUTE,
  CI_FOLLOWED_MS_MAX,
  TRIGGER_REQUESTS_PER_MINUTE,
} from '../../shared/limits.ts'
import {
  CLOSE,
  PING,
  PONG,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  decodeFrame,
  fromAgentSchema,
  toBase64,
  type Proof,
} from '../../shared/protocol.ts'
import { ROLLBACK_DEFAULT } from '../../shared/request.ts'
import { SCOPES, type Claims, type Scope } from '../../shared/tokens.ts'
import { TOKEN_TRIGGER } from '../../shared/triggers/index.ts'
import { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import { UNAUTHORIZED, isRefusal, refusalResponse, type Refusal } from '../refusal.ts'
import { Chats, type ChatAnswer, type ChatRequest } from './chat/chats.ts'
import { Showing } from './chat/showing.ts'
import type { Accepted, Submission } from './decide.ts'
import { Alarm } from './alarm.ts'
import { Delivery } from './delivery.ts'
import { FactStore, keepIssuer, sessionKey, triggerNamed } from './facts.ts'
import { rotated } from './keys.ts'
import { Limiter } from './limiter.ts'
import * as log from './log.ts'
import {
  findDeploy,
  isSameRequest,
  read,
  readEvents,
  stackUnknown,
  type Answer,
  type Kind,
  type Query,
} from './reads.ts'
import { makeNonce } from './nonce.ts'
import type { HookRequest, Ignored } from './verified.ts'
import { verifyHook } from './verifiers.ts'
import { migrate } from './schema.ts'
import { isSession, makeSession, watcherClaims } from './session.ts'
import * as sockets from './sockets.ts'
import { noteKeyUsed, noteStale, type LastNoted } from './uses.ts'
import {
  authorize,
  verifyCancel,
  verifyTokenRequest,
  type Caller,
  type Holder,
  type TokenRequest,
} from './verify.ts'

const PREVIOUS = new TextEncoder().encode(JSON.stringify(ROLLBACK_DEFAULT))
const TOO_MANY = { refused: 'too-many', message: 'too many requests of this host' } as const
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
  readonly #chats: Chats
  readonly #limiter: Limiter
  readonly #noted: LastNoted = new Map()
  readonly #issuers = new IssuerKeys({
    get: (url) => this.#facts.get('issuers')?.[url],
    put: (url, known) => keepIssuer(this.#facts, url, known),
  })

  constructor(ctx: DurableObjectState, env: HubEnv) {
    super(ctx, env)
    this.#limiter = new Limiter({
      perTrigger: Number(env.TRIGGER_REQUESTS_PER_MINUTE) || TRIGGER_REQUESTS_PER_MINUTE,
      perHost: Number(env.HOST_REQUESTS_PER_MINUTE) || HOST_REQUESTS_PER_MINUTE,
    })
    this.#chats = new Chats(ctx, this.#facts, {
      delivery: this.#delivery,
      showing: this.#showing,
      limiter: this.#limiter,
      noted: this.#noted,
      accept: (submission, proof) => this.#accept(submission, proof),
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
  async hook(
    host: string,
    stack: string,
    name: string,
    request: HookRequest,
  ): Promise<Accepted | Ignored | Refusal> {
    const now = Date.now()
    const trigger = triggerNamed(this.#facts, stack, name)
    const verified = await verifyHook(host, trigger, request, {
      issuers: this.#issuers,
      now,
      isFollowed: (id) => isFollowed(log.findDeploy(this.#sql, id), now),
      onRefused: (message) => noteStale(this.#sql, { stack, name }, message, now),
    })
    if (isRefusal(verified) || 'reason' in verified) return verified
    const { asked, proof, key, settleMs } = verified
    const submission = { host, stack, trigger: name, asked, settleMs }
    return proof.kind === 'oidc' ? this.#acceptJob(submission, proof) : this.#accept(submission, proof, key)
  }

  /** Accepts what a CI job asks for. Its token may have been used before for something else, which is then no duplicate but refused. */
  async #acceptJob(submission: Submission, proof: Proof): Promise<Accepted | Refusal> {
    const accepted = await this.#accept(submission, proof)
    if (isRefusal(accepted) || accepted.status === 'accepted') return accepted
    if (isSameRequest(this.#sql, accepted.deploy, submission.asked.request)) return accepted
    return {
      refused: 'forbidden',
      message: 'the token, or the Idempotency-Key with it, was used for another request before',
      cure: 'get a new token for each request, or send another Idempotency-Key',
    }
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
  ask(caller: Caller, stack: string, ask: TokenRequest): Promise<Accepted | Refusal> {
    const { kind, idempotencyKey } = ask
    return this.#as(caller, kind, async ({ host, claims }) => {
      // A token that is bound to a body needs that body, so nothing is filled in.
      const isDefault = kind === 'rollback' && ask.body.length === 0 && claims.bodySha256 === undefined
      const body = isDefault ? PREVIOUS : ask.body
      const asked = await verifyTokenRequest(host, stack, claims, { kind, idempotencyKey, body })
      if (isRefusal(asked)) return asked
      if (!this.#facts.get('hello')?.stacks.includes(stack)) return stackUnknown(stack)
      const proof: Proof = { kind: 'token', token: caller.token, idempotencyKey, body: toBase64(body) }
      return this.#accept({ host, stack, trigger: TOKEN_TRIGGER, asked }, proof)
    })
  }

  /** `POST …/cancel`: the hub ends a deploy that it alone has. For any other it sends the agent what the caller signed. */
  cancel(
    caller: Caller,
    id: string,
    body: Uint8Array,
  ): Promise<{ status: 'cancelled' | 'cancelling' } | Refusal> {
    return this.#as(caller, 'deploy', async ({ claims }) => {
      const found = findDeploy(this.#sql, claims, 'deploy', id)
      if (isRefusal(found)) return found
      const verified = await verifyCancel(claims, found, body)
      if (isRefusal(verified)) return verified
      const now = Date.now()
      const retryAfterSeconds = this.#limiter.take(found.stack, TOKEN_TRIGGER, now)
      if (retryAfterSeconds !== undefined) return { ...TOO_MANY, retryAfterSeconds }
      // Read again, since it may have been offered or ended while the request was verified.
      const deploy = log.findDeploy(this.#sql, id) ?? found
      const proof = { token: caller.token, body: toBase64(body) }
      const status = this.#delivery.cancel(deploy, { by: verified.actor, proof, now })
      return status === 'over' || status === 'agent-offline' ? notCancelled(status, deploy) : { status }
    })
  }

  async #accept(submission: Submission, proof: Proof, keyUsed?: string): Promise<Accepted | Refusal> {
    const now = Date.now()
    const { stack, trigger } = submission
    const waitSeconds = () => this.#limiter.take(stack, trigger, now)
    const accepted = await this.#delivery.accept(submission, proof, { now, waitSeconds })
    if ('retryAfterSeconds' in accepted) return { ...TOO_MANY, ...accepted }
    if (keyUsed !== undefined)
      await noteKeyUsed(this.#sql, { stack, name: trigger }, { key: keyUsed, now, noted: this.#noted })
    return { ...accepted, agent: this.#delivery.liveAgent(now) ? 'online' : 'offline' }
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

function notCancelled(why: 'over' | 'agent-offline', { status }: Deploy): Refusal {
  return why === 'over'
    ? { refused: 'not-cancellable', message: `the deploy is over: ${status}` }
    : {
        refused: 'agent-offline',
        message: 'the agent has the deploy, or may have it, and is not connected',
        cure: 'ask again when it is back; on its host, stopping the agent undoes a roll',
      }
}

async function answered(response: Promise<Response | Refusal>): Promise<Response> {
  const upgraded = await response
  return isRefusal(upgraded) ? refusalResponse(upgraded) : upgraded
}

/** Whether a deploy is not over, or ended so lately that a job which follows it may not know yet. */
function isFollowed(deploy: Deploy | undefined, now: number): boolean {
  return deploy !== undefined && now - (deploy.finishedAt ?? now) <= CI_FOLLOWED_MS_MAX
}
