// The Engine and Http ports of the fake world. Every answer takes its time, as the real ones were measured.

import type { Engine, Http } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'
import type { VirtualClock } from './clock.ts'
import { asContainer, STOP_MS, type Containers, type FakeContainer } from './containers.ts'
import type { FakeImages } from './images.ts'
import type { FakeNginx } from './nginx.ts'
import type { Traffic } from './traffic.ts'

interface World {
  readonly clock: VirtualClock
  readonly containers: Containers
  readonly images: FakeImages
  readonly nginx: FakeNginx
  readonly traffic: Traffic
}

/** What may be done to a container. */
export function fakeContainers(
  clock: VirtualClock,
  containers: Containers,
): Pick<Engine, 'containers' | 'container' | 'start' | 'stop' | 'rename' | 'remove'> {
  const known = (id: string) => knownIn(containers, id)
  return answered(containers, {
    async containers(project, signal, services) {
      await clock.sleep(5, signal)
      const all = project === 'hello' ? containers.all().map(asContainer) : []
      return all.filter(({ service }) => services?.includes(service) ?? true)
    },
    async container(id, signal) {
      await clock.sleep(2, signal)
      const container = containers.byId(id) ?? containers.all().find(({ name }) => name === id)
      return container && asContainer(container)
    },
    async start(id, signal) {
      await clock.sleep(150, signal)
      const container = known(id)
      if (container.state !== 'running') containers.start(container)
    },
    async stop(id, signal) {
      signal.throwIfAborted()
      const container = containers.byId(id)
      if (container) containers.beginStop(container)
      await clock.sleep(STOP_MS + 20, signal)
    },
    async rename(id, name, signal) {
      await clock.sleep(2, signal)
      const container = known(id)
      const taken = containers.byId(name)
      if (taken)
        throw new Problem('compose-failed', `container ${id} could not be named ${name}: it is taken`)
      container.name = name
    },
    async remove(id, signal) {
      await clock.sleep(20, signal)
      const container = containers.byId(id)
      if (!container) return
      containers.stop(container, 137)
      containers.remove(container)
    },
  })
}

/** Of an engine that goes while it is asked, nobody hears more. */
function answered<T extends object>(containers: Containers, methods: T): T {
  const entries = Object.entries(methods).map(([name, method]) => {
    const ask = async (...args: unknown[]): Promise<unknown> => {
      const { restarts } = containers
      if (containers.isAway) throw unreachable()
      const answer: unknown = await Reflect.apply(method, methods, args)
      if (containers.restarts !== restarts) throw unreachable()
      return answer
    }
    return [name, ask]
  })
  return Object.fromEntries(entries) as T
}

function unreachable(): Problem {
  return new Problem('engine-unreachable', 'the Docker engine does not answer (ECONNREFUSED)')
}

