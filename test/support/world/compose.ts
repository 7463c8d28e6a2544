// docker compose as far as a roll can tell: it reads the files, hashes services, and recreates one whose hash or image differs.

import { parse } from 'yaml'
import { upInOrder } from '../../../agent/adapters/compose/up-in-order.ts'
import type { StackConfig } from '../../../agent/config/config.ts'
import type { Compose, ComposeModel, Healthcheck } from '../../../agent/ports.ts'
import { Problem } from '../../../shared/problems.ts'
import type { VirtualClock } from './clock.ts'
import { STOP_MS, type Containers, type FakeContainer } from './containers.ts'
import { fakeContainers, shell } from './engine.ts'
import type { FakeFiles } from './files.ts'
import { sha256, type FakeImages } from './images.ts'

interface Service {
  image: string
  env: Record<string, string | null>
  mounts: { source: string; target: string }[]
  definition: Record<string, unknown>
  hash: string
}

/** Worlds by the thousand read the same few files. */
const PARSED = new Map<string, { services: Record<string, Service>; rest: unknown }>()

export class FakeCompose implements Compose {
  readonly #files: FakeFiles
  readonly #containers: Containers
  readonly #images: FakeImages
  readonly #clock: VirtualClock
  /** The calls that are under way. */
  readonly #running = new Set<AbortController>()
  /** The one-off commands that were run, and on which image. */
  readonly commands: { readonly command: readonly string[]; readonly imageId: string }[] = []

  constructor(files: FakeFiles, containers: Containers, images: FakeImages, clock: VirtualClock) {
    this.#files = files
    this.#containers = containers
    this.#images = images
    this.#clock = clock
  }

