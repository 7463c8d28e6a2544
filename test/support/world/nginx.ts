// nginx's master and its workers by generation. A reload takes a while, in which both generations route; old workers linger.

import type { Process } from '../../../agent/ports.ts'
import type { VirtualClock } from './clock.ts'
import { answerOf, type Answer, type Containers, type FakeContainer, type Question } from './containers.ts'
import type { FakeFiles } from './files.ts'
import { keepaliveMinTimeout, readUpstream, type ServerLine } from './nginx-text.ts'
import { hostsOf, locationFor, readSites, siteAt, type Location, type Pass, type Site } from './sites.ts'

const MAIN = '/etc/nginx/nginx.conf'
/** As measured: new workers accept after a while, old ones are told to quit a good 100 ms later. */
const READ_MS = 5
const START_MS = 30
const QUIT_MS = 100

/** As `limit_req` is set wherever these tests have it. */
const LIMIT_MS = 1000
/** What nginx's own pages are to whoever asks for one that no location has. */
const PAGES: Readonly<Record<string, number>> = { '/': 200 }

export interface LoadedServer extends ServerLine {
  /** One of each family that its name has. */
  readonly ips: readonly string[]
}

export interface Generation {
  readonly number: number
  /** The ID of nginx's container. */
  readonly proxy: string
  readonly servers: readonly LoadedServer[]
  readonly pids: readonly number[]
  /** The files it was loaded from. */
  readonly text: string
  readonly keepaliveMs: number
  isAccepting: boolean
  quitAt: number | undefined
  inFlight: number
}

const NOBODY: Generation = {
  number: 0,
  proxy: '',
  servers: [],
  pids: [],
  text: '',
  keepaliveMs: 0,
  isAccepting: false,
  quitAt: undefined,
  inFlight: 0,
}

export class FakeNginx {
  readonly container: FakeContainer
  readonly #files: FakeFiles
  readonly #containers: Containers
  readonly #clock: VirtualClock
  readonly #image: Readonly<Record<string, string>>
  #generations: Generation[] = []
  #isReloading = false
  #isPending = false
  #count = 0
  #lives = 0
  #pid: number
  #turn = 0
  /** When a site with a limit was asked last. */
  readonly #askedAt = new Map<string, number>()
  /** Set to a pid of its own for an image whose PID 1 is not nginx. */
  masterPid: number
  /** Reload takes no effect while this is set: a master that does not answer. */
  isWedged = false
  /** Something of the image's own that nginx does not take in a text: what it says, or undefined. */
  refuse: (text: string) => string | undefined = () => undefined
  onLoad: (generation: Generation) => void = () => {}
  onQuit: (generation: Generation) => void = () => {}

  constructor(
    container: FakeContainer,
    world: { files: FakeFiles; containers: Containers; clock: VirtualClock },
    image: Readonly<Record<string, string>>,
  ) {
    this.container = container
    this.#files = world.files
    this.#containers = world.containers
    this.#clock = world.clock
    this.#image = image
    this.#pid = container.pid
    this.masterPid = container.pid
    this.#pin()
  }

  /** Its container has stopped: no worker is left. */
  stop(): void {
    this.#generations = []
    this.#isReloading = false
    this.#isPending = false
    this.#lives += 1
  }

  /** Its container starts again: with the files that are there now, or not at all. */
  restart(): void {
    this.#pid = this.container.pid
    this.masterPid = this.#pid
    this.#pin()
    const text = this.text()
    const loaded = this.#load(text)
    if (typeof loaded === 'string') {
      this.container.log.push(`[emerg] ${loaded}`)
      this.#containers.stop(this.container, 1)
    } else this.#begin(loaded, text).isAccepting = true
  }

  #pin(): void {
    for (const { source, target } of this.container.mounts)
      if (target.endsWith('.conf')) this.container.pinned.set(target, this.#files.inode(source))
  }