export function fakeEngine(world: World): Engine {
  const { clock, containers, images } = world
  const known = (id: string) => knownIn(containers, id)
  const running = (id: string) => {
    const container = containers.byId(id)
    if (container?.state === 'running') return container
    throw new Problem('nginx-not-running', `container ${id} does not run`)
  }
  return {
    ...fakeContainers(clock, containers),
    ...answered(containers, {
      async envFiles(_composeFiles, _project, signal) {
        await clock.sleep(5, signal)
        return []
      },
      async image(ref, signal) {
        await clock.sleep(2, signal)
        const image = images.find(ref)
        if (!image) return undefined
        const { id, digests, platform } = image
        return { id, digests, platform, tags: images.tagsOf(id) }
      },
      async platform(signal) {
        await clock.sleep(1, signal)
        return 'linux/amd64'
      },
      async ping(signal) {
        await clock.sleep(1, signal)
      },
      async tag(id, ref, signal) {
        await clock.sleep(2, signal)
        images.tag(id, ref)
      },
      async pull(ref, onProgress, signal) {
        await clock.sleep(100, signal)
        onProgress({ done: 1, layers: 2 })
        await clock.sleep(100, signal)
        images.pull(ref)
      },
      async imagesInUse(signal) {
        await clock.sleep(5, signal)
        return new Set(containers.all().map(({ imageId }) => imageId))
      },
      async untag(ref, signal) {
        await clock.sleep(2, signal)
        return images.untag(ref, new Set(containers.all().map(({ imageId }) => imageId)))
      },
      async outputSince(id, sinceMs, signal) {
        await clock.sleep(5, signal)
        const written = known(id).output.filter(({ at }) => at >= sinceMs)
        return written.map(({ text }) => text).join('')
      },
      async processes({ id }, signal) {
        await clock.sleep(1, signal)
        const container = known(id)
        if (container.service === 'nginx') return world.nginx.processes()
        return [{ pid: container.pid, parent: 1, title: 'app' }]
      },
      async exec(id, argv, signal) {
        await clock.sleep(80, signal)
        const isProxy = running(id).service === 'nginx'
        if (isProxy && argv.join(' ') === 'nginx -T') return world.nginx.dump()
        if (isProxy && argv.join(' ') === 'nginx -t') return { ...world.nginx.dump(), stdout: '' }
        if (isProxy && argv.join(' ') === 'nginx -s reload') {
          world.nginx.hangUp()
          return { exitCode: 0, stdout: '', stderr: '' }
        }
        const written = /^echo (\w+) >\/proc\/1\/fd\/1$/.exec(argv[2] ?? '')?.[1]
        if (written === undefined) return shell(argv)
        running(id).output.push({ at: clock.now(), text: `${written}\n` })
        return { exitCode: 0, stdout: '', stderr: '' }
      },
      async readFile({ id }, path, signal) {
        await clock.sleep(1, signal)
        return known(id).service === 'nginx' ? world.nginx.read(path) : ''
      },
      async hangUp(id, signal) {
        await clock.sleep(2, signal)
        running(id)
        world.nginx.hangUp()
        await clock.sleep(10, signal)
      },
      async logs(id, lines, signal) {
        await clock.sleep(5, signal)
        return known(id).log.slice(-lines)
      },
      async connections(_container, { ip, port }, signal) {
        await clock.sleep(1, signal)
        return world.traffic.connections(ip, port)
      },
    } satisfies Partial<Engine>),
  }
}

function knownIn(containers: Containers, id: string): FakeContainer {
  const container = containers.byId(id)
  if (!container) throw new Problem('container-missing', `there is no container ${id}`)
  return container
}

/** What the contract asks of a shell, and no more. */
export function shell(argv: readonly string[]): { exitCode: number; stdout: string; stderr: string } {
  const [program, flag, script = ''] = argv
  if (program !== 'sh' || flag !== '-c')
    return { exitCode: 127, stdout: '', stderr: `${program}: not found\n` }
  const outputs = { stdout: '', stderr: '' }
  for (const [, text = '', to] of script.matchAll(/echo (\w+)( >&2)?/g))
    outputs[to === undefined ? 'stdout' : 'stderr'] += `${text}\n`
  return { exitCode: Number(/exit (\d+)/.exec(script)?.[1] ?? 0), ...outputs }
}

export function fakeHttp(world: World): Http {
  const { clock, containers } = world
  let turn = 0
  return {
    async get({ ip, port }, timeoutMs, signal) {
      await clock.sleep(3, signal)
      const container = containers.byIp(ip)
      if (!container?.isListening) return { fault: container ? 'ECONNREFUSED' : 'EHOSTUNREACH' }
      if (container.service !== 'nginx' && port !== 3000) return { fault: 'ECONNREFUSED' }
      if (container.service !== 'nginx') return { status: container.image.mode === 'sick' ? 500 : 200 }
      if (port !== 80) return { fault: 'ECONNREFUSED' }
      turn += 1
      const servers = world.nginx.newest().servers.filter(({ isDown }) => !isDown)
      const server = servers[turn % servers.length]
      const app = server && containers.byIp(server.ip)
      if (!app?.isListening) return { status: 502 }
      if (app.image.mode !== 'sick') return { status: 200 }
      await clock.sleep(Math.min(1, timeoutMs), signal)
      return { status: 500 }
    },
  }
}
