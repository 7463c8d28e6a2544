// The clients. At every look, each worker generation that accepts gets one request for each of its servers that is not down: whoever
// nginx could choose, it chooses. A request to a server that does not answer has failed; nothing is retried unless a test says so.

import type { VirtualClock } from './clock.ts'
import { answers, type Containers, type FakeContainer } from './containers.ts'
import type { FakeNginx, Generation, LoadedServer } from './nginx.ts'

interface Request {
  readonly generation: Generation
  readonly ip: string
  readonly port: number
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
  readonly #nginxes: readonly FakeNginx[]
  readonly #containers: Containers
  readonly #clock: VirtualClock
  readonly #options: TrafficOptions
  #inFlight: Request[] = []
  /** How many servers the user's own configuration had in, and how many were down. */
  readonly #live: number
  readonly #excused = new Set<string>()
  /** The addresses of those that did not answer before the roll, and how many servers did. */
  readonly #sick = new Set<string>()
  #well: number
  sent = 0
  /** By the way that a request or an invariant failed: the first time only, the rest are counted. */
  readonly failures = new Map<string, number>()
  onFailure: (why: string) => void = () => {}

  constructor(
    nginxes: readonly FakeNginx[],
    containers: Containers,
    clock: VirtualClock,
    options: TrafficOptions,
  ) {
    this.#nginxes = nginxes
    this.#containers = containers
    this.#clock = clock
    this.#options = options
    this.#live = this.#servers().length
    this.#well = this.#live
    for (const nginx of nginxes) {
      nginx.onLoad = (generation) => this.#checkLoaded(generation)
      nginx.onQuit = (generation) => this.#scheduleIdle(generation)
    }
  }

  /** A roll begins: who does not answer by now is not its doing, and who does is to go on. */
  begin(): void {
    this.#sick.clear()
    const containers = this.#servers().map(({ ips }) => this.#containers.byIp(ips[0] ?? ''))
    const sick = containers.filter((container) => !container || !answers(container))
    for (const container of sick) for (const ip of ipsOf(container)) this.#sick.add(ip)
    this.#well = this.#live - sick.length
  }

  /** What becomes of requests to this container, as it is, is not the roll's doing; nor does it serve anybody. */
  sicken(container: FakeContainer): void {
    for (const ip of ipsOf(container)) this.#sick.add(ip)
  }

  #servers(): readonly LoadedServer[] {
    return this.#nginxes[0]?.newest().servers.filter(({ isDown }) => !isDown) ?? []
  }

  /** With one of those out that were well, all others of these answer; one that was sick costs nobody when it is out. */
  get #floor(): number {
    return Math.min(this.#live - 1, this.#well)
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
  excuse(container: FakeContainer): void {
    for (const ip of ipsOf(container)) this.#excused.add(ip)
  }

  /** From now on it is to answer again. */
  expect(container: FakeContainer): void {
    for (const ip of ipsOf(container)) this.#excused.delete(ip)
  }

  isExcused({ ip }: Pick<FakeContainer, 'ip'>): boolean {
    return this.#excused.has(ip) || this.#sick.has(ip)
  }

  #ask(isAnswered: (generation: Generation, server: LoadedServer) => boolean): void {
    for (const generation of this.#nginxes.flatMap((nginx) => nginx.generations())) {
      if (!generation.isAccepting) continue
      let answering = 0
      for (const server of generation.servers)
        if (!server.isDown && (isAnswered(generation, server) || this.#isExcused(server))) answering += 1
      if (answering < this.#floor)
        this.#fail(`generation ${generation.number}: ${answering} servers answer, less than ${this.#floor}`)
    }
  }

  #isExcused({ ips }: LoadedServer): boolean {
    return ips.some((ip) => this.#excused.has(ip))
  }

  /** Occupies a connection to a service for a time, as one long request does; of a generation before the newest where that is said. */
  hold(service: string, ms: number, whose: 'newest' | 'former' = 'newest'): void {
    const [nginx] = this.#nginxes
    const generation = whose === 'newest' ? nginx?.newest() : nginx?.generations()[0]
    const server = generation?.servers.find(({ host }) => host === service)
    if (!generation || !server || !this.#send(generation, server, ms))
      throw new Error(`${service} takes no request`)
  }

  /** From one nginx's container to a remote. */
  connections(proxy: string, ip: string, port: number): number {
    this.#settle()
    const isThere = (one: Request) => one.generation.proxy === proxy && one.ip === ip && one.port === port
    return this.#inFlight.filter(isThere).length
  }

  /** A container has stopped: whatever it worked on is cut off. */
  cut(container: FakeContainer): void {
    for (const request of this.#inFlight.filter((one) => one.container === container)) {
      this.#end(request)
      if (!this.isExcused(container)) this.#fail(`${container.service} was stopped while it had a request`)
    }
    this.#inFlight = this.#inFlight.filter((one) => one.container !== container)
  }

  #settle(): void {
    const now = this.#clock.elapsed()
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
    // One family after the other, as nginx does.
    const ip = server.ips[this.sent % server.ips.length] ?? ''
    this.#inFlight.push({ generation, ip, port: server.port, container, endsAt: this.#clock.elapsed() + ms })
    generation.inFlight += 1
    container.inFlight += 1
    return true
  }

  #reach(generation: Generation, server: LoadedServer): FakeContainer | undefined {
    const container = this.#containers.byIp(server.ips[0] ?? '')
    if (container && answers(container)) return container
    if (this.#isExcused(server) || server.ips.some((ip) => this.#sick.has(ip))) return undefined
    const isSick = container?.isListening === true
    const others = generation.servers.some(
      ({ ips, isDown }) =>
        !isDown && ips[0] !== server.ips[0] && this.#containers.byIp(ips[0] ?? '')?.isListening,
    )
    if (!isSick && this.#options.isRetried && others) return undefined
    this.#fail(
      `generation ${generation.number}: ${server.host} at ${server.ips[0]} ${isSick ? 'answers 500' : 'refuses a request'}`,
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

function ipsOf(container: Pick<FakeContainer, 'ip' | 'ip6'> | undefined): string[] {
  return container ? [container.ip, ...(container.ip6 === undefined ? [] : [container.ip6])] : []
}