  // What was under way when nginx stopped does not come.
  #later(ms: number, run: () => void): void {
    const life = this.#lives
    this.#clock.after(ms, () => life === this.#lives && run())
  }

  /** nginx starts: its first generation serves at once. */
  start(): void {
    const text = this.text()
    const loaded = this.#load(text)
    if (typeof loaded === 'string') throw new Error(loaded)
    this.#begin(loaded, text).isAccepting = true
  }

  /** The generations that have a worker, the newest last. */
  generations(): readonly Generation[] {
    const now = this.#clock.elapsed()
    const isOver = ({ quitAt, inFlight, keepaliveMs }: Generation) =>
      quitAt !== undefined && inFlight === 0 && now >= quitAt + keepaliveMs
    if (this.#generations.some(isOver))
      this.#generations = this.#generations.filter((generation) => !isOver(generation))
    return this.#generations
  }

  /** The one that serves; of an nginx that does not run, one without a server. */
  newest(): Generation {
    return this.#generations.findLast(({ isAccepting }) => isAccepting) ?? NOBODY
  }

  get isSettled(): boolean {
    return !this.#isReloading
  }

  hangUp(): void {
    if (this.isWedged) return
    if (this.#isReloading) this.#isPending = true
    else this.#reload()
  }

  processes(): Process[] {
    const master = { pid: this.masterPid, parent: this.masterPid === this.#pid ? 1 : this.#pid }
    return [
      ...(this.masterPid === this.#pid ? [] : [{ pid: this.#pid, parent: 1, title: '/init' }]),
      { ...master, title: 'nginx: master process nginx -g daemon off;' },
      ...this.generations().flatMap(({ pids, quitAt }) =>
        pids.map((pid) => ({
          pid,
          parent: this.masterPid,
          title: `nginx: worker process${quitAt === undefined ? '' : ' is shutting down'}`,
        })),
      ),
    ]
  }

  /** `nginx -T`: the check, then every file. */
  dump(): { exitCode: number; stdout: string; stderr: string } {
    const files = this.#visible()
    const loaded = this.#load(files.map(({ text }) => text).join('\n'))
    if (typeof loaded === 'string')
      return {
        exitCode: 1,
        stdout: '',
        stderr: `nginx: [emerg] ${loaded}\nnginx: configuration file ${MAIN} test failed\n`,
      }
    return {
      exitCode: 0,
      stdout: files.map(({ path, text }) => `# configuration file ${path}:\n${text}\n`).join(''),
      stderr: `nginx: the configuration file ${MAIN} syntax is ok\nnginx: configuration file ${MAIN} test is successful\n`,
    }
  }

  /** Everything that nginx would load now, as one text. */
  text(): string {
    return this.#visible()
      .map(({ text }) => text)
      .join('\n')
  }

  read(path: string): string {
    const file = this.#visible().find((one) => one.path === path)
    if (!file) throw new Error(`cat: ${path}: No such file or directory`)
    return file.text
  }

  /** The files that a pattern of an include means, a line each. */
  list(pattern: string): string {
    const star = pattern.indexOf('*')
    const isMeant = (path: string) =>
      star < 0
        ? path === pattern
        : path.startsWith(pattern.slice(0, star)) && path.endsWith(pattern.slice(star + 1))
    const found = this.#visible().filter(({ path }) => isMeant(path))
    return found.map(({ path }) => `${path}\n`).join('')
  }

  #visible(): { path: string; text: string }[] {
    const mounts = this.container.mounts
    const pinned = [...this.container.pinned].map(([path, { text }]) => ({ path, text }))
    const folders = mounts
      .filter(({ target }) => !target.endsWith('.conf'))
      .flatMap(({ source, target }) =>
        this.#files
          .paths(source)
          .filter((path) => path.endsWith('.conf'))
          .map((path) => ({ path: target + path.slice(source.length), text: this.#files.inode(path).text })),
      )
    const own = Object.entries(this.#image)
      .filter(([path]) => !this.container.pinned.has(path))
      .map(([path, text]) => ({ path, text }))
    const all = [...pinned, ...folders, ...own]
    return [...all.filter(({ path }) => path === MAIN), ...all.filter(({ path }) => path !== MAIN)]
  }

  #load(text: string): LoadedServer[] | string {
    const servers = readUpstream(text)
    if (typeof servers === 'string') return servers
    const refusal = this.refuse(text)
    if (refusal !== undefined) return refusal
    const loaded = servers.map((server) => ({ ...server, ips: this.#ipsOf(server.host) }))
    const lost = [
      ...loaded.filter(({ ips }) => ips.length === 0).map(({ host, port }) => `${host}:${port}`),
      ...hostsOf(readSites(text), ['apps']).filter((host) => this.#ipsOf(host).length === 0),
    ]
    return lost.length > 0 ? `host not found in upstream "${lost[0]}" in ${MAIN}:18` : loaded
  }

  #ipsOf(host: string): string[] {
    if (/^[\d.]+$/.test(host)) return [host]
    const container = this.#containers.resolve(host)
    return container ? [container.ip, ...(container.ip6 === undefined ? [] : [container.ip6])] : []
  }

  /** What whoever asks nginx gets, by what it has loaded. */
  answer(question: Question): Answer {
    const { servers, text } = this.newest()
    if (servers.length === 0) return { fault: 'ECONNREFUSED' }
    const host = question.host.replace(/:\d+$/, '')
    const found = siteAt(readSites(text), { ...question, host })
    if (!found) return { fault: 'ECONNREFUSED' }
    const isTls = question.tls === true
    if (found.tls !== isTls) return isTls ? { fault: 'EPROTO' } : { status: 400 }
    if (this.#isOverLimit(found.site)) return { status: 503 }
    const location = locationFor(found.site, question.path)
    if (!location?.action) return { status: PAGES[question.path] ?? 404 }
    return 'pass' in location.action
      ? this.#pass(location.action, location, { ...question, host })
      : location.action
  }

  #isOverLimit({ isLimited, names }: Site): boolean {
    if (!isLimited) return false
    const [key, now] = [names.join(), this.#clock.elapsed()]
    const isOver = now - (this.#askedAt.get(key) ?? -Infinity) < LIMIT_MS
    if (!isOver) this.#askedAt.set(key, now)
    return isOver
  }

  // It tries no second server, so that no fault of ours hides behind that.
  #pass({ pass, tls, hasCertificate }: Pass, { host, readTimeoutMs }: Location, question: Question): Answer {
    this.#turn += 1
    const live = this.newest().servers.filter(({ isDown }) => !isDown)
    const server = pass === 'apps' ? live[this.#turn % live.length] : undefined
    const [name = '', port = '80'] = pass.split(':')
    const ips = server?.ips ?? this.#ipsOf(name)
    const app = this.#containers.byIp(ips[this.#turn % ips.length] ?? '')
    if (!app) return { status: 502 }
    const isClients = host !== undefined && /^\$(host|http_host)$/.test(host)
    const answer = answerOf(app, {
      port: server?.port ?? Number(port),
      path: question.path,
      host: isClients ? question.host : (host ?? pass),
      tls,
      hasCertificate,
    })
    if ('fault' in answer) return { status: 502 }
    const { afterMs = 0 } = answer
    return afterMs > readTimeoutMs ? { status: 504, afterMs: readTimeoutMs } : answer
  }

  #reload(): void {
    this.#isReloading = true
    this.#later(READ_MS, () => {
      const text = this.text()
      const loaded = this.#load(text)
      if (typeof loaded === 'string') {
        this.container.log.push(`[emerg] ${loaded}`)
        this.#end()
        return
      }
      this.#later(START_MS, () => {
        const old = this.#generations.filter(({ quitAt }) => quitAt === undefined)
        this.#begin(loaded, text).isAccepting = true
        this.#later(QUIT_MS, () => {
          for (const generation of old) this.#quit(generation)
          this.#end()
        })
      })
    })
  }

  #end(): void {
    this.#isReloading = false
    if (!this.#isPending) return
    this.#isPending = false
    this.#reload()
  }

  #begin(servers: readonly LoadedServer[], text: string): Generation {
    this.#count += 1
    const first = this.#pid + this.#count * 10
    const generation: Generation = {
      number: this.#count,
      proxy: this.container.id,
      servers,
      pids: [first, first + 1],
      text,
      keepaliveMs: keepaliveMinTimeout(text),
      isAccepting: false,
      quitAt: undefined,
      inFlight: 0,
    }
    this.#generations.push(generation)
    this.#clock.touch()
    this.onLoad(generation)
    return generation
  }

  #quit(generation: Generation): void {
    generation.isAccepting = false
    generation.quitAt = this.#clock.elapsed()
    this.#clock.touch()
    this.onQuit(generation)
  }
}
