// nginx as the proxy of a roll: who gets new requests by the text that it runs, and what can be asked of it.

import type { Route } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import type { Clock, Container, Files, Remote } from '../ports.ts'
import type { Asker, From } from '../roll/gates/ask.ts'
import type { Proxy, ProxyDriver, ProxySeen, Warning, WrittenState } from '../roll/proxy.ts'
import { outOf } from '../roll/route.ts'
import { subsetsOf } from '../roll/subsets.ts'
import { WrittenFile } from '../roll/written-file.ts'
import { askerInside } from './ask-inside.ts'
import { asBytes } from './config/bytes.ts'
import { ContainerPlace, type PlaceEngine } from './container-place.ts'
import { inspect } from './inspect.ts'
import { reload, RELOAD_MS_MAX, workersIn } from './reload.ts'
import { render } from './render.ts'
import { ownOf, type NginxSeen } from './seen.ts'
import { usesPast } from './config/settings.ts'
import { isTorn } from './config/torn.ts'
import { openTraffic } from './traffic.ts'
import { warningsOf } from './warnings.ts'

export interface NginxPorts {
  readonly engine: PlaceEngine
  readonly files: Files
  readonly clock: Clock
}

export function nginxDriver(ports: NginxPorts): ProxyDriver {
  return {
    inspect: (stack, around, signal) => inspect(stack, around, ports, signal),
    open: (seen) => new NginxProxy(seen, ports),
  }
}

/** Added to the times that nginx promises: its timers and ours tick apart, and on a busy machine late. It costs time only while a long request runs. */
const TIMER_MARGIN_MS = 500
/** An address, which nginx need not resolve. */
const ADDRESS = /^[\d.]+$|:/
/** The listen addresses that mean all. */
const EVERY: readonly string[] = ['*', '0.0.0.0', '::']

export class NginxProxy implements Proxy {
  readonly seen: ProxySeen
  readonly asker: Asker
  readonly #own: NginxSeen
  readonly #clock: Clock
  readonly #place: ContainerPlace
  readonly #file: WrittenFile
  #out: ReadonlySet<string> = new Set()
  #isLoaded = true
  /** The pids of the retiring workers: told to quit, they may still take a request from an idle connection, by a former configuration. */
  #retiring: readonly number[] = []
  /** The text that a crash has left half written. The file is never put back to it. */
  #tornText: string | undefined

