// Preflight: everything that can be known before anything is touched. Its result is the plan, or the Problem that forbids it.

import { isImageId } from '../../shared/image.ts'
import type { Plan } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import { isRollback, type AnyRequest, type DeployRequest } from '../../shared/request.ts'
import type { CommandConfig, StackConfig } from '../config/config.ts'
import type { Container } from '../ports.ts'
import type { Ports } from './ports.ts'
import { KEPT_REPOSITORY } from './releases/kept-images.ts'
import type { Gates } from './gates/gates.ts'
import { rehearse } from './gates/rehearse.ts'
import { observe, type Member, type Observed } from './observe.ts'
import { checkSomebodyServes, rollingOrder } from './order.ts'
import { checkPolicy, withRepository } from './policy.ts'
import { strategyFor, strategyOf } from './strategies/index.ts'
import { UNTOUCHED, type RollFacts, type Target } from './strategies/strategy.ts'
import { isNewest, type Release } from './releases/release.ts'
import {
  checkOrder,
  checkUpgrade,
  imagesOf,
  isEnvThere,
  isRunning,
  releaseToGoBackTo,
  wantedByDeploy,
  wantedByRelease,
  wantedVersion,
  wishOf,
  type WantedVersions,
  type PinnedImages,
} from './wanted.ts'
import type { Proxy, Warning } from './proxy.ts'
import type { Defined, Runtime, Texts } from './runtime.ts'
import { warnOfMovedTags } from './warnings.ts'

/** Container states from which a roll can begin: the container runs, or compose has made it and it does not run. */
const RUN_OR_ENDED: readonly Container['state'][] = ['running', 'restarting', 'exited', 'dead', 'created']

export interface Preflight {
  readonly observed: Observed
  readonly proxy: Proxy
  readonly runtime: Runtime
  readonly gates: Gates
  readonly wanted: WantedVersions
  /** Filled by the pulls of the roll. */
  readonly images: PinnedImages
  /** The release that a rollback goes back to. */
  readonly rollbackTarget: Release | undefined
  readonly facts: RollFacts
  readonly plan: Plan
  /** The stack's files after the roll, with the image as the request names it; the pull adds its digest. */
  readonly texts: Texts
  readonly warnings: readonly Warning[]
}

export interface PreflightOptions {
  readonly releases: readonly Release[]
  /** The command before the roll has run already. */
  readonly isBeforeDone?: boolean
}

export async function preflight(
  stack: StackConfig,
  request: AnyRequest,
  ports: Ports,
  { releases, isBeforeDone = false }: PreflightOptions,
  signal: AbortSignal,
): Promise<Preflight> {
  const observed = await observe(stack, ports, signal)
  checkThere(observed)
  const strategyName = strategyFor(observed.proxy)
  const strategy = strategyOf({ strategy: strategyName })
  strategy.check(observed.proxy)

  checkOrder(request, releases)
  const rollbackTarget = isRollback(request)
    ? releaseToGoBackTo(releases, request.release, isNewest(releases, observed))
    : undefined
  const wanted = rollbackTarget
    ? wantedByRelease(
        rollbackTarget,
        observed.members.map(({ service }) => service),
      )
    : await wantedByRequest(stack, request, observed, ports, signal)
  const proxy = ports.proxies.open(observed.proxy)
  const gates = await rehearse({ stack, observed, proxy, ports }, signal)
  const order = orderOf(request, observed, proxy, gates)
  const images: PinnedImages = new Map()
  const runtime = ports.runtimes.open(stack, observed.runtime, wishOf(order, wanted, images))
  await runtime.checkEdits(signal)
  runtime.checkComplete(observed.containers)

  const facts = factsOf(stack, request, observed, { strategy: strategyName, wanted, order, isBeforeDone })
  const steps = isChange(facts, observed, wanted) ? strategy.plan(facts, UNTOUCHED, 'wanted') : []
  if (steps.length > 0) {
    await runtime.checkWritable()
    await proxy.checkWritable()
  }
  const containers = new Map(observed.members.map((member) => [member.service, member.containers]))
  return {
    observed,
    proxy,
    runtime,
    gates,
    wanted,
    images,
    rollbackTarget,
    facts,
    plan: { stack: stack.name, upstream: observed.proxy.backend, instances: order, steps },
    texts: runtime.textsAfter(order.length),
    warnings: [
      ...gates.notes,
      ...proxy.warnings(stack.soakMs),
      ...runtime.warnings(containers, facts.images.length === 0 ? [] : order),
      ...(await warnOfMovedTags(observed, ports, signal)),
    ],
  }
}

function checkThere({ members }: Observed): void {
  for (const { service, containers } of members)
    if (!containers.some(({ state }) => RUN_OR_ENDED.includes(state)))
      throw new Problem('container-missing', `service ${service} has no running container`, {
        cure: `start it with \`docker compose up -d ${service}\` first`,
      })
}

