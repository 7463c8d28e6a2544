// The engine's containers: each has its start-up time, its way to be sick, and an address that nobody had before it.

import type { Container, Healthcheck } from '../../../agent/ports.ts'
import type { VirtualClock } from './clock.ts'
import { sha256, type App, type FakeImage } from './images.ts'
import type { Inode } from './files.ts'

const NETWORK = 'hello_default'
/** The port that every app listens on. */
const APP_PORT = 3000
/** How long an app takes to stop. */
export const STOP_MS = 20
/** The engine's first wait before it starts again what ended by itself. */
const RESTART_MS = 100
/** One that ends again and again runs so long, and waits so long for its next start. */
const LOOP_MS = 300

export interface FakeContainer {
  readonly id: string
  name: string
  readonly service: string
  readonly imageId: string
  readonly image: FakeImage
  readonly imageName: string
  readonly env: Readonly<Record<string, string>>
  readonly hash: string
  readonly composeFiles: readonly string[]
  readonly healthcheck: Healthcheck | undefined
  readonly mounts: readonly { source: string; target: string }[]
  /** The files that are mounted by themselves, as they were when the container started. */
  readonly pinned: Map<string, Inode>
  readonly ip: string
  /** In a network of both families. */
  readonly ip6: string | undefined
  /** As its image has it, until something happens to it. */
  app: App
  /** How often it was asked for a page. */
  asked: number
  pid: number
  state: Container['state']
  exitCode: number
  restarts: number
  startedAt: number
  isListening: boolean
  health: Container['health']
  readonly log: string[]
  /** What it has written to its standard output, and when. */
  readonly output: { readonly at: number; readonly text: string }[]
  /** Requests that it works on. */
  inFlight: number
}

export interface CreateOptions {
  readonly image: FakeImage
  readonly name: string
  readonly env: Readonly<Record<string, string | null>>
  readonly hash: string
  readonly composeFiles: readonly string[]
  readonly healthcheck: Healthcheck | undefined
  readonly mounts: readonly { source: string; target: string }[]
  /** As compose names it when it stands alone, where nothing else is said. */
  readonly containerName?: string
}

/**
 * What happens to an app: it answers otherwise, its container has ended or waits for its next start, it ends again and again soon after a
 * start, or its port is closed.
 */
export type Hurt = Partial<App> | 'exited' | 'restarting' | 'looping' | 'refuses'

export interface Question {
  readonly ip: string
  readonly port: number
  readonly path: string
  readonly host: string
  readonly tls?: boolean
  /** Whether who asks has a certificate that the app knows. */
  readonly hasCertificate?: boolean
}

/** `afterMs`: how long whoever asks waits for it. */
export type Answer = { readonly status: number; readonly afterMs?: number } | { readonly fault: string }

/** What an app answers. */
export function answerOf(container: FakeContainer, question: Omit<Question, 'ip'>): Answer {
  const { mode, pages, hosts, speaks } = container.app
  const { port, path, host, tls = false, hasCertificate = false } = question
  if (!container.isListening || port !== APP_PORT) return { fault: 'ECONNREFUSED' }
  if (speaks === 'fastcgi') return { fault: 'ECONNRESET' }
  const isTls = speaks === 'https' || (speaks === 'mtls' && hasCertificate)
  if (tls && !isTls) return { fault: 'EPROTO' }
  if (mode === 'hangs') return { status: 200, afterMs: Infinity }
  container.asked += 1
  if (!tls && speaks !== 'http') return { status: 400 }
  if (mode === 'sick' || (mode === 'flaps' && container.asked % 2 === 0)) return { status: 500 }
  if (hosts && !hosts.includes(host.replace(/:\d+$/, ''))) return { status: 400 }
  return { status: pages[path] ?? pages['*'] ?? 200 }
}

/** Whether a client who asks for a page that there is gets it. */
export function answers(container: FakeContainer): boolean {
  const { mode, pages } = container.app
  return container.isListening && !['sick', 'flaps', 'hangs'].includes(mode) && (pages['*'] ?? 200) < 500
}

