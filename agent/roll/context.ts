// The state of one roll, which its steps share: what was seen before, what was written last, who is out.

import { Problem } from '../../shared/problems.ts'
import type { DeployRequest } from '../../shared/request.ts'
import { changedTexts, composeTextsWith, type FileTexts } from '../compose/texts.ts'
import type { StackConfig } from '../config/config.ts'
import { editUpstream } from '../nginx/upstream.ts'
import type { Container, Files, Image, Ports } from '../ports.ts'
import { addressesFrom, type Instance, type Observed } from './observe.ts'
import type { Preflight } from './preflight.ts'

/** nginx workers of a former configuration, told to quit at `since`, that may still take a request from an idle connection. */
export interface Retiring {
  readonly pids: readonly number[]
  readonly since: number
}

export interface RollState {
  readonly stack: StackConfig
  readonly request: DeployRequest
  readonly ports: Ports
  readonly observed: Observed
  /** The services in rolling order. */
  readonly order: readonly string[]
  /** The services whose part of the compose files is at the wanted version. */
  readonly updated: Set<string>
  /** The services whose servers are out of the upstream now. */
  readonly out: Set<string>
  /** What the files hold by our own last write, to notice anybody else's. */
  nginxText: string
  composeTexts: FileTexts
  /** The wanted image once it was pulled, and how the compose file names it. */
  image: (Image & { readonly text: string }) | undefined
  retiring: Retiring | undefined
  /** Whether nginx is known to run by `nginxText`. */
  isLoaded: boolean
}

export function beginRoll(
  stack: StackConfig,
  { observed, request, plan }: Preflight,
  ports: Ports,
): RollState {
  return {
    stack,
    request,
    ports,
    observed,
    order: plan.instances,
    updated: new Set(),
    out: new Set(),
    nginxText: observed.proxy.file.text,
    composeTexts: observed.composeTexts,
    image: undefined,
    retiring: undefined,
    isLoaded: true,
  }
}

/** The nginx file with these services out: always made from the user's own text, so nobody out is that text, byte for byte. */
export function nginxTextWith(roll: RollState, out: ReadonlySet<string>): string {
  const { file, upstream } = roll.observed.proxy
  const hosts = new Set(
    roll.observed.instances
      .filter(({ service }) => out.has(service))
      .flatMap(({ servers }) => servers.map(({ address }) => address)),
  )
  return editUpstream(file.text, upstream.name, ({ address }) => hosts.has(address))
}

/** The compose files with these services updated. */
export function composeTexts(
  { observed, request, image, order }: RollState,
  updated: ReadonlySet<string>,
): FileTexts {
  const inOrder = order.filter((service) => updated.has(service))
  return composeTextsWith(observed.composeTexts, inOrder, request, image?.text ?? request.image)
}

/** Writes the compose files. Throws `compose-changed` rather than overwrite what somebody else wrote meanwhile. */
export async function writeCompose(roll: RollState, updated: ReadonlySet<string>): Promise<void> {
  const { files } = roll.ports
  const after = composeTexts(roll, updated)
  for (const [path, text] of Object.entries(changedTexts(roll.composeTexts, after))) {
    const current = await files.read(path)
    const onWritten = () => (roll.composeTexts = { ...roll.composeTexts, [path]: text })
    if (current !== text && current !== roll.composeTexts[path])
      throw new Problem('compose-changed', `somebody else changed ${path} during the roll`, {
        cure: 'see what they wrote, then deploy again',
      })
    if (current === text) onWritten()
    else await writeFile(files, path, text, 'rename', onWritten)
  }
  roll.updated.clear()
  for (const service of updated) roll.updated.add(service)
}

/** Writes a file, and says when it holds the text: also where the write fails after that, as by a disk that cannot sync. */
export async function writeFile(
  files: Files,
  path: string,
  text: string,
  how: 'in-place' | 'rename',
  onWritten: () => void,
): Promise<void> {
  try {
    await files.write(path, text, how)
  } catch (error) {
    if ((await files.read(path).catch(() => undefined)) === text) onWritten()
    throw error
  }
  onWritten()
}

export function instanceOf(roll: RollState, service: string): Instance {
  const instance = roll.observed.instances.find((one) => one.service === service)
  if (!instance) throw new Error(`${service} is not an instance of this roll`)
  return instance
}

/** The service's containers as they are now. */
export async function containersOf(
  roll: RollState,
  service: string,
  signal: AbortSignal,
): Promise<Container[]> {
  return await roll.ports.engine.containers(roll.observed.model.project, signal, [service])
}

/** Where nginx reaches the service now: every `ip:port`. */
export function remotesOf(
  roll: RollState,
  service: string,
  containers: readonly Container[],
): { ip: string; port: number }[] {
  const ports = new Set(instanceOf(roll, service).servers.map(({ port }) => port))
  const ips = containers.flatMap((container) => addressesFrom(roll.observed.proxy.container, container))
  return ips.flatMap((ip) => [...ports].map((port) => ({ ip, port })))
}

/** The Host header of a probe: a name that the user's nginx serves, as apps often refuse names that they do not know. */
export function probeHost(roll: RollState): string {
  const names = roll.observed.proxy.settings.listens.flatMap((listen) => listen.names)
  return names.find((name) => /^[a-z0-9.-]+$/i.test(name) && name !== '_') ?? 'localhost'
}
