// nginx's master and its workers by generation. A reload takes a while, in which both generations route; old workers linger.

import type { Process } from '../../../agent/ports.ts'
import type { VirtualClock } from './clock.ts'
import type { Containers, FakeContainer } from './containers.ts'
import type { FakeFiles } from './files.ts'
import { keepaliveMinTimeout, readUpstream, type ServerLine } from './nginx-text.ts'

const MAIN = '/etc/nginx/nginx.conf'
/** As measured: new workers accept after a while, old ones are told to quit a good 100 ms later. */
const READ_MS = 5
const START_MS = 30
const QUIT_MS = 100

export interface LoadedServer extends ServerLine {
  readonly ip: string
}

export interface Generation {
  readonly number: number
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
  /** Set to a pid of its own for an image whose PID 1 is not nginx. */
  masterPid: number
  /** Reload takes no effect while this is set: a master that does not answer. */
  isWedged = false
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
    const now = this.#clock.now()
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
    const loaded: LoadedServer[] = []
    for (const server of servers) {
      const ip = /^[\d.]+$/.test(server.host) ? server.host : this.#containers.resolve(server.host)?.ip
      if (ip === undefined) return `host not found in upstream "${server.host}:${server.port}" in ${MAIN}:18`
      loaded.push({ ...server, ip })
    }
    return loaded
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
    generation.quitAt = this.#clock.now()
    this.#clock.touch()
    this.onQuit(generation)
  }
}
