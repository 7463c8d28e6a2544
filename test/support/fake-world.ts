// A whole world in memory and in virtual time: an engine, compose, files, nginx and its clients. It judges a roll by what its clients
// get, at every moment, and by what is left in the end; it knows nothing of how a roll goes about it.

import type { StackConfig } from '../../agent/config/config.ts'
import { withDrivers, type DrivenPorts } from '../../agent/drivers.ts'
import type { AnyRequest } from '../../shared/request.ts'
import { VirtualClock } from './world/clock.ts'
import { FakeCompose, healthcheckOf } from './world/compose.ts'
import { answers, Containers, type FakeContainer, type Hurt } from './world/containers.ts'
import { fakeEngine } from './world/engine.ts'
import { fakeHttp } from './world/http.ts'
import { FakeDeploy, type DeployOptions, type Life } from './world/deploy.ts'
import type { Fault } from './world/faults.ts'
import { FakeFiles } from './world/files.ts'
import { fakeImage, FakeImages, type FakeImageOptions } from './world/images.ts'
import { FakeLocks } from './world/locks.ts'
import { FakeReleases, FakeStuckNotes } from './world/memory.ts'
import { Moments } from './world/moments.ts'
import { People } from './world/people.ts'
import { FakeNginx } from './world/nginx.ts'
import type { ProgramName } from './world/programs.ts'
import * as stackFiles from './world/stack-files.ts'
import { Traffic, type TrafficOptions } from './world/traffic.ts'

export type { Life } from './world/deploy.ts'

export interface WorldOptions extends Partial<stackFiles.StackShape>, Partial<TrafficOptions> {
  readonly stack?: Partial<StackConfig>
  /** More files, or other ones than the usual. */
  readonly files?: Readonly<Record<string, string>>
  /** Symbolic links among the files. */
  readonly links?: Readonly<Record<string, string>>
  /** Services that have no container. */
  readonly missing?: readonly string[]
  /** What all of the app's images have in common. */
  readonly app?: FakeImageOptions
  /** The agent cannot reach the containers' network, as beside a rootless engine. */
  readonly isRootless?: boolean
  /** Every container has an address of IPv6 too. */
  readonly isDualStack?: boolean
  /** What nginx's image brings to ask by; all where nothing is said. */
  readonly programs?: readonly ProgramName[]
}

const BAD_MODES = ['exits', 'sick', 'flaps', 'hangs', 'never-listens', 'crashes', 'restarts'] as const

/** The stack has long run when a roll comes, and clients go on after it. */
const SETTLE_MS = 3000
/** As long as a service manager takes to start an agent that has ended. */
const AWAY_MS = 1000

