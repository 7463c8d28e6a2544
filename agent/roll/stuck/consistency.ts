// Whether a stack is whole, by what is there now: what runs is what its files say, on one version, with every server in.

import type { Version } from '../../../shared/plan.ts'
import { reportOf } from '../../../shared/problems.ts'
import type { StackConfig } from '../../config/config.ts'
import type { Ports } from '../ports.ts'
import { askerFrom, faultAt, remotesAt, type Gates } from '../gates/gates.ts'
import { rehearse, type Scene } from '../gates/rehearse.ts'
import { addressesFrom, observe, type Member, type Observed } from '../observe.ts'
import type { Runtime } from '../runtime.ts'
import { readRecord, type Progress } from '../record.ts'

/** No service is to change: the runtime is opened only to look. */
const NOTHING_WISHED = { order: [], versionOf: () => ({ env: {} }) }

/**
 * What is still wrong, a sentence each; nothing where the stack is whole. With the record of a roll, a server that was in before the roll and is
 * `down` now is wrong too. Without one, the user may have wanted that. A service that was sick before that roll may be sick.
 */
export async function findFaults(
  stack: StackConfig,
  ports: Ports,
  signal: AbortSignal,
  record?: string,
): Promise<string[]> {
  let now: Observed
  try {
    now = await observe(stack, ports, signal)
  } catch (error) {
    return [reportOf(error).message]
  }
  const scene: Scene = { stack, observed: now, proxy: ports.proxies.open(now.proxy), ports }
  const runtime = ports.runtimes.open(stack, now.runtime, NOTHING_WISHED)
  const progress = progressIn(record)
  const live = progress?.observed.members.filter(({ isLive }) => isLive).map(({ service }) => service)
  let gates: Gates
  try {
    gates = progress?.gates ?? (await rehearse(scene, signal))
  } catch (error) {
    return [reportOf(error).message]
  }
  const isKnown = progress !== undefined
  const found = await Promise.all(
    now.members.map((member) => faultsOf(scene, runtime, member, { gates, isKnown }, signal)),
  )
  return [
    ...now.members
      .filter(({ service, isLive }) => !isLive && live?.includes(service))
      .map(({ service }) => `${service} is down in ${now.proxy.file}`),
    ...(progress ? mixed(progress, now) : []),
    ...found.flat(),
  ]
}

function progressIn(record: string | undefined): Progress | undefined {
  try {
    return record === undefined ? undefined : readRecord(record).progress
  } catch {
    // The record is unreadable. The stack can be looked at without it.
    return undefined
  }
}

// Each instance may run what its file says while the stack runs two versions: the roll has updated one instance, and not another.
function mixed({ steps, images, observed }: Progress, now: Observed): string[] {
  const updates = steps.filter((step) => step.kind === 'update')
  const sides = updates.map(({ service, from, to }) => {
    const running = now.members.find((one) => one.service === service)?.containers ?? []
    const before = observed.members.find((one) => one.service === service)?.containers ?? []
    const wanted = to.image === undefined ? undefined : images[to.image]?.id
    const isAt = (env: Version['env'], ids: readonly (string | undefined)[]) =>
      running.every(
        (one) =>
          (to.image === undefined || ids.includes(one.imageId)) &&
          Object.entries(env).every(([key, value]) => value === null || one.env[key] === value),
      )
    return {
      service,
      isOld: isAt(
        from.env,
        before.map(({ imageId }) => imageId),
      ),
      isNew: isAt(to.env, [wanted]),
    }
  })
  const [older] = sides.filter(({ isOld, isNew }) => isOld && !isNew)
  const [newer] = sides.filter(({ isOld, isNew }) => isNew && !isOld)
  return older && newer ? [`${newer.service} runs the new version, and ${older.service} the old one`] : []
}

async function faultsOf(
  { observed, proxy, ports }: Scene,
  runtime: Runtime,
  member: Member,
  { gates, isKnown }: { gates: Gates; isKnown: boolean },
  signal: AbortSignal,
): Promise<string[]> {
  const { service, containers, isLive } = member
  const before = gates.before[service]
  const running = containers.filter(({ state }) => state === 'running')
  if (running.length === 0)
    return isKnown && before?.state === 'gone' ? [] : [`${service} has no running container`]
  const text = observed.runtime.services[service]?.image
  const image = text === undefined ? undefined : await ports.engine.image(text, signal)
  const faults = running.flatMap((container) => [
    ...(runtime.areAsDefined(service, [container])
      ? []
      : [`${container.name} does not run as ${runtime.named} says`]),
    ...(image && container.imageId !== image.id ? [`${container.name} runs another image than ${text}`] : []),
    ...(/^[0-9a-f]{12}_/.test(container.name)
      ? [`${container.name} has the makeshift name of an unfinished recreation`]
      : []),
  ])
  if (!isLive) return faults
  if (!isKnown) return before?.state === 'sick' ? [...faults, `${service}: ${before.said}`] : faults
  if (before?.state === 'sick') return faults
  const ips = running.flatMap((container) => addressesFrom(proxy.seen, container))
  const asker = askerFrom(gates.from, ports, proxy)
  const fault = await faultAt(gates, asker, remotesAt(member, ips), signal)
  return fault === undefined ? faults : [...faults, `${service}: ${fault}`]
}
