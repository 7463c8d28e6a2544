// The Engine and Http ports of the fake world. Every answer takes its time, as the real ones were measured.

import type { Engine } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'
import type { VirtualClock } from './clock.ts'
import { asContainer, STOP_MS, type Containers, type FakeContainer } from './containers.ts'
import type { HttpWorld } from './http.ts'
import type { FakeImages } from './images.ts'
import type { FakeNginx } from './nginx.ts'
import { LIST } from '../../../agent/nginx/configuration.ts'
import { askedInside, runProgram, type ProgramName } from './programs.ts'
import type { Traffic } from './traffic.ts'

interface World extends HttpWorld {
  readonly images: FakeImages
  readonly traffic: Traffic
  /** What nginx's image brings to ask by. */
  readonly programs: readonly ProgramName[]
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
    throw new Problem('container-exited', `container ${id} does not run`)
  }
  const nginxIn = (id: string): FakeNginx | undefined =>
    world.nginxes.find(({ container }) => container === containers.byId(id))
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
        const { id, platform } = image
        return { id, platform, tags: images.tagsOf(id), ...images.originOf(image) }
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
      async isInRegistry(digest, signal) {
        await clock.sleep(50, signal)
        return images.isPushed(digest)
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
        const { pid } = known(id)
        return nginxIn(id)?.processes() ?? [{ pid, parent: 1, title: 'app' }]
      },
      async exec(id, argv, signal) {
        await clock.sleep(80, signal)
        const container = running(id)
        const nginx = nginxIn(id)
        const told = argv[0] === 'nginx' ? argv.at(-1) : undefined
        if (nginx && told === '-T') return nginx.dump()
        if (nginx && told === '-t') return { ...nginx.dump(), stdout: '' }
        if (nginx && told === 'reload') {
          nginx.hangUp()
          return { exitCode: 0, stdout: '', stderr: '' }
        }
        if (nginx && argv[0] === 'sh') {
          const script = argv[2]
          const args = argv.slice(4)
          if (script === LIST) return { exitCode: 0, stdout: nginx.list(args[0] ?? ''), stderr: '' }
          const said = await askedInside(world, container, script, args, signal)
          if (said !== undefined) return { exitCode: 0, stdout: `${said}\n`, stderr: '' }
        }
        if (nginx && world.programs.some((program) => program === argv[0]))
          return await runProgram(world, container, argv, signal)
        const written = /^echo (\w+) >\/proc\/1\/fd\/1$/.exec(argv[2] ?? '')?.[1]
        if (written === undefined) return shell(argv)
        container.output.push({ at: clock.now(), text: `${written}\n` })
        return { exitCode: 0, stdout: '', stderr: '' }
      },
      async readFile({ id }, path, signal) {
        await clock.sleep(1, signal)
        known(id)
        return nginxIn(id)?.read(path) ?? ''
      },
      async hangUp(id, signal) {
        await clock.sleep(2, signal)
        running(id)
        nginxIn(id)?.hangUp()
        await clock.sleep(10, signal)
      },
      async logs(id, lines, signal) {
        await clock.sleep(5, signal)
        return known(id).log.slice(-lines)
      },
      async connections({ id }, remotes, signal) {
        await clock.sleep(1, signal)
        return remotes.reduce((sum, { ip, port }) => sum + world.traffic.connections(id, ip, port), 0)
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
    return { exitCode: 126, stdout: `exec: "${program}": executable file not found in $PATH\n`, stderr: '' }
  const outputs = { stdout: '', stderr: '' }
  for (const [, text = '', to] of script.matchAll(/echo (\w+)( >&2)?/g))
    outputs[to === undefined ? 'stdout' : 'stderr'] += `${text}\n`
  return { exitCode: Number(/exit (\d+)/.exec(script)?.[1] ?? 0), ...outputs }
}
