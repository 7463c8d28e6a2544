// A whole world in memory and in virtual time: an engine, compose, files, nginx and its clients. It judges a roll by what its clients
// get, at every moment, and by what is left in the end; it knows nothing of how a roll goes about it.

import type { StackConfig } from '../../agent/config/config.ts'
import type { Ports } from '../../agent/ports.ts'
import { recover, roll, type RollContext } from '../../agent/roll/roll.ts'
import { nextStatus, type Status } from '../../shared/deploy.ts'
import type { DeployEvent } from '../../shared/events.ts'
import type { Step } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import type { DeployRequest } from '../../shared/request.ts'
import { VirtualClock } from './world/clock.ts'
import { FakeCompose } from './world/compose.ts'
import { Containers, type FakeContainer } from './world/containers.ts'
import { fakeEngine, fakeHttp } from './world/engine.ts'
import { Faults, type Call, type Fault } from './world/faults.ts'
import { FakeFiles } from './world/files.ts'
import { fakeImage, FakeImages } from './world/images.ts'
import { FakeNginx } from './world/nginx.ts'
import * as stackFiles from './world/stack-files.ts'
import { StepsTold, wordsOf } from './world/told.ts'
import { Traffic, type TrafficOptions } from './world/traffic.ts'

export interface WorldOptions extends Partial<stackFiles.StackShape>, Partial<TrafficOptions> {
  readonly stack?: Partial<StackConfig>
  /** More files, or other ones than the usual. */
  readonly files?: Readonly<Record<string, string>>
  /** Services that have no container. */
  readonly missing?: readonly string[]
}

export interface Life {
  readonly events: readonly DeployEvent[]
  readonly status: Status
  /** The last event. */
  readonly end: DeployEvent | undefined
  readonly calls: readonly Call[]
  readonly record: string | undefined
  /** Whether the injected fault came to be. */
  readonly wasMet: boolean
  readonly hasCrashed: boolean
}

/** The stack has long run when a roll comes, and clients go on after it. */
const SETTLE_MS = 3000

export class FakeWorld {
  readonly clock = new VirtualClock()
  readonly files: FakeFiles
  readonly images = new FakeImages()
  readonly containers = new Containers(this.clock)
  readonly compose: FakeCompose
  readonly nginx: FakeNginx
  readonly traffic: Traffic
  readonly stack: StackConfig
  readonly ports: Ports
  readonly shape: stackFiles.StackShape
  readonly #story: string[] = []
  readonly #faults: Fault[] = []
  readonly #before: string
  /** Steps that viewers have been told of, over all lives of the agent. */
  #announced: Step[] = []

  constructor(options: WorldOptions = {}) {
    const shape = {
      instances: 2,
      mount: 'file' as const,
      down: [],
      keepaliveMinTimeoutMs: 200,
      image: 'ghcr.io/acme/hello:v1',
      hasHealthcheck: false,
      ...options,
    }
    this.shape = shape
    this.files = new FakeFiles({ ...stackFiles.stackFiles(shape), ...options.files })
    this.compose = new FakeCompose(this.files, this.containers, this.images, this.clock)
    this.stack = { ...STACK, ...options.stack }
    this.#fillImages()
    this.#startContainers(options.missing ?? [])
    const [proxy] = this.containers.ofService('nginx')
    if (!proxy) throw new Error('there is no nginx')
    this.nginx = new FakeNginx(proxy, this, stackFiles.imageFiles(shape))
    this.nginx.start()
    this.traffic = new Traffic(this.nginx, this.containers, this.clock, {
      requestMs: options.requestMs ?? 30,
      isRetried: options.isRetried ?? false,
    })
    this.ports = {
      engine: fakeEngine(this),
      compose: this.compose,
      files: this.files,
      http: fakeHttp(this),
      clock: this.clock,
    }
    this.#watch()
    this.#before = this.picture()
  }

