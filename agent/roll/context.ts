// The state of one roll, which its steps share: what was seen before, what was written last, who is out.

import { Problem } from '../../shared/problems.ts'
import { changedTexts, composeTextsWith, type FileTexts } from '../compose/texts.ts'
import type { StackConfig } from '../config/config.ts'
import { editUpstream } from '../nginx/upstream.ts'
import type { Container, Encoding, Files, Image, Ports, Remote } from '../ports.ts'
import { remotesAt, type Gates } from './gates.ts'
import { addressesFrom, type Instance, type Observed } from './observe.ts'
import type { Preflight } from './preflight.ts'
import type { RollFacts } from './strategies/strategy.ts'
import { wantedOf, type AllWanted } from './wanted.ts'

/** An image that was fetched, and how the compose file names it. */
export type PinnedImage = Omit<Image, 'platform' | 'unproven'> & { readonly text: string }

export interface RollState {
  readonly deployId: string
  readonly stack: StackConfig
  readonly wanted: AllWanted
  /** What the roll is about, from which its steps are planned. */
  readonly facts: RollFacts
  readonly ports: Ports
  readonly observed: Observed
  readonly gates: Gates
  /** nginx's container as it was seen last: somebody may restart or recreate it. */
  proxy: Container
  /** The services in rolling order. */
  readonly order: readonly string[]
  /** The services whose part of the compose files is at the wanted version. */
  readonly updated: Set<string>
  /** The services whose servers are out of the upstream now. */
  readonly out: Set<string>
  /** The IDs of each instance's containers as they were seen or made last, to notice anybody else's. Undefined on the way back, which heals. */
  known: Map<string, readonly string[]> | undefined
  /** What the files hold by our own last write, to notice anybody else's; nginx's is one character a byte. */
  nginxText: string
  composeTexts: FileTexts
  /** The wanted images once they were pulled, by the text that asks for them. */
  readonly images: Map<string, PinnedImage>
  /** nginx's workers of a former configuration, told to quit, that may still take a request from an idle connection: their pids. */
  retiring: readonly number[]
  /** The nginx file as a crash left it half written: nothing to go back to. */
  tornText?: string
  /** Whether nginx is known to run by `nginxText`. */
  isLoaded: boolean
}

export function beginRoll(
  deployId: string,
  stack: StackConfig,
  { observed, gates, wanted, facts, plan }: Preflight,
  ports: Ports,
): RollState {
  return {
    deployId,
    stack,
    wanted,
    facts,
    ports,
    observed,
    gates,
    proxy: observed.proxy.container,
    order: plan.instances,
    updated: new Set(),
    out: new Set(),
    known: new Map(observed.instances.map(({ service, containers }) => [service, idsOf(containers)])),
    nginxText: observed.proxy.file.text,
    composeTexts: observed.composeTexts,
    images: new Map(),
    retiring: [],
    isLoaded: true,
  }
}

export function idsOf(containers: readonly Container[]): string[] {
  return containers.map(({ id }) => id).toSorted()
}

/**
 * The nginx file with these services out: always made from the user's own text, so nobody out is that text, byte for byte. While anybody
 * is out, so is who is `missing`: nginx would find those names nowhere.
 */
export function nginxTextWith(
  { observed }: Pick<RollState, 'observed'>,
  out: ReadonlySet<string>,
  missing: ReadonlySet<string>,
): string {
  const { file, upstream } = observed.proxy
  if (out.size === 0) return file.text
  const addressesOf = (services: ReadonlySet<string>) =>
    new Set(
      observed.instances
        .filter(({ service }) => services.has(service))
        .flatMap(({ servers }) => servers.map(({ address }) => address)),
    )
  const [gone, nowhere] = [addressesOf(out.union(missing)), addressesOf(missing)]
  return editUpstream(
    file.text,
    upstream.name,
    ({ address }) => gone.has(address),
    ({ address }) => nowhere.has(address),
  )
}

/** Whose container did not run before the roll, and which the roll has not brought to the new version: what they are is as good as before. */
export function missingIn({
  gates,
  updated,
}: Pick<RollState, 'gates'> & { readonly updated: ReadonlySet<string> }): Set<string> {
  const gone = Object.entries(gates.before).filter(([, { state }]) => state === 'gone')
  return new Set(gone.map(([service]) => service)).difference(updated)
}

/** The compose files with these services updated. */
export function composeTexts(
  { observed, wanted, images, order }: Pick<RollState, 'observed' | 'wanted' | 'images' | 'order'>,
  updated: ReadonlySet<string>,
): FileTexts {
  const inOrder = order.filter((service) => updated.has(service))
  return composeTextsWith(observed.composeTexts, inOrder, (service) => {
    const { image, env } = wantedOf(wanted, service)
    return { image: image === undefined ? undefined : (images.get(image)?.text ?? image), env }
  })
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
    else await writeFile(files, path, text, ['rename', 'utf-8'], onWritten)
  }
  roll.updated.clear()
  for (const service of updated) roll.updated.add(service)
}

/** Writes a file, and says when it holds the text: also where the write fails after that, as by a disk that cannot sync. */
export async function writeFile(
  files: Files,
  path: string,
  text: string,
  [how, encoding]: readonly ['in-place' | 'rename', Encoding],
  onWritten: () => void,
): Promise<void> {
  try {
    await files.write(path, text, how, encoding)
  } catch (error) {
    if ((await files.read(path, encoding).catch(() => undefined)) === text) onWritten()
    throw error
  }
  onWritten()
}

export function instanceOf(roll: Pick<RollState, 'observed'>, service: string): Instance {
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

/** The containers of all instances as they are now; looks at nginx's by the way. */
export async function lookAround(roll: RollState, signal: AbortSignal): Promise<Container[]> {
  const { model, instances, proxy } = roll.observed
  const services = [...instances.map(({ service }) => service), proxy.container.service]
  const all = await roll.ports.engine.containers(model.project, signal, services)
  const isProxy = ({ service }: Container) => service === proxy.container.service
  roll.proxy = all.find((one) => isProxy(one) && one.state === 'running') ?? roll.proxy
  return all.filter((one) => !isProxy(one))
}

/** Where nginx reaches the service now: every address of both families, with every port. */
export function remotesOf(roll: RollState, service: string, containers: readonly Container[]): Remote[] {
  const ips = containers.flatMap((container) => addressesFrom(roll.observed.proxy.container, container))
  return remotesAt(instanceOf(roll, service), ips)
}
