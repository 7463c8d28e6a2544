// The engine's containers: each has its start-up time, its way to be sick, and an address that nobody had before it.

import type { Container } from '../../../agent/ports.ts'
import type { VirtualClock } from './clock.ts'
import { sha256, type FakeImage } from './images.ts'
import type { Inode } from './files.ts'

const NETWORK = 'hello_default'
/** An app that crashes does so this long after it listens: just after two probes found it healthy. */
export const CRASH_MS = 260
const HEALTHCHECK_MS = 150
/** How long an app takes to stop. */
export const STOP_MS = 20
/** The engine's first wait before it starts again what ended by itself. */
const RESTART_MS = 100

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
  readonly hasHealthcheck: boolean
  readonly mounts: readonly { source: string; target: string }[]
  /** The files that are mounted by themselves, as they were when the container started. */
  readonly pinned: Map<string, Inode>
  readonly ip: string
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
  readonly hasHealthcheck: boolean
  readonly mounts: readonly { source: string; target: string }[]
  /** As compose names it when it stands alone, where nothing else is said. */
  readonly containerName?: string
}

export class Containers {
  readonly #clock: VirtualClock
  readonly #all: FakeContainer[] = []
  #count = 0
  #starts = 0
  /** Whether the engine answers nobody, and how often it has gone. */
  isAway = false
  restarts = 0
  /** Told of what happens: a story for whoever reads a failed test, and requests that were cut off. */
  onChange: (what: string, container: FakeContainer) => void = () => {}

  constructor(clock: VirtualClock) {
    this.#clock = clock
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
      hasHealthcheck: options.hasHealthcheck,
      mounts: options.mounts,
      pinned: new Map(),
      ip: `172.18.${Math.floor(this.#count / 200)}.${(this.#count % 200) + 10}`,
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
    container.health = container.hasHealthcheck ? 'starting' : undefined
    this.#changed('starts', container)
    const { mode, startMs } = container.image
    const later = (ms: number, run: () => void) =>
      this.#clock.after(ms, () => {
        if (container.state === 'running') run()
      })
    if (mode === 'exits') {
      container.log.push('cannot reach the database')
      later(startMs, () => this.stop(container, 3))
      return
    }
    later(startMs, () => {
      container.isListening = mode !== 'never-listens'
      this.#changed('listens', container)
    })
    if (container.hasHealthcheck)
      later(startMs + HEALTHCHECK_MS, () => {
        container.health = mode === 'sick' ? 'unhealthy' : 'healthy'
        this.#changed(container.health, container)
      })
    if (mode === 'crashes') later(startMs + CRASH_MS, () => this.stop(container, 4))
    if (mode === 'restarts')
      later(startMs + CRASH_MS, () => {
        this.stop(container, 4)
        container.restarts += 1
        this.start(container)
      })
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
    return this.#all.find((container) => container.ip === ip && container.state === 'running')
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
    pid: isRunning ? fake.pid : 0,
    addresses: isRunning ? { [NETWORK]: fake.ip } : {},
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
