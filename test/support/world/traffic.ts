// The clients. At every look, each worker generation that accepts gets one request for each of its servers that is not down: whoever
// nginx could choose, it chooses. A request to a server that does not answer has failed; nothing is retried unless a test says so.

import type { VirtualClock } from './clock.ts'
import type { Containers, FakeContainer } from './containers.ts'
import type { FakeNginx, Generation, LoadedServer } from './nginx.ts'

interface Request {
  readonly generation: Generation
  readonly server: LoadedServer
  readonly container: FakeContainer
  readonly endsAt: number
}

export interface TrafficOptions {
  /** How long a request takes, which occupies a connection from nginx to the server. */
  readonly requestMs: number
  /** Whether nginx tries the next server after a refused connection, as its default is. Off, so that no fault of ours hides behind it. */
  readonly isRetried: boolean
}

export class Traffic {
  readonly #nginx: FakeNginx
  readonly #containers: Containers
  readonly #clock: VirtualClock
  readonly #options: TrafficOptions
  #inFlight: Request[] = []
  /** How many servers the user's own configuration had in, and how many were down. */
  readonly #live: number
  readonly #excused = new Set<string>()
  sent = 0
  /** By the way that a request or an invariant failed: the first time only, the rest are counted. */
  readonly failures = new Map<string, number>()
  onFailure: (why: string) => void = () => {}

  constructor(nginx: FakeNginx, containers: Containers, clock: VirtualClock, options: TrafficOptions) {
    this.#nginx = nginx
    this.#containers = containers
    this.#clock = clock
    this.#options = options
    this.#live = nginx.newest().servers.filter(({ isDown }) => !isDown).length
    nginx.onLoad = (generation) => this.#checkLoaded(generation)
    nginx.onQuit = (generation) => this.#scheduleIdle(generation)
  }

  tick(): void {
    this.#settle()
    this.#ask((generation, server) => this.#send(generation, server))
  }

  /** As tick, of requests that would take no time: what a client would get at this very moment. */
  look(): void {
    this.#ask((generation, server) => this.#reach(generation, server) !== undefined)
  }

  /** Whatever becomes of requests to this container from now on is not the roll's doing. */
  excuse({ ip }: Pick<FakeContainer, 'ip'>): void {
    this.#excused.add(ip)
  }

  /** From now on it is to answer again. */
  expect({ ip }: Pick<FakeContainer, 'ip'>): void {
    this.#excused.delete(ip)
  }

  isExcused({ ip }: Pick<FakeContainer, 'ip'>): boolean {
    return this.#excused.has(ip)
  }

  #ask(isAnswered: (generation: Generation, server: LoadedServer) => boolean): void {
    for (const generation of this.#nginx.generations()) {
      if (!generation.isAccepting) continue
      let answering = 0
      for (const server of generation.servers)
        if (!server.isDown && (isAnswered(generation, server) || this.#excused.has(server.ip))) answering += 1
      if (answering < this.#live - 1)
        this.#fail(
          `generation ${generation.number}: ${answering} servers answer, less than ${this.#live - 1}`,
        )
    }
  }

  /** Occupies a connection to a service for a time, as one long request does. */
  hold(service: string, ms: number): void {
    const generation = this.#nginx.newest()
    const server = generation.servers.find(({ host }) => host === service)
    if (!server || !this.#send(generation, server, ms)) throw new Error(`${service} takes no request`)
  }

  connections(ip: string, port: number): number {
    this.#settle()
    return this.#inFlight.filter(({ server }) => server.ip === ip && server.port === port).length
  }

  /** A container has stopped: whatever it worked on is cut off. */
  cut(container: FakeContainer): void {
    for (const request of this.#inFlight.filter((one) => one.container === container)) {
      this.#end(request)
      if (!this.#excused.has(container.ip))
        this.#fail(`${container.service} was stopped while it had a request`)
    }
    this.#inFlight = this.#inFlight.filter((one) => one.container !== container)
  }

  #settle(): void {
    const now = this.#clock.now()
    if (!this.#inFlight.some(({ endsAt }) => endsAt <= now)) return
    for (const request of this.#inFlight) if (request.endsAt <= now) this.#end(request)
    this.#inFlight = this.#inFlight.filter(({ endsAt }) => endsAt > now)
  }

  #end({ generation, container }: Request): void {
    generation.inFlight -= 1
    container.inFlight -= 1
  }

  // Idle keepalive clients of an old generation: in the middle of the time that nginx grants them, and in its last moment.
  #scheduleIdle(generation: Generation): void {
    const { keepaliveMs } = generation
    if (keepaliveMs === 0) return
    for (const ms of [Math.floor(keepaliveMs * 0.4), keepaliveMs - 1])
      this.#clock.after(ms, () => {
        for (const server of generation.servers) if (!server.isDown) this.#send(generation, server)
      })
  }

  #send(generation: Generation, server: LoadedServer, ms = this.#options.requestMs): boolean {
    this.sent += 1
    const container = this.#reach(generation, server)
    if (!container) return false
    this.#inFlight.push({ generation, server, container, endsAt: this.#clock.now() + ms })
    generation.inFlight += 1
    container.inFlight += 1
    return true
  }

  #reach(generation: Generation, server: LoadedServer): FakeContainer | undefined {
    const container = this.#containers.byIp(server.ip)
    const isSick = container?.isListening === true && container.image.mode === 'sick'
    if (container?.isListening && !isSick) return container
    if (this.#excused.has(server.ip)) return undefined
    const others = generation.servers.some(
      ({ ip, isDown }) => !isDown && ip !== server.ip && this.#containers.byIp(ip)?.isListening,
    )
    if (!isSick && this.#options.isRetried && others) return undefined
    this.#fail(
      `generation ${generation.number}: ${server.host} at ${server.ip} ${isSick ? 'answers 500' : 'refuses a request'}`,
    )
    return undefined
  }

  // With a server out, one failed request must not take a survivor out for ten seconds.
  #checkLoaded({ number, servers }: Generation): void {
    const live = servers.filter(({ isDown }) => !isDown)
    if (live.length === this.#live) return
    const strict = live.find(({ forgives }) => !forgives)
    if (strict) this.#fail(`generation ${number}: ${strict.host} has no max_fails=0 while another is down`)
    if (live.length < this.#live - 1) this.#fail(`generation ${number}: several servers are down`)
  }

  #fail(why: string): void {
    const count = this.failures.get(why) ?? 0
    this.failures.set(why, count + 1)
    if (count === 0) this.onFailure(why)
  }
}
