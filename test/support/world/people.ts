// What people do to a stack while it is rolled: edits, reloads, containers. Their doings are their own: what requests they cost is not
// held against the roll, and what they wrote must be there afterwards.

import type { StackConfig } from '../../../agent/config/config.ts'
import type { VirtualClock } from './clock.ts'
import type { FakeCompose } from './compose.ts'
import type { Containers, FakeContainer } from './containers.ts'
import type { FakeFiles } from './files.ts'
import { fakeImage, type FakeImages } from './images.ts'
import type { FakeLocks } from './locks.ts'
import type { FakeStuckNotes } from './memory.ts'
import type { Moments } from './moments.ts'
import type { FakeNginx } from './nginx.ts'
import type { Traffic } from './traffic.ts'

/** What people lay hands on. */
interface World {
  readonly clock: VirtualClock
  readonly containers: Containers
  readonly traffic: Traffic
  readonly moments: Moments
  readonly files: FakeFiles
  readonly images: FakeImages
  readonly compose: FakeCompose
  readonly stack: StackConfig
  readonly nginx: FakeNginx
  readonly locks: FakeLocks
  readonly stuck: FakeStuckNotes
  readonly instances: readonly string[]
  readonly proxyPath: string
  tell(what: string): void
  run<T>(work: Promise<T>): Promise<T>
}

export type Deed =
  | {
      readonly kind: 'comments nginx' | 'tunes nginx' | 'comments compose' | 'tunes compose' | 'reloads nginx'
    }
  | {
      readonly kind: 'recreates' | 'stops' | 'restarts' | 'scales'
      readonly service: string
    }
  | { readonly kind: 'holds the lock'; readonly ms: number }
  | { readonly kind: 'pushes'; readonly image: string }
  /** nginx takes no text with a server `down` for a while. */
  | { readonly kind: 'spoils nginx'; readonly ms: number }

/** An image that crashes by itself. */
const CRASHING = ['crashes', 'restarts']
/** How long `docker restart` leaves an app stopped. */
const RESTART_MS = 200
/** Whoever saw it dead may do something about it yet, although it is back by itself. */
const BACK_MS = 1000

export class People {
  readonly #world: World
  readonly #never = new AbortController().signal
  /** Services whose containers somebody has had their hands on, since the last tidying up. */
  readonly touched = new Set<string>()
  /** Files that somebody has edited since. */
  readonly edited = new Set<string>()
  /** Images that a tag means since. */
  readonly pushed = new Set<string>()
  readonly #unsettled = new Set<string>()
  readonly #busy = new Map<string, number>()
  readonly #starting = new Set<string>()
  #deeds = 0

  constructor(world: World) {
    this.#world = world
  }

  /** How many deeds were done. */
  get deeds(): number {
    return this.#deeds
  }

  /** Whether somebody's hands are on this service's containers at the moment. */
  isUnsettled(service: string): boolean {
    return this.#unsettled.has(service)
  }