  /** Injects a fault into the next life of the agent. */
  failAt(fault: Fault): this {
    this.#faults.push(fault)
    return this
  }

  /** Runs something of the test's own in virtual time. */
  run<T>(work: Promise<T>): Promise<T> {
    return this.clock.run(work)
  }

  roll(request: DeployRequest, signal?: AbortSignal): Promise<Life> {
    this.#announced = []
    return this.#live((ports, context) => roll(this.stack, request, ports, context), signal)
  }

  recover(record: string | undefined): Promise<Life> {
    return this.#live((ports, context) => recover(this.stack, record, ports, context))
  }

  /** Lets clients go on for a while, so that what a roll broke shows. */
  async settle(): Promise<void> {
    await this.run(this.clock.sleep(SETTLE_MS, new AbortController().signal))
  }

  /** What a person could see of the stack: files, versions, and what nginx has loaded. */
  picture(): string {
    const paths = [...this.stack.compose, stackFiles.proxyPath(this.shape)]
    const services = this.containers
      .all()
      .map(({ service, imageId, env, state }) => `${service} ${imageId} ${JSON.stringify(env)} ${state}`)
    const loaded = this.nginx.newest().servers.map(({ host, isDown }) => `${host}${isDown ? ' down' : ''}`)
    return [...paths.map((path) => this.files.text(path)), ...services.toSorted(), ...loaded].join('\n')
  }

