// Preflight: everything that can be known before anything is touched. Its result is the plan, or the Problem that forbids it.

import { isImageId } from '../../shared/image.ts'
import type { Plan } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import { isRollback, type AnyRequest, type DeployRequest } from '../../shared/request.ts'
import { composeTextsWith, type FileTexts } from '../compose/texts.ts'
import type { CommandConfig, StackConfig } from '../config/config.ts'
import { usesPast } from '../nginx/settings.ts'
import type { ComposeModel, Container, Ports } from '../ports.ts'
import { checkTexts } from './check-edit.ts'
import { KEPT_REPOSITORY } from './kept-images.ts'
import { rehearse, type Gates } from './gates.ts'
import { observe, type Instance, type Observed } from './observe.ts'
import { checkSomebodyServes, rollingOrder } from './order.ts'
import { checkPolicy, inFull } from './policy.ts'
import { strategyOf } from './strategies/index.ts'
import { UNTOUCHED, type RollFacts, type Target } from './strategies/strategy.ts'
import { isNewest, type Release } from './release.ts'
import {
  checkOrder,
  checkUpgrade,
  imagesOf,
  isEnvThere,
  isRunning,
  releaseToGoBackTo,
  wantedByDeploy,
  wantedByRelease,
  wantedOf,
  type AllWanted,
} from './wanted.ts'
import { checkBlanks } from './unset.ts'
import { warningsOf, warnOfVariables, type Warning } from './warnings.ts'
import { checkWritable } from './writable.ts'

/** States of a container that runs, or ran and has ended: as compose made it, to be made anew. */
const RUN_OR_ENDED: readonly Container['state'][] = ['running', 'restarting', 'exited', 'dead', 'created']

/** What nginx need not resolve. */
const ADDRESS = /^[\d.]+$|:/

export interface Preflight {
  readonly observed: Observed
  readonly gates: Gates
  readonly wanted: AllWanted
  /** The release that a rollback goes back to. */
  readonly goesBackTo: Release | undefined
  readonly facts: RollFacts
  readonly plan: Plan
  /** The compose files after the roll, with the image as the request names it; the pull adds its digest. */
  readonly composeTexts: FileTexts
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
  const { instances, model, proxy } = observed
  const live = proxy.upstream.servers.filter(({ isDown }) => !isDown)
  if (instances.length === 0)
    throw new Problem(
      'upstream-unknown',
      `upstream ${proxy.upstream.name} has no service of the compose file`,
    )
  for (const { service, containers } of instances)
    if (!containers.some(({ state }) => RUN_OR_ENDED.includes(state)))
      throw new Problem('container-missing', `service ${service} has no running container`, {
        cure: `start it with \`docker compose up -d ${service}\` first`,
      })
  if (live.length < 2)
    throw new Problem(
      'upstream-too-small',
      `upstream ${proxy.upstream.name} has ${live.length} live server`,
      {
        cure: 'add a second instance to the compose file and to the upstream',
      },
    )

  const only = instances.find(({ servers }) => live.every((server) => servers.includes(server)))
  if (only)
    throw new Problem(
      'upstream-too-small',
      `every live server of upstream ${proxy.upstream.name} is service ${only.service}`,
      { cure: 'add another instance to the compose file and to the upstream' },
    )

  const services = instances.map(({ service }) => service)
  checkOrder(request, releases)
  const goesBackTo = isRollback(request)
    ? releaseToGoBackTo(releases, request.release, isNewest(releases, observed))
    : undefined
  const wanted = goesBackTo
    ? wantedByRelease(goesBackTo, services)
    : await wantedByRequest(stack, request, observed, ports, signal)
  const isNamed = ({ service }: Instance) =>
    isRollback(request) || request.services === undefined || request.services.includes(service)
  const gates = await rehearse(stack, observed, ports, signal)
  const order = rollingOrder(
    instances.filter(isNamed).map(({ service }) => service),
    gates.before,
  )
  checkServing(observed, gates, order)
  const targets = order.flatMap((service) => {
    const instance = instances.find((one) => one.service === service)
    return instance ? targetOf(instance, model, wanted) : []
  })
  const after = (count: number) =>
    composeTextsWith(observed.composeTexts, order.slice(0, count), (service) => wantedOf(wanted, service))
  await checkTexts(stack, observed, after, targets, ports, signal)
  checkBlanks(stack, observed, order)