export class FakeWorld {
  readonly clock = new VirtualClock()
  readonly files: FakeFiles
  readonly images = new FakeImages()
  readonly containers: Containers
  readonly compose: FakeCompose
  /** The one that the agent finds first. */
  readonly nginx: FakeNginx
  readonly nginxes: readonly FakeNginx[]
  readonly isRootless: boolean
  readonly programs: readonly ProgramName[]
  readonly traffic: Traffic
  /** What is checked after every transition. */
  readonly moments: Moments
  readonly locks = new FakeLocks(this.clock)
  readonly releases = new FakeReleases()
  readonly stuck = new FakeStuckNotes()
  readonly stack: StackConfig
  readonly ports: DrivenPorts
  readonly shape: stackFiles.StackShape
  /** The nginx file on the host, and the services of its upstream. */
  readonly proxyPath: string
  readonly instances: readonly string[]
  readonly people = new People(this)
  readonly #story: string[] = []
  readonly #faults: Fault[] = []
  #before: string
  /** Containers that have not answered since the engine restarted. */
  readonly #excused = new Set<string>()
  /** The services and containers that did not answer when the deploy began: whether they run by now says nothing of it. */
  #ill: { readonly services: readonly string[]; readonly ids: readonly string[] } = { services: [], ids: [] }
  #deploys = 0
  #deploy: FakeDeploy | undefined

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
    this.proxyPath = stackFiles.proxyPath(shape)
    this.instances = stackFiles.services(shape)
    this.files = new FakeFiles({ ...stackFiles.stackFiles(shape), ...options.files }, options.links)
    this.isRootless = options.isRootless ?? false
    this.programs = options.programs ?? ['curl', 'wget']
    this.containers = new Containers(this.clock, options.isDualStack)
    this.compose = new FakeCompose(this.files, this.containers, this.images, this.clock)
    this.stack = { ...STACK, ...options.stack }
    this.#fillImages(options.app)
    this.#startContainers(options.missing ?? [])
    if (shape.secondNginx === 'container') this.people.scale('nginx')
    this.nginxes = ['nginx', 'edge']
      .flatMap((service) => this.containers.ofService(service))
      .map((container) => new FakeNginx(container, this, stackFiles.imageFiles(shape)))
    const [nginx] = this.nginxes
    if (!nginx) throw new Error('there is no nginx')
    this.nginx = nginx
    for (const one of this.nginxes) one.start()
    this.traffic = new Traffic(this.nginxes, this.containers, this.clock, {
      requestMs: options.requestMs ?? 30,
      isRetried: options.isRetried ?? false,
    })
    this.moments = new Moments(this)
    this.ports = withDrivers({
      engine: fakeEngine(this),
      compose: this.compose,
      files: this.files,
      http: fakeHttp(this),
      locks: this.locks,
      clock: this.clock,
    })
    this.#watch()
    this.#before = this.picture()
  }

  /** Something happens to the instances of a service, now. */
  hurt(service: string, how: Hurt): this {
    for (const container of this.containers.ofService(service)) {
      this.traffic.sicken(container)
      this.containers.hurt(container, how)
    }
    return this
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

  /** A deploy comes; nothing happens until the agent lives. */
  begin(request: AnyRequest, options: Omit<DeployOptions, 'id' | 'request'> = {}): FakeDeploy {
    this.#deploys += 1
    const ill = this.containers.all().filter((one) => this.instances.includes(one.service) && !answers(one))
    this.#ill = { services: ill.map(({ service }) => service), ids: ill.map(({ id }) => id) }
    this.#before = this.picture()
    this.traffic.begin()
    this.moments.begin(request, this.releases.list())
    this.#deploy = new FakeDeploy(this, { ...options, id: `deploy${this.#deploys}`, request })
    return this.#deploy
  }

  /** A deploy, up to its end or the agent's. */
  roll(request: AnyRequest, options?: Omit<DeployOptions, 'id' | 'request'>): Promise<Life> {
    return this.begin(request, options).live(this.#faults.splice(0))
  }

  /** The agent is back: the same deploy in its next life. */
  async recover(): Promise<Life> {
    if (!this.#deploy) throw new Error('there is no deploy to recover')
    return await this.#deploy.live(this.#faults.splice(0))
  }

  /** The agent is gone for a while; the world goes on. */
  async away(ms = AWAY_MS): Promise<void> {
    await this.run(this.clock.sleep(ms, new AbortController().signal))
  }

  /** The engine restarts, which takes its containers with it: what requests that costs is not the roll's doing. */
  restartEngine(ms: number, { hasRestartPolicy = true }: { hasRestartPolicy?: boolean } = {}): void {
    this.tell('THE ENGINE restarts')
    for (const container of this.containers.all()) this.#excuse(container)
    this.containers.restartEngine(ms, hasRestartPolicy)
  }

  #excuse(container: FakeContainer): void {
    this.traffic.excuse(container)
    this.#excused.add(container.id)
  }

  /** Lets clients go on for a while, so that what a roll broke shows. */
  async settle(): Promise<void> {
    await this.run(this.clock.sleep(SETTLE_MS, new AbortController().signal))
  }

  /** What a person could see of the stack: files, versions, and what nginx has loaded. */
  picture(): string {
    const paths = [...this.stack.compose, this.proxyPath]
    const services = this.containers.all().map(({ service, imageId, env, state }) => {
      const now = this.#ill.services.includes(service) ? '' : ` ${state}`
      return `${service} ${imageId} ${JSON.stringify(env)}${now}`
    })
    const loaded = this.nginx.newest().servers.map(({ host, isDown }) => `${host}${isDown ? ' down' : ''}`)
    return [...paths.map((path) => this.files.text(path)), ...services.toSorted(), ...loaded].join('\n')
  }

  /** What is wrong, in words; empty when no request failed and nothing half done is left. */
  async faultsAfter(expected: 'unchanged' | 'changed'): Promise<string[]> {
    await this.settle()
    const faults = this.failures()
    if (expected === 'unchanged' && this.picture() !== this.#before)
      faults.push(`the world is not as before:\n${this.picture()}\n--- before:\n${this.#before}`)
    if (expected === 'changed' && this.picture() === this.#before) faults.push('nothing has changed')
    return [...faults, ...this.inconsistencies()]
  }

  /** What was wrong at any moment so far. */
  failures(): string[] {
    const all = [...this.traffic.failures, ...this.moments.failures]
    return all.map(([why, count]) => `${count} x ${why}`)
  }

  /** The last things that happened, for whoever reads a failed test. */
  story(): string {
    return this.#story.slice(-150).join('\n')
  }

  /** Writes into the story. */
  readonly tell = (text: string): void => {
    this.#story.push(`${String(this.clock.elapsed()).padStart(7)} ms  ${text}`)
  };

  /**
   * What does not fit together: versions, containers, both files, and what nginx has loaded. `touched` are services that a person has
   * had their hands on; `isEdited`: the nginx file, and nobody has reloaded nginx since.
   */
  *inconsistencies(touched: ReadonlySet<string> = new Set(), isEdited = false): Generator<string> {
    const { services } = this.compose.read(this.stack)
    const { instances } = this
    const versions = new Set<string>()
    for (const [service, { hash, image }] of Object.entries(services)) {
      const all = this.containers.ofService(service)
      if (all.length !== 1 && !touched.has(service)) yield `service ${service} has ${all.length} containers`
      for (const one of all) {
        if (one.hash !== hash && (instances.includes(service) || !touched.has(service)))
          yield `${service} does not run as the compose file says`
        if (one.imageId !== this.images.find(image)?.id)
          yield `compose would recreate ${service}: another image`
        if (/^[0-9a-f]{12}_/.test(one.name))
          yield `${service} has a container with a makeshift name, ${one.name}`
        if (one.state !== 'running' && !touched.has(service) && !this.#ill.ids.includes(one.id))
          yield `${service} is ${one.state}`
        if (instances.includes(service)) versions.add(`${one.imageId} ${one.env['MESSAGE']?.split(',')[1]}`)
      }
    }
    if (versions.size !== 1) yield `several versions run: ${[...versions].join(' | ')}`
    const generation = this.nginx.newest()
    // With the name of one that does not run nginx can load nothing anew.
    const isLoadable = this.nginx.dump().exitCode === 0
    if (isLoadable && generation.text !== this.nginx.text() && !isEdited)
      yield 'nginx has loaded another text than it sees'
    if (this.files.text(this.proxyPath) !== this.moments.own(this.proxyPath))
      yield 'the nginx file is not the user’s, byte for byte'
    for (const path of this.files.leftovers()) yield `${path} was left behind`
    const down = generation.servers.filter(({ isDown }) => isDown).map(({ host }) => host)
    if (isLoadable && down.join() !== this.shape.down.join()) yield `down in nginx: ${down.join()}`
  }

  #fillImages(app: FakeImageOptions = {}): void {
    const { images } = this
    images.push('ghcr.io/acme/hello:v1', fakeImage('hello v1', app))
    images.pull('ghcr.io/acme/hello:v1')
    images.push('ghcr.io/acme/hello:v2', fakeImage('hello v2', app))
    images.build('hello:v1', fakeImage('built v1', app))
    images.build('hello:v2', fakeImage('built v2', app))
    for (const mode of BAD_MODES)
      images.push(`ghcr.io/acme/hello:${mode}`, fakeImage(`hello ${mode}`, { ...app, mode }))
    for (const ref of ['nginx:1.30', 'redis:8']) images.build(ref, fakeImage(ref, { startMs: 0, env: {} }))
    if (!images.find(this.shape.image)) images.build(this.shape.image)
  }

  #startContainers(missing: readonly string[]): void {
    const services = this.compose.read(this.stack).services
    for (const [service, { image: name, env, mounts, hash, definition }] of Object.entries(services)) {
      const image = this.images.find(name)
      if (missing.includes(service) || !image) continue
      const healthcheck = healthcheckOf(definition)
      const options = { image, name, env, mounts, hash, healthcheck, composeFiles: this.stack.compose }
      const container = this.containers.create(service, options)
      this.containers.start(container)
      container.isListening = true
      if (healthcheck) container.health = 'healthy'
    }
  }

  #watch(): void {
    this.containers.onChange = (what, container: FakeContainer) => {
      this.tell(`${container.service} (${container.ip}) ${what}`)
      this.people.see(what, container)
      if (what === 'stops') this.traffic.cut(container)
      if (what === 'listens' && this.#excused.delete(container.id)) this.traffic.expect(container)
      const nginx = this.nginxes.find((one) => one.container === container)
      if (what === 'stops') nginx?.stop()
      if (what === 'starts') nginx?.restart()
      this.traffic.tick()
      this.moments.look()
    }
    this.traffic.onFailure = (why) => this.tell(`FAILED ${why}`)
    this.moments.onFailure = (why) => this.tell(`WRONG ${why}`)
    for (const nginx of this.nginxes) this.#watchNginx(nginx)
    this.clock.onTick = () => this.traffic.tick()
  }

  #watchNginx(nginx: FakeNginx): void {
    const { onLoad, onQuit, container } = nginx
    const name = nginx === this.nginx ? 'nginx' : container.name
    nginx.onLoad = (generation) => {
      const down = generation.servers.filter(({ isDown }) => isDown).map(({ host }) => host)
      this.tell(`${name} generation ${generation.number} serves, down: ${down.join() || 'nobody'}`)
      onLoad(generation)
      this.moments.look()
    }
    nginx.onQuit = (generation) => {
      this.tell(`${name} generation ${generation.number} quits`)
      onQuit(generation)
      this.moments.look()
    }
  }
}

export const HEALTH: StackConfig['health'] = {
  by: undefined,
  path: undefined,
  host: undefined,
  status: undefined,
  intervalMs: 100,
  successes: 2,
  timeoutMs: 5000,
}

const STACK: StackConfig = {
  name: 'hello',
  compose: [stackFiles.COMPOSE_PATH],
  project: undefined,
  envFiles: undefined,
  profiles: [],
  proxy: {},
  instances: undefined,
  health: HEALTH,
  drainTimeoutMs: 10_000,
  soakMs: 0,
  deadlineMs: 3600_000,
  before: undefined,
  after: undefined,
  releasesKept: 5,
  allow: { images: ['ghcr.io/acme/hello', 'docker.io/library/hello'], env: ['MESSAGE'] },
  triggers: [],
  notify: [],
}