// A command without a URL asks whatever the app is sure to answer.
function isWellBy(container: FakeContainer, { test }: Healthcheck): boolean {
  const path = /https?:\/\/[^/\s]+(\/[^\s"']*)/.exec(test.join(' '))?.[1]
  if (path === undefined) return answers(container)
  const answer = answerOf(container, { port: APP_PORT, path, host: 'localhost' })
  return 'status' in answer && answer.status < 400 && answer.afterMs === undefined
}

export class Containers {
  readonly #clock: VirtualClock
  readonly #all: FakeContainer[] = []
  readonly #isDualStack: boolean
  #count = 0
  #starts = 0
  /** Whether the engine answers nobody, and how often it has gone. */
  isAway = false
  restarts = 0
  /** Told of what happens: a story for whoever reads a failed test, and requests that were cut off. */
  onChange: (what: string, container: FakeContainer) => void = () => {}

  constructor(clock: VirtualClock, isDualStack = false) {
    this.#clock = clock
    this.#isDualStack = isDualStack
  }

  create(service: string, options: CreateOptions): FakeContainer {
    this.#count += 1
    const id = sha256(`container ${this.#count}`).slice(7)
    const container: FakeContainer = {
      id,
      name: options.containerName ?? `hello-${service}-1`,
      service,
      imageId: options.image.id,
      image: options.image,
      imageName: options.name,
      env: { ...options.image.env, ...withoutNulls(options.env) },
      hash: options.hash,
      composeFiles: options.composeFiles,
      healthcheck: options.healthcheck,
      mounts: options.mounts,
      pinned: new Map(),
      ip: `172.18.${Math.floor(this.#count / 200)}.${(this.#count % 200) + 10}`,
      ip6: this.#isDualStack ? `fd00:18::${(this.#count + 15).toString(16)}` : undefined,
      app: options.image,
      asked: 0,
      pid: 0,
      state: 'created',
      exitCode: 0,
      restarts: 0,
      startedAt: 0,
      isListening: false,
      health: undefined,
      log: [],
      output: [],
      inFlight: 0,
    }
    this.#all.push(container)
    return container
  }

  start(container: FakeContainer): void {
    container.state = 'running'
    this.#starts += 1
    container.pid = this.#starts * 1000
    container.startedAt = this.#clock.now()
    container.health = container.healthcheck && 'starting'
    this.#changed('starts', container)
    const { mode, startMs, crashMs } = container.image
    const later = (ms: number, run: () => void) => this.#later(container, ms, run)
    if (mode === 'exits') {
      container.log.push('cannot reach the database')
      later(startMs, () => this.stop(container, 3))
      return
    }
    later(startMs, () => {
      container.isListening = mode !== 'never-listens'
      this.#changed('listens', container)
    })
    this.#check(container, 0)
    if (mode === 'crashes') later(startMs + crashMs, () => this.stop(container, 4))
    if (mode === 'restarts')
      later(startMs + crashMs, () => {
        this.stop(container, 4)
        container.restarts += 1
        this.start(container)
      })
  }

  // What is to come of this start of a container, if it still runs by then.
  #later(container: FakeContainer, ms: number, run: () => void): void {
    const { pid } = container
    this.#clock.after(ms, () => {
      if (container.state === 'running' && container.pid === pid) run()
    })
  }

  // As Docker does it: the first look after an interval; what fails in the start period does not count; a success ends that period.
  #check(container: FakeContainer, failed: number): void {
    const { healthcheck } = container
    if (!healthcheck) return
    const isStarting = () => this.#clock.now() - container.startedAt < healthcheck.startPeriodMs
    const { intervalMs, startIntervalMs, retries } = healthcheck
    this.#later(container, isStarting() && startIntervalMs > 0 ? startIntervalMs : intervalMs, () => {
      const isWell = isWellBy(container, healthcheck)
      const failures = isWell || (container.health === 'starting' && isStarting()) ? 0 : failed + 1
      const health = isWell ? 'healthy' : failures >= retries ? 'unhealthy' : container.health
      if (health !== container.health) {
        container.health = health
        this.#changed(health ?? '', container)
      }
      // Nothing comes of more looks once the app listens, until something happens to it.
      const isOpen = failures > 0 ? failures < retries || !container.isListening : health === 'starting'
      if (isOpen) this.#check(container, failures)
    })
  }

  /** Something happens to an app that ran. */
  hurt(container: FakeContainer, how: Hurt): void {
    if (typeof how === 'object') container.app = { ...container.app, ...how }
    else if (how === 'refuses') container.isListening = false
    else if (how === 'looping') this.#loop(container)
    else {
      this.stop(container, 139)
      container.state = how
      if (how === 'restarting') container.restarts = 5
    }
    this.#changed(`is hurt: ${JSON.stringify(how)}`, container)
    this.#check(container, 0)
  }

  #loop(container: FakeContainer): void {
    if (!this.#all.includes(container)) return
    container.isListening = false
    const isUp = container.state === 'running'
    if (isUp) this.stop(container, 139)
    container.state = isUp ? 'restarting' : 'running'
    if (!isUp) {
      container.restarts += 1
      container.startedAt = this.#clock.now()
    }
    this.#clock.after(LOOP_MS, () => this.#loop(container))
  }

  stop(container: FakeContainer, exitCode: number): void {
    if (container.state !== 'running') return
    container.state = 'exited'
    container.exitCode = exitCode
    container.isListening = false
    this.#changed('stops', container)
  }

  /**
   * The engine ends and comes back after a while. All containers stop, and start again where they have a restart policy. Meanwhile it answers
   * nobody; who had asked before hears that it is gone.
   */
  restartEngine(ms: number, hasRestartPolicy: boolean): void {
    const running = this.#all.filter(({ state }) => state === 'running')
    this.isAway = true
    this.restarts += 1
    for (const container of running) this.stop(container, 0)
    this.#clock.after(ms, () => {
      this.isAway = false
      if (hasRestartPolicy) for (const container of running) this.#comeBack(container, RESTART_MS)
    })
  }

  // What ends at once, as an nginx that finds a name nowhere, is started again, each time after twice as long.
  #comeBack(container: FakeContainer, waitMs: number): void {
    if (!this.#all.includes(container) || container.state === 'running') return
    this.start(container)
    if (container.state === ('exited' as string))
      this.#clock.after(waitMs, () => this.#comeBack(container, waitMs * 2))
  }

  /** The engine stops it, whoever has asked and whether they wait for it. */
  beginStop(container: FakeContainer): void {
    const { pid } = container
    this.#clock.after(STOP_MS, () => container.pid === pid && this.stop(container, 0))
  }

  remove(container: FakeContainer): void {
    const index = this.#all.indexOf(container)
    if (index < 0) return
    this.#all.splice(index, 1)
    container.state = 'removing'
    this.#changed('is removed', container)
  }

  ofService(service: string): FakeContainer[] {
    return this.#all.filter((container) => container.service === service)
  }

  /** By its ID or its name. */
  byId(id: string): FakeContainer | undefined {
    return this.#all.find((container) => container.id === id || container.name === id)
  }

  byIp(ip: string): FakeContainer | undefined {
    return this.#all.find(
      (container) => (container.ip === ip || container.ip6 === ip) && container.state === 'running',
    )
  }

  /** As Docker's DNS answers: only for what runs. */
  resolve(host: string): FakeContainer | undefined {
    return this.#all.find(
      ({ service, name, state }) =>
        ['running', 'paused'].includes(state) && (service === host || name === host),
    )
  }

  all(): readonly FakeContainer[] {
    return this.#all
  }

  #changed(what: string, container: FakeContainer): void {
    this.#clock.touch()
    this.onChange(what, container)
  }
}

// The one place that knows how the agent is told of addresses.
function addressesOf({ ip, ip6 }: FakeContainer): Container['addresses'] {
  return { [NETWORK]: [ip, ...(ip6 === undefined ? [] : [ip6])] }
}

export function asContainer(fake: FakeContainer): Container {
  const isRunning = fake.state === 'running'
  return {
    id: fake.id,
    name: fake.name,
    service: fake.service,
    imageId: fake.imageId,
    image: fake.imageName,
    env: fake.env,
    state: fake.state,
    exitCode: fake.exitCode,
    restarts: fake.restarts,
    startedAt: new Date(fake.startedAt).toISOString(),
    health: fake.health,
    healthcheck: fake.healthcheck,
    pid: isRunning ? fake.pid : 0,
    addresses: isRunning ? addressesOf(fake) : {},
    aliases: [fake.service, fake.name],
    mounts: fake.mounts,
    configHash: fake.hash,
    composeFiles: fake.composeFiles,
    envFiles: [],
  }
}

function withoutNulls(env: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== null),
  )
}