  // An image's tag may have moved, so a request that names one is only known to change nothing once it was pulled.
  const images = imagesOf(wanted)
  const force = !isRollback(request) && request.force === true
  const isThere = (instance: Instance) =>
    isRunning(instance) && isEnvThere(instance, model, wantedOf(wanted, instance.service))
  const isChange = force || images.length > 0 || !instances.every(isThere)
  // What a command has done forward, the command of an older version does not take back: a rollback runs none.
  const commands = isRollback(request)
    ? {}
    : {
        before: isBeforeDone ? undefined : commandOf(stack, stack.before, model, order),
        after: commandOf(stack, stack.after, model, order),
      }
  const facts: RollFacts = {
    strategy: 'in-place',
    targets,
    images: [...images],
    soakMs: stack.soakMs,
    force,
    ...commands,
  }
  const steps = isChange ? strategyOf(facts).plan(facts, UNTOUCHED, 'wanted') : []
  if (isChange) await checkWritable(observed, order, wanted, ports.files)
  return {
    observed,
    gates,
    wanted,
    goesBackTo,
    facts,
    plan: { stack: stack.name, upstream: proxy.upstream.name, instances: order, steps },
    composeTexts: after(order.length),
    warnings: [
      ...gates.notes,
      ...(await warningsOf(stack, observed, ports, signal)),
      ...warnOfVariables(observed, images.length === 0 ? [] : order),
    ],
  }
}

// What has crashed is mended by the roll, which brings it first: nginx cannot be reloaded while the name of one resolves to nothing.
function checkServing({ instances, proxy }: Observed, { before }: Gates, order: readonly string[]): void {
  const left = instances.find(({ service }) => before[service]?.state === 'gone' && !order.includes(service))
  if (left)
    throw new Problem(
      'container-missing',
      `service ${left.service} is ${before[left.service]?.said}, and nginx cannot be reloaded without it`,
      { cure: `roll it too, or start it with \`docker compose up -d ${left.service}\` first` },
    )
  for (const { service, servers } of instances.filter((one) => before[one.service]?.state === 'gone')) {
    const hosts = [...new Set(servers.map(({ host }) => host).filter((host) => !ADDRESS.test(host)))]
    const uses = hosts.flatMap((host) => usesPast(proxy.settings, host, proxy.upstream.name))
    const use = uses.find(({ isAtLoad }) => isAtLoad)
    if (use !== undefined)
      throw new Problem(
        'container-missing',
        `service ${service} is ${before[service]?.said}, and nginx cannot be reloaded while ${use.where} names it beside upstream ${proxy.upstream.name}`,
        { cure: 'start it first, or take that line out until the deploy is over' },
      )
  }
  const known = new Set(instances.flatMap(({ servers }) => servers))
  const others = proxy.upstream.servers.filter((server) => !server.isDown && !known.has(server))
  checkSomebodyServes(order, instances, before, others.length)
}

// The host's own record of what it ran needs no policy: it was allowed when it was deployed.
async function wantedByRequest(
  stack: StackConfig,
  request: DeployRequest,
  observed: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<AllWanted> {
  const running = await runningImages(observed, ports, signal)
  const full = inFull(stack, request, running)
  checkPolicy(stack, full, running)
  checkUpgrade(full, running)
  const services = observed.instances.map(({ service }) => service)
  return wantedByDeploy(full, services, running)
}

function commandOf(
  stack: StackConfig,
  config: CommandConfig | undefined,
  { services }: ComposeModel,
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

// An image that exists on this host only stands in the compose file by its ID; its names are what the engine calls it.
async function runningImages(
  { instances, model }: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<string[]> {
  const images = instances.flatMap(({ service }) => model.services[service]?.image ?? [])
  const names = [...new Set(images)].map(async (image) =>
    isImageId(image) ? ((await ports.engine.image(image, signal))?.tags ?? []).filter(isTheUsers) : [image],
  )
  return (await Promise.all(names)).flat()
}

const isTheUsers = (tag: string) => !tag.startsWith(KEPT_REPOSITORY)

function targetOf({ service, isLive }: Instance, model: ComposeModel, wanted: AllWanted): Target {
  const today = model.services[service]
  const { image, env } = wantedOf(wanted, service)
  const from = image === undefined || today?.image === undefined ? {} : { image: today.image }
  return {
    service,
    isLive,
    from: {
      ...from,
      env: Object.fromEntries(Object.keys(env).map((key) => [key, today?.env[key] ?? null])),
    },
    to: { ...(image === undefined ? {} : { image }), env: { ...env } },
  }
}