  /** What is wrong, in words; empty when no request failed and nothing half done is left. */
  async faultsAfter(expected: 'unchanged' | 'changed'): Promise<string[]> {
    await this.settle()
    const faults = [...this.traffic.failures].map(([why, count]) => `${count} x ${why}`)
    if (expected === 'unchanged' && this.picture() !== this.#before)
      faults.push(`the world is not as before:\n${this.picture()}\n--- before:\n${this.#before}`)
    if (expected === 'changed' && this.picture() === this.#before) faults.push('nothing has changed')
    return [...faults, ...this.#inconsistencies()]
  }

  /** The last things that happened, for whoever reads a failed test. */
  story(): string {
    return this.#story.slice(-60).join('\n')
  }

  /** Writes into the story. */
  tell(text: string): void {
    this.#story.push(`${String(this.clock.elapsed()).padStart(7)} ms  ${text}`)
  }

  *#inconsistencies(): Generator<string> {
    const { services } = this.compose.read(this.stack)
    const instances = stackFiles.services(this.shape)
    const versions = new Set<string>()
    for (const [service, { hash, image }] of Object.entries(services)) {
      const all = this.containers.ofService(service)
      if (all.length !== 1) yield `service ${service} has ${all.length} containers`
      for (const one of all) {
        if (one.hash !== hash) yield `${service} does not run as the compose file says`
        if (one.imageId !== this.images.find(image)?.id)
          yield `compose would recreate ${service}: another image`
        if (instances.includes(service)) versions.add(`${one.imageId} ${one.env['MESSAGE']?.split(',')[1]}`)
      }
    }
    if (versions.size !== 1) yield `several versions run: ${[...versions].join(' | ')}`
    const generation = this.nginx.newest()
    if (generation.text !== this.nginx.text()) yield 'nginx has loaded another text than it sees'
    const path = stackFiles.proxyPath(this.shape)
    if (this.files.text(path) !== (stackFiles.stackFiles(this.shape)[path] ?? ''))
      yield 'the nginx file is not the user’s, byte for byte'
    const down = generation.servers.filter(({ isDown }) => isDown).map(({ host }) => host)
    if (down.join() !== this.shape.down.join()) yield `down in nginx: ${down.join()}`
  }

  async #live(
    work: (ports: Ports, context: RollContext) => Promise<void>,
    signal = new AbortController().signal,
  ): Promise<Life> {
    const faults = new Faults(this.clock, this.#faults.splice(0))
    const cancel = new AbortController()
    const events: DeployEvent[] = []
    let status: Status = this.#announced.length > 0 ? 'running' : 'queued'
    let record: string | undefined
    faults.onCancel = () => cancel.abort(new Problem('cancelled', 'the deploy was cancelled'))
    faults.onCall = (text) => this.tell(`FAULT ${text}`)
    const told = new StepsTold(this.#announced)
    const context: RollContext = {
      signal: AbortSignal.any([signal, cancel.signal]),
      remember: (text) => {
        if (!faults.isDead) record = text
      },
      emit: (event) => {
        if (faults.isDead) return
        status = nextStatus(status, event)
        events.push(event)
        told.add(event)
        faults.step = told.now
        this.tell(wordsOf(event, told.now))
      },
    }
    await this.run(Promise.race([work(faults.wrap(this.ports), context), faults.crashed]))
    this.#announced = told.steps
    return {
      events,
      status,
      record,
      end: events.at(-1),
      calls: faults.calls,
      wasMet: faults.wasMet,
      hasCrashed: faults.isDead,
    }
  }

  #fillImages(): void {
    const { images } = this
    images.push('ghcr.io/acme/hello:v1', fakeImage('hello v1'))
    images.pull('ghcr.io/acme/hello:v1')
    images.push('ghcr.io/acme/hello:v2', fakeImage('hello v2'))
    images.build('hello:v1', fakeImage('built v1'))
    images.build('hello:v2', fakeImage('built v2'))
    for (const mode of ['exits', 'sick', 'never-listens', 'crashes', 'restarts'] as const)
      images.push(`ghcr.io/acme/hello:${mode}`, fakeImage(`hello ${mode}`, { mode }))
    for (const ref of ['nginx:1.30', 'redis:8']) images.build(ref, fakeImage(ref, { startMs: 0, env: {} }))
    if (!images.find(this.shape.image)) images.build(this.shape.image)
  }

  #startContainers(missing: readonly string[]): void {
    const services = this.compose.read(this.stack).services
    for (const [service, { image: name, env, mounts, hash, definition }] of Object.entries(services)) {
      const image = this.images.find(name)
      if (missing.includes(service) || !image) continue
      const hasHealthcheck = 'healthcheck' in definition
      const options = { image, name, env, mounts, hash, hasHealthcheck, composeFiles: this.stack.compose }
      const container = this.containers.create(service, options)
      this.containers.start(container)
      container.isListening = true
      if (hasHealthcheck) container.health = 'healthy'
    }
  }

  #watch(): void {
    this.containers.onChange = (what, container: FakeContainer) => {
      this.tell(`${container.service} (${container.ip}) ${what}`)
      if (what === 'stops') this.traffic.cut(container)
      this.traffic.tick()
    }
    this.traffic.onFailure = (why) => this.tell(`FAILED ${why}`)
    const { onLoad, onQuit } = this.nginx
    this.nginx.onLoad = (generation) => {
      const down = generation.servers.filter(({ isDown }) => isDown).map(({ host }) => host)
      this.tell(`nginx generation ${generation.number} serves, down: ${down.join() || 'nobody'}`)
      onLoad(generation)
    }
    this.nginx.onQuit = (generation) => {
      this.tell(`nginx generation ${generation.number} quits`)
      onQuit(generation)
    }
    this.clock.onTick = () => this.traffic.tick()
  }
}

const STACK: StackConfig = {
  name: 'hello',
  compose: [stackFiles.COMPOSE_PATH],
  project: undefined,
  proxy: {},
  instances: undefined,
  health: { path: '/', status: { min: 200, max: 399 }, intervalMs: 100, successes: 2, timeoutMs: 5000 },
  drainTimeoutMs: 10_000,
  soakMs: 0,
  allow: { images: ['ghcr.io/acme/hello', 'docker.io/library/hello'], env: ['MESSAGE'] },
  triggers: [],
}