  /** The containers of the world change: one that was touched is excused until it listens again, and nobody is at it any more. */
  see(what: string, container: FakeContainer): void {
    const { traffic } = this.#world
    if (CRASHING.includes(container.image.mode)) traffic.excuse(container)
    if (!this.#unsettled.has(container.service)) return
    if (what === 'starts') {
      traffic.excuse(container)
      this.#starting.add(container.id)
    }
    if (what === 'listens') this.#world.clock.after(BACK_MS, () => this.#settle(container.service))
  }

  #settle(service: string): void {
    if ((this.#busy.get(service) ?? 0) > 0) return
    const listening = this.#world.containers.ofService(service).filter(({ isListening }) => isListening)
    for (const container of listening)
      if (this.#starting.delete(container.id)) {
        this.#world.traffic.expect(container)
        this.#unsettled.delete(service)
      }
  }

  // Their own compose or docker runs for a while.
  async #work(service: string, work: Promise<void>): Promise<void> {
    this.#busy.set(service, (this.#busy.get(service) ?? 0) + 1)
    await work.catch(() => {})
    this.#busy.set(service, (this.#busy.get(service) ?? 0) - 1)
    this.#settle(service)
  }

  do(deed: Deed): void {
    this.#deeds += 1
    this.#world.tell(`SOMEBODY ${deed.kind} ${'service' in deed ? deed.service : ''}`)
    switch (deed.kind) {
      case 'comments nginx':
        return this.#edit(this.#world.proxyPath, (text) => `${text}# mine ${this.#deeds}\n`)
      case 'tunes nginx':
        return this.#edit(this.#world.proxyPath, (text) =>
          text.replace(/weight=\d+/, `weight=${this.#deeds + 2}`),
        )
      case 'comments compose':
        return this.#edit(this.#composePath, (text) => `${text}# mine ${this.#deeds}\n`)
      case 'tunes compose':
        // Of a service that no roll touches; they have not brought it up yet.
        this.touched.add('cache')
        return this.#edit(this.#composePath, (text) =>
          text.replace(/redis:8\n(    command:.*\n)?/, `redis:8\n    command: serve ${this.#deeds}\n`),
        )
      case 'reloads nginx':
        return this.#world.nginx.hangUp()
      case 'pushes': {
        const anew = this.#world.images.push(deed.image, fakeImage(`${deed.image}, build ${this.#deeds}`))
        this.pushed.add(anew.id)
        return this.#world.moments.mayRun(anew.id)
      }
      case 'spoils nginx': {
        const { nginx, clock } = this.#world
        nginx.refuse = (text) => (/ down[ ;]/.test(text) ? 'no such parameter' : undefined)
        clock.after(deed.ms, () => (nginx.refuse = () => undefined))
        return
      }
      case 'holds the lock':
        if (this.#world.locks.holder !== undefined) return
        this.#world.locks.hold('somebody')
        this.#world.clock.after(deed.ms, () => this.#world.locks.release('somebody'))
        return
      case 'recreates':
        this.#touch(deed.service)
        void this.#work(deed.service, this.#world.compose.upByHand(this.#world.stack, deed.service, true))
        return
      case 'scales':
        this.#touch(deed.service)
        return this.scale(deed.service)
      default:
        this.#touch(deed.service)
        return this.#stop(deed.service, deed.kind === 'restarts')
    }
  }

  /** Everything is set right, by hand, to the files that are the user's own: as a person does after `stuck`. */
  async tidy(texts: Readonly<Record<string, string>>): Promise<void> {
    const { files, compose, stack, nginx, locks, stuck, clock, instances } = this.#world
    locks.free()
    for (const [path, text] of Object.entries(texts)) files.inode(path).text = text
    for (const service of [...instances, 'cache']) {
      this.#touch(service)
      await this.#world.run(compose.upByHand(stack, service, false))
    }
    await this.#world.run(clock.sleep(1000, this.#never))
    nginx.hangUp()
    await this.#world.run(clock.sleep(1000, this.#never))
    stuck.clear()
    this.forget()
  }

  /** What was done is done: nothing is excused by it any more. */
  forget(): void {
    this.touched.clear()
    this.edited.clear()
    this.pushed.clear()
    this.#unsettled.clear()
  }

  get #composePath(): string {
    return this.#world.stack.compose[0] ?? ''
  }

  #edit(path: string, edit: (text: string) => string): void {
    const { files, moments } = this.#world
    const text = files.text(path)
    // Nobody edits a file that is half written as if it were whole, nor could anybody tell afterwards whose it is.
    if (edit(text) === text || (path === this.#world.proxyPath && files.isTorn)) return
    this.edited.add(path)
    // An editor that writes into the file, for a mounted file's sake.
    files.inode(path).text = edit(text)
    moments.edited(path, edit)
  }

  #touch(service: string): void {
    this.touched.add(service)
    this.#unsettled.add(service)
    for (const container of this.#world.containers.ofService(service)) this.#world.traffic.excuse(container)
  }

  #stop(service: string, isStartedAgain: boolean): void {
    const { containers, clock } = this.#world
    for (const container of containers.ofService(service)) {
      if (container.state !== 'running') continue
      containers.stop(container, 137)
      if (isStartedAgain)
        clock.after(RESTART_MS, () => {
          if (containers.byId(container.id)?.state === 'exited') containers.start(container)
        })
    }
  }

  /** One more container of a service. */
  scale(service: string): void {
    const { containers } = this.#world
    const [one] = containers.ofService(service)
    if (!one) return
    const more = containers.create(service, {
      image: one.image,
      name: one.imageName,
      env: one.env,
      hash: one.hash,
      composeFiles: one.composeFiles,
      healthcheck: one.healthcheck,
      mounts: one.mounts,
    })
    more.name = `hello-${service}-2`
    containers.start(more)
  }
}