/** The services to roll, in rolling order. Throws `container-missing` where nginx could not be reloaded, and `upstream-too-small` where nobody would serve. */
function orderOf(request: AnyRequest, observed: Observed, proxy: Proxy, gates: Gates): string[] {
  const isNamed = ({ service }: Member) =>
    isRollback(request) || request.services === undefined || request.services.includes(service)
  const named = observed.members.filter(isNamed).map(({ service }) => service)
  const order = rollingOrder(named, gates.before)
  checkServing(observed, proxy, gates, order)
  return order
}

function factsOf(
  stack: StackConfig,
  request: AnyRequest,
  observed: Observed,
  {
    strategy,
    wanted,
    order,
    isBeforeDone,
  }: { strategy: string; wanted: WantedVersions; order: readonly string[]; isBeforeDone: boolean },
): RollFacts {
  const { members, runtime } = observed
  // A rollback runs no command: what a newer version's command has done, an older version's does not take back.
  const commands = isRollback(request)
    ? {}
    : {
        before: isBeforeDone ? undefined : commandOf(stack, stack.before, runtime, order),
        after: commandOf(stack, stack.after, runtime, order),
      }
  return {
    strategy,
    members: members.filter(({ isLive }) => isLive).map(({ name }) => name),
    targets: order.flatMap((service) => targetOf(service, observed, wanted)),
    images: imagesOf(wanted),
    soakMs: stack.soakMs,
    force: !isRollback(request) && request.force === true,
    ...commands,
  }
}

// A request that names an image counts as a change: its tag may have moved, and only the pull shows whether it has.
function isChange(
  { force, images }: RollFacts,
  { members, runtime }: Observed,
  wanted: WantedVersions,
): boolean {
  const isThere = (member: Member) =>
    isRunning(member) && isEnvThere(member, runtime, wantedVersion(wanted, member.service))
  return force || images.length > 0 || !members.every(isThere)
}

// A crashed service must be part of the roll, which recreates it first: nginx cannot be reloaded while its name resolves to nothing.
function checkServing(
  { members }: Observed,
  proxy: Proxy,
  { before }: Gates,
  order: readonly string[],
): void {
  const gone = members.filter(({ service }) => before[service]?.state === 'gone')
  const left = gone.find(({ service }) => !order.includes(service))
  if (left)
    throw new Problem(
      'container-missing',
      `service ${left.service} is ${before[left.service]?.said}, and nginx cannot be reloaded without it`,
      { cure: `roll it too, or start it with \`docker compose up -d ${left.service}\` first` },
    )
  for (const { service } of gone) proxy.checkLoadableWithout(service, before[service]?.said ?? '')
  checkSomebodyServes(order, members, before, proxy.seen.servers.others)
}

// Only a deploy is checked against the policy. What a rollback brings back was allowed when it was deployed.
async function wantedByRequest(
  stack: StackConfig,
  request: DeployRequest,
  observed: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<WantedVersions> {
  const running = await runningImages(observed, ports, signal)
  const full = withRepository(stack, request, running)
  checkPolicy(stack, full, running)
  checkUpgrade(full, running)
  const services = observed.members.map(({ service }) => service)
  return wantedByDeploy(full, services, running)
}

function commandOf(
  stack: StackConfig,
  config: CommandConfig | undefined,
  { services }: Defined,
  order: readonly string[],
): { service: string; command: string[] } | undefined {
  if (!config) return undefined
  const service = config.service ?? order[0] ?? ''
  if (service in services) return { service, command: [...config.command] }
  throw new Problem(
    'service-unknown',
    `service ${service} of a command is not in ${stack.compose.join(', ')}`,
    { cure: `correct stacks.${stack.name}.before or .after` },
  )
}

// The compose file has an image that exists on this host only by its ID. Its names are those that the engine knows.
async function runningImages(
  { members, runtime }: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<string[]> {
  const images = members.flatMap(({ service }) => runtime.services[service]?.image ?? [])
  const names = [...new Set(images)].map(async (image) =>
    isImageId(image) ? ((await ports.engine.image(image, signal))?.tags ?? []).filter(isUserTag) : [image],
  )
  return (await Promise.all(names)).flat()
}

const isUserTag = (tag: string) => !tag.startsWith(KEPT_REPOSITORY)

function targetOf(service: string, { members, runtime }: Observed, wanted: WantedVersions): Target[] {
  const own = members.filter((member) => member.service === service)
  const today = runtime.services[service]
  const { image, env } = wantedVersion(wanted, service)
  const from = image === undefined || today?.image === undefined ? {} : { image: today.image }
  const target: Target = {
    service,
    members: own.map(({ name }) => name),
    isLive: own.some(({ isLive }) => isLive),
    from: {
      ...from,
      env: Object.fromEntries(Object.keys(env).map((key) => [key, today?.env[key] ?? null])),
    },
    to: { ...(image === undefined ? {} : { image }), env: { ...env } },
  }
  return own.length === 0 ? [] : [target]
}