  async model(
    stack: StackConfig,
    replaced: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ComposeModel> {
    await this.#clock.sleep(90, signal)
    const { services, rest } = this.read(stack, replaced)
    const entries = Object.entries(services)
    return {
      project: stack.project ?? 'hello',
      services: Object.fromEntries(
        entries.map(([name, { image, env, mounts, definition }]) => [
          name,
          { image, env, mounts, definition, blanks: [] },
        ]),
      ),
      rest,
    }
  }

  async hashes(
    stack: StackConfig,
    signal: AbortSignal,
  ): Promise<Readonly<Record<string, readonly string[]>>> {
    await this.#clock.sleep(90, signal)
    return Object.fromEntries(
      Object.entries(this.read(stack).services).map(([name, { hash }]) => [name, [hash]]),
    )
  }

  async up(
    stack: StackConfig,
    service: string,
    signal: AbortSignal,
    { recreate = false }: { recreate?: boolean } = {},
  ): Promise<void> {
    const ended = new AbortController()
    this.#running.add(ended)
    try {
      await this.#upInOrder(stack, service, AbortSignal.any([signal, ended.signal]), recreate)
    } finally {
      this.#running.delete(ended)
    }
  }

  async run(
    stack: StackConfig,
    service: string,
    { command, replaced }: { command: readonly string[]; replaced: Readonly<Record<string, string>> },
    signal: AbortSignal,
  ): Promise<{ exitCode: number; log: string[] }> {
    await this.#clock.sleep(200, signal)
    const wanted = this.read(stack, replaced).services[service]
    if (this.#containers.isAway) return { exitCode: 1, log: ['Cannot connect to the Docker daemon'] }
    const image = wanted && this.#images.find(wanted.image)
    if (!image) return { exitCode: 1, log: [`No such image: ${wanted?.image}`] }
    this.commands.push({ command, imageId: image.id })
    await this.#clock.sleep(300, signal)
    if (command[0] !== 'sh')
      return { exitCode: command[0] === 'false' ? 1 : 0, log: [`ran ${command.join(' ')}`] }
    const { exitCode, stdout, stderr } = shell(command)
    return { exitCode, log: (stdout + stderr).split('\n').filter((line) => line !== '') }
  }

  /** A person's own `up`, which no agent may end. They clear up what is in its way, as the agent does, unless they are at it in a hurry. */
  async upByHand(stack: StackConfig, service: string, recreate: boolean): Promise<void> {
    const never = new AbortController().signal
    if (recreate) await this.#up(stack, service, never, recreate)
    else await this.#upInOrder(stack, service, never, recreate)
  }

  /** Whatever still runs of an agent that is gone is ended. */
  async endOrphans(_stack: StackConfig, signal: AbortSignal): Promise<void> {
    await this.#clock.sleep(5, signal)
    for (const call of this.#running) call.abort(new Error('killed'))
    this.#running.clear()
  }

  // The real adapter's own way around what the real compose makes of an interrupted recreate.
  async #upInOrder(
    stack: StackConfig,
    service: string,
    signal: AbortSignal,
    recreate: boolean,
  ): Promise<void> {
    const ports = { engine: fakeContainers(this.#clock, this.#containers), clock: this.#clock }
    const names = { project: stack.project ?? 'hello', service, containerName: undefined }
    const up = () =>
      this.#up(stack, service, signal, recreate).then(
        () => undefined,
        (error: unknown) => {
          if (error instanceof Problem && !signal.aborted) return error
          throw error
        },
      )
    await upInOrder(names, ports, up, signal)
  }

  // In the order and with the gaps of the real one; when it is killed half way, what it had done stays, and what the engine was asked for
  // comes to its end. Then it behaves as the worse of 2.26 and 2.40: it fails at a makeshift name that is taken, and keeps one that it finds.
  async #up(stack: StackConfig, service: string, signal: AbortSignal, recreate: boolean): Promise<void> {
    const pause = async (ms: number) => {
      await this.#clock.sleep(ms, signal)
      if (this.#containers.isAway) throw failed(service, 'Cannot connect to the Docker daemon')
    }
    await pause(95)
    const wanted = this.read(stack).services[service]
    if (!wanted) throw failed(service, `no such service: ${service}`)
    const image = this.#images.find(wanted.image)
    if (!image) throw failed(service, `No such image: ${wanted.image}`)
    const old = this.#containers.ofService(service)
    const isThere = (one: FakeContainer) => one.hash === wanted.hash && one.imageId === image.id
    const keep = recreate ? undefined : old.find(isThere)
    const [replaced] = old
    const ownName = replaced?.name ?? `hello-${service}-1`
    const makeshift = replaced ? `${replaced.id.slice(0, 12)}_${ownName}` : ownName
    if (!keep && this.#containers.byId(makeshift)) throw failed(service, `Conflict: ${makeshift} is in use`)
    const container =
      keep ??
      this.#containers.create(service, {
        image,
        name: wanted.image,
        env: wanted.env,
        hash: wanted.hash,
        composeFiles: stack.compose,
        healthcheck: healthcheckOf(wanted.definition),
        mounts: wanted.mounts,
        containerName: makeshift,
      })
    if (!keep) await pause(30)
    for (const one of old.filter((other) => other !== keep)) {
      this.#containers.beginStop(one)
      await pause(STOP_MS + 60)
      this.#containers.remove(one)
      await pause(20)
    }
    if (!keep) container.name = ownName
    if (container.state === 'running') return
    await pause(150)
    this.#containers.start(container)
    await pause(150)
  }

  read(
    stack: Pick<StackConfig, 'compose'>,
    replaced: Readonly<Record<string, string>> = {},
  ): { services: Record<string, Service>; rest: unknown } {
    const texts = stack.compose.map((path) => replaced[path] ?? this.#files.text(path))
    const key = JSON.stringify([stack.compose, texts])
    const known = PARSED.get(key)
    if (known) return known
    const services: Record<string, Service> = {}
    const rest: Record<string, unknown> = {}
    for (const [index, text] of texts.entries()) {
      const file = parseYaml(text, stack.compose[index] ?? '')
      for (const [top, value] of Object.entries(file)) {
        if (top !== 'services') {
          if (!top.startsWith('x-')) rest[top] = value
        } else {
          const written = value as Record<string, Record<string, unknown>>
          for (const name of Object.keys(written))
            for (const definition of extended(name, written))
              services[name] = merge(services[name], definition, stack.compose[0] ?? '')
        }
      }
    }
    PARSED.set(key, { services, rest })
    return { services, rest }
  }
}

// A service after those of the same file that it extends.
function extended(
  name: string,
  written: Readonly<Record<string, Record<string, unknown>>>,
): Record<string, unknown>[] {
  const { extends: base, ...own } = written[name] ?? {}
  const from = typeof base === 'string' ? base : (base as { service?: string } | undefined)?.service
  return from === undefined ? [own] : [...extended(from, written), own]
}

function parseYaml(text: string, path: string): Record<string, unknown> {
  try {
    const file: unknown = parse(text, { merge: true })
    if (typeof file === 'object' && file !== null && 'services' in file)
      return file as Record<string, unknown>
  } catch (cause) {
    throw new Problem('compose-invalid', `docker compose refuses ${path}`, { cause })
  }
  throw new Problem('compose-invalid', `docker compose refuses ${path}`)
}

function merge(before: Service | undefined, definition: Record<string, unknown>, first: string): Service {
  const { image, environment, volumes, ...others } = definition
  const folder = first.slice(0, first.lastIndexOf('/'))
  const mounts = ((volumes ?? []) as string[]).map((volume) => {
    const [source = '', target = ''] = volume.split(':')
    return { source: source.replace(/^\./, folder), target }
  })
  const merged = {
    image: plain(String(image ?? before?.image ?? '')),
    env: { ...before?.env, ...readEnvironment(environment) },
    mounts: [...(before?.mounts ?? []), ...mounts],
    others: { ...(before?.definition['others'] as object), ...others },
  }
  return {
    ...merged,
    definition: { ...merged.others, ...asWritten(merged) },
    hash: sha256(JSON.stringify(merged)),
  }
}

/** As Docker has it of a compose file's words. */
export function healthcheckOf({ healthcheck }: Readonly<Record<string, unknown>>): Healthcheck | undefined {
  if (typeof healthcheck !== 'object' || healthcheck === null) return undefined
  const { test, retries = 3, ...times } = healthcheck as Record<string, unknown>
  return {
    test: Array.isArray(test) ? test.map(String) : ['CMD-SHELL', String(test)],
    intervalMs: timeMs(times['interval'] ?? '30s'),
    timeoutMs: timeMs(times['timeout'] ?? '30s'),
    retries: Number(retries),
    startPeriodMs: timeMs(times['start_period'] ?? '0s'),
    startIntervalMs: timeMs(times['start_interval'] ?? '0s'),
  }
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

function timeMs(text: unknown): number {
  const parts = [...String(text).matchAll(/(\d+)(ms|[smh])/g)]
  return parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNITS_MS[unit] ?? 0), 0)
}

function asWritten({
  image,
  env,
  mounts,
}: Pick<Service, 'image' | 'env' | 'mounts'>): Record<string, unknown> {
  return { image, environment: env, volumes: mounts }
}

function readEnvironment(environment: unknown): Record<string, string | null> {
  const entries = Array.isArray(environment)
    ? (environment as string[]).map((entry): [string, unknown] => {
        const at = entry.indexOf('=')
        return at < 0 ? [entry, null] : [entry.slice(0, at), entry.slice(at + 1)]
      })
    : Object.entries((environment ?? {}) as Record<string, unknown>)
  return Object.fromEntries(
    entries.map(([key, value]) => [key, value === null ? null : plain(String(value))]),
  )
}

// A doubled `$` is one; the stacks of these tests have no variables.
function plain(text: string): string {
  return text.replaceAll('$$', '$')
}

function failed(service: string, why: string): Problem {
  return new Problem('compose-failed', `docker compose could not recreate service ${service}`, { log: [why] })
}