  constructor(seen: ProxySeen, { engine, files, clock }: NginxPorts) {
    this.seen = seen
    this.#own = ownOf(seen)
    this.#clock = clock
    this.#place = new ContainerPlace(engine, this.#own.container)
    const { hostPath, text, how } = this.#own.file
    this.#file = new WrittenFile(files, { path: hostPath, how, encoding: 'bytes', text })
    this.asker = askerInside(this.#place)
  }

  get services(): readonly string[] {
    return [this.#own.container.service]
  }

  get out(): ReadonlySet<string> {
    return this.#out
  }

  get isLoaded(): boolean {
    return this.#isLoaded
  }

  get isAsWritten(): boolean {
    return this.#file.text === this.#own.file.text
  }

  get repair(): string {
    return `docker exec ${this.#place.container.name} sh -c 'nginx -t && nginx -s reload'`
  }

  look(containers: readonly Container[]): void {
    this.#place.look(containers)
  }

  warnings(soakMs: number): readonly Warning[] {
    return [...warningsOf(this.#own, soakMs)]
  }

  goesBy(route: Route, nowhere: ReadonlySet<string>): boolean {
    return this.#isLoaded && render(this.#own, route, nowhere) === this.#file.text
  }

  async route(route: Route, nowhere: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const text = render(this.#own, route, nowhere)
    const out = outOf(route)
    if (!this.#isLoaded || text !== this.#file.text) {
      if (out.length === 0 && nowhere.size > 0) await this.#loadIfPossible(text, signal)
      else await this.#load(text, signal)
    }
    this.#out = new Set(out)
  }

  async requestsAt(remotes: readonly Remote[], passedMs: number, signal: AbortSignal) {
    // For keepalive_min_timeout a retiring worker still answers a request on a client connection that was idle. It does so by its old configuration,
    // so perhaps at the server that was taken out. So it must be gone, or that time over.
    const graceMs = (this.#own.settings.keepaliveMinTimeoutMs ?? 0) + TIMER_MARGIN_MS
    // First the workers, then the count: a worker that is gone by now has opened no connection that the count misses.
    const mayGrow = passedMs < graceMs && (await this.#isAnyRetiring(signal))
    return { count: await this.#place.connections(remotes, signal), mayGrow }
  }

  forget(): void {
    this.#isLoaded = false
  }

  async resume(routes: readonly Route[], nowhere: readonly string[]): Promise<Problem | undefined> {
    const { file } = this.#own
    this.#isLoaded = false
    const text = await this.#file.resume()
    const candidates = this.#candidates(routes, nowhere)
    const found = candidates.find((one) => one.text === text)
    if (found) {
      this.#out = new Set(outOf(found.route))
      return undefined
    }
    // nginx never loaded a text that is half written. Whoever is out by the text that it did load, the way back takes out and puts back by name.
    if (this.#isHalfWritten(text, candidates)) {
      this.#tornText = text
      return undefined
    }
    return new Problem('nginx-changed', `${file.hostPath} is not as any step of the roll wrote it`, {
      cure: 'put every server back by hand and reload nginx',
    })
  }

  checkLoadableWithout(service: string, said: string): void {
    const { servers, settings, upstream } = this.#own
    const hosts = new Set(servers[service]?.map(({ host }) => host).filter((host) => !ADDRESS.test(host)))
    const uses = [...hosts].flatMap((host) => usesPast(settings, host, upstream.name))
    const use = uses.find(({ isAtLoad }) => isAtLoad)
    if (use === undefined) return
    throw new Problem(
      'container-missing',
      `service ${service} is ${said}, and nginx cannot be reloaded while ${use.where} names it beside upstream ${upstream.name}`,
      { cure: 'start it first, or take that line out until the deploy is over' },
    )
  }

  addressOf(address: string, from: From): string | undefined {
    if (!EVERY.includes(address)) return address === 'localhost' ? '127.0.0.1' : address
    if (from === 'proxy') return address === '::' ? '::1' : '127.0.0.1'
    const own = Object.values(this.#place.container.addresses).flat()
    return own.find((ip) => (address === '::') === ip.includes(':')) ?? own[0]
  }

  async openTraffic(signal: AbortSignal) {
    return await openTraffic(this.#place, this.#own.settings.accessLogs, this.#clock.now(), signal)
  }

  async checkAsWritten(): Promise<void> {
    if ((await this.#file.read()) === this.#own.file.text) return
    throw new Problem('nginx-changed', `${this.#file.path} is not what the roll left`, {
      cure: 'see who changed it',
    })
  }

  async checkWritable(): Promise<void> {
    await this.#file.checkWritable()
  }

  async tidy(): Promise<void> {
    await this.#file.tidy()
  }

  async files(routes: readonly Route[], nowhere: readonly string[]): Promise<readonly WrittenState[]> {
    const before = asBytes(this.#own.file.text)
    const { path } = this.#file
    const text = await this.#file.read().catch(() => undefined)
    if (text === undefined) return [{ path, before, state: 'unreadable' }]
    if (text === this.#own.file.text) return [{ path, before, state: 'as-before' }]
    const candidates = this.#candidates(routes, nowhere)
    const isOurs = candidates.some((one) => one.text === text) || this.#isHalfWritten(text, candidates)
    return [{ path, before, state: isOurs ? 'half-way' : 'changed' }]
  }

  /** Every text that a roll by these routes may have written, while any of these names resolved to nothing. */
  #candidates(routes: readonly Route[], nowhere: readonly string[]) {
    return routes.flatMap((route) =>
      nowhereSets(nowhere).map((names) => ({ route, text: render(this.#own, route, new Set(names)) })),
    )
  }

  #isHalfWritten(text: string, candidates: readonly { readonly text: string }[]): boolean {
    const isHalf = (to: string) => candidates.some((from) => isTorn(text, from.text, to))
    return this.#own.file.how === 'in-place' && candidates.some((one) => isHalf(one.text))
  }

  // The user's own text may name what does not run, as before the roll, and nginx cannot load it then. It is written all the same: nginx goes on by
  // what it has loaded, which sends nobody there.
  async #loadIfPossible(text: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#load(text, signal)
    } catch (error) {
      if (!(error instanceof Problem) || !['nginx-refused', 'nginx-reload-failed'].includes(error.code))
        throw error
      await this.#write(text, signal)
      this.#isLoaded = true
    }
  }

  async #load(text: string, signal: AbortSignal): Promise<void> {
    const before = this.#file.text
    const wasLoaded = this.#isLoaded
    await this.#write(text, signal)
    try {
      await this.#checkSeen(signal)
      this.#isLoaded = false
      this.#retiring = await reload(this.#place, this.#clock, this.#file.path, signal)
      this.#isLoaded = true
    } catch (error) {
      // The file goes back to what nginx loaded before, even where the signal is aborted. A refusal leaves what nginx has loaded as it was.
      if (before !== this.#tornText) await this.#write(before, AbortSignal.timeout(RELOAD_MS_MAX))
      if (error instanceof Problem && ['nginx-stale', 'nginx-refused'].includes(error.code))
        this.#isLoaded = wasLoaded
      throw error
    }
  }

  async #write(text: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const before = this.#file.text
    try {
      await this.#file.write(text, () => {
        const what = `somebody else changed ${this.#file.path} during the roll`
        return new Problem('nginx-changed', what, { cure: 'see what they wrote, then deploy again' })
      })
    } finally {
      if (this.#file.text !== before) this.#isLoaded = false
    }
  }

  // nginx reloads a stale file without a word, so the bytes in the container are compared first.
  async #checkSeen(signal: AbortSignal): Promise<void> {
    if ((await this.#place.readFile(this.#own.file.path, signal)) === this.#file.text) return
    throw new Problem('nginx-stale', `nginx does not see what was written to ${this.#file.path}`, {
      cure: `recreate ${this.#place.name} so that it mounts the file anew`,
    })
  }

  async #isAnyRetiring(signal: AbortSignal): Promise<boolean> {
    if (this.#retiring.length === 0) return false
    const { workers } = await workersIn(this.#place, signal)
    return workers.some(({ pid }) => this.#retiring.includes(pid))
  }
}

/** With more names than this, not each of their 2^N subsets is tried, but none and all of them. */
const SUBSETS_NAMES_MAX = 8

function nowhereSets(names: readonly string[]): string[][] {
  if (names.length > SUBSETS_NAMES_MAX) return [[], [...names]]
  return subsetsOf(names)
}
