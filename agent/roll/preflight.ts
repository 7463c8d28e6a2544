// Preflight: everything that can be known before anything is touched. Its result is the plan, or the Problem that forbids it.

import { isDeepStrictEqual } from 'node:util'
import { imageRef, isImageId } from '../../shared/image.ts'
import { planSteps, type Plan, type Target } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import { envFor, type DeployRequest } from '../../shared/request.ts'
import { changedTexts, composeTextsWith, type FileTexts } from '../compose/texts.ts'
import type { StackConfig } from '../config/config.ts'
import type { ComposeModel, Ports } from '../ports.ts'
import { observe, type Instance, type Observed } from './observe.ts'
import { checkPolicy } from './policy.ts'

export interface Warning {
  readonly code: string
  readonly message: string
  readonly cure?: string
}

export interface Preflight {
  readonly observed: Observed
  /** The request with what it left open filled in: a request that names nothing asks for today's tag again. */
  readonly request: DeployRequest
  readonly plan: Plan
  /** The compose files after the roll, with the image as the request names it; the pull adds its digest. */
  readonly composeTexts: FileTexts
  readonly warnings: readonly Warning[]
}

export async function preflight(
  stack: StackConfig,
  asked: DeployRequest,
  ports: Ports,
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
    if (!containers.some(({ state }) => state === 'running'))
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

  const running = await runningImages(observed, ports, signal)
  checkPolicy(stack, asked, running)
  const request = fillIn(asked, running)
  const targets = instances.map((instance) => targetOf(instance, model, request))
  const order = targets.map(({ service }) => service).toReversed()
  const after = (count: number) =>
    composeTextsWith(observed.composeTexts, order.slice(0, count), request, request.image)
  await checkTexts(stack, observed, after, targets.toReversed(), ports, signal)

  // An image's tag may have moved, so a request that names one is only known to change nothing once it was pulled.
  const isChange =
    request.image !== undefined || instances.some((instance) => !isEnvThere(instance, model, request))
  const steps = isChange ? planSteps(targets, { image: request.image, soakMs: stack.soakMs }) : []
  return {
    observed,
    request,
    plan: { stack: stack.name, upstream: proxy.upstream.name, instances: order, steps },
    composeTexts: after(order.length),
    warnings: [...warn(stack, observed), ...(await warnOfMovedTags(observed, ports, signal))],
  }
}

// An image that exists on this host only stands in the compose file by its ID; its names are what the engine calls it.
async function runningImages(
  { instances, model }: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<string[]> {
  const images = instances.flatMap(({ service }) => model.services[service]?.image ?? [])
  const names = [...new Set(images)].map(async (image) =>
    isImageId(image) ? ((await ports.engine.image(image, signal))?.tags ?? []) : [image],
  )
  return (await Promise.all(names)).flat()
}

function fillIn(request: DeployRequest, running: readonly string[]): DeployRequest {
  if (request.image !== undefined || Object.keys(request.env ?? {}).length > 0) return request
  const [today, ...others] = [...new Set(running)]
  if (today === undefined || others.length > 0)
    throw new Problem(
      'request-invalid',
      'the request names neither image nor env, and the instances run several images',
      {
        cure: 'name the image to deploy',
      },
    )
  const { written, tag } = imageRef(today)
  return { ...request, image: tag === undefined ? written : `${written}:${tag}` }
}

function targetOf({ service, isLive }: Instance, model: ComposeModel, request: DeployRequest): Target {
  const today = model.services[service]
  const env = envFor(request, service)
  const image = today?.image === undefined ? {} : { image: today.image }
  return {
    service,
    isLive,
    from: {
      ...(request.image === undefined ? {} : image),
      env: Object.fromEntries(Object.keys(env).map((key) => [key, today?.env[key] ?? null])),
    },
    to: { ...(request.image === undefined ? {} : { image: request.image }), env },
  }
}

/** Whether a service has the env that the request wants: in the compose files, and in what runs. */
export function isEnvThere(
  { service, containers }: Instance,
  model: ComposeModel,
  request: DeployRequest,
): boolean {
  const places = [model.services[service]?.env ?? {}, ...containers.map(({ env }) => env)]
  const wanted = Object.entries(envFor(request, service))
  return places.every((env) => wanted.every(([key, value]) => env[key] === value))
}

// compose itself says what each candidate means. With anchors or `extends` in the file an edit of one service can reach into another that is
// rolled later, so then the texts after every instance are asked about, else only the last.
async function checkTexts(
  stack: StackConfig,
  { model, composeTexts }: Observed,
  after: (count: number) => FileTexts,
  rolled: readonly Target[],
  ports: Ports,
  signal: AbortSignal,
): Promise<void> {
  const isShared = Object.values(composeTexts).some((text) => /&|extends/.test(text))
  for (let count = isShared ? 1 : rolled.length; count <= rolled.length; count += 1) {
    const edited = await ports.compose.model(stack, changedTexts(composeTexts, after(count)), signal)
    checkModel(stack, model, edited, rolled.slice(0, count))
  }
}

/** Throws unless `after` differs from `before` in the wanted image and env of the rolled services, and in nothing else. */
export function checkModel(
  stack: StackConfig,
  before: ComposeModel,
  after: ComposeModel,
  rolled: readonly Target[],
): void {
  const spills = Object.keys({ ...before.services, ...after.services }).filter((service) => {
    const [was, is] = [before.services[service]?.definition, after.services[service]?.definition]
    if (!rolled.some((target) => target.service === service)) return !isDeepStrictEqual(was, is)
    return !isDeepStrictEqual(withoutVersion(was), withoutVersion(is))
  })
  if (spills.length > 0 || !isDeepStrictEqual(before.rest, after.rest))
    throw new Problem(
      'compose-edit-spills',
      `the edit would also change ${spills.join(', ') || 'networks or volumes'}`,
      {
        cure: `give ${rolled.map(({ service }) => service).join(', ')} an image and environment of their own in ${stack.compose.join(', ')}`,
      },
    )
  for (const { service, to } of rolled) {
    const is = after.services[service]
    const wrong = Object.keys(to.env).find((key) => is?.env[key] !== to.env[key])
    if (wrong !== undefined || (to.image !== undefined && is?.image !== to.image))
      throw new Problem(
        'compose-not-editable',
        `after the edit service ${service} would not have the wanted ${wrong ?? 'image'}`,
        {
          cure: `write ${wrong ?? 'image'} of ${service} as a plain value in ${stack.compose.join(', ')}`,
        },
      )
  }
}

function withoutVersion(definition: unknown): unknown {
  if (typeof definition !== 'object' || definition === null) return definition
  return { ...definition, image: null, environment: null }
}

function* warn(stack: StackConfig, { proxy, instances, hashes }: Observed): Generator<Warning> {
  if (!proxy.settings.keepaliveMinTimeoutMs)
    yield {
      code: 'no-keepalive-min-timeout',
      message: 'idle keepalive clients may lose a request at each reload',
      cure: 'set `keepalive_min_timeout 1s;` in the http block (nginx 1.27.4 or newer)',
    }
  for (const { service, servers, containers } of instances) {
    const uses = [...new Set(servers.map(({ host }) => host))].flatMap((host) =>
      proxy.settings.otherUses(host, proxy.upstream.name),
    )
    if (uses.length > 0)
      yield {
        code: 'used-elsewhere',
        message: `nginx reaches ${service} past the upstream too (${uses.join(', ')}): those requests are not protected`,
        cure: `send them to upstream ${proxy.upstream.name}`,
      }
    if (containers.some(({ configHash }) => configHash !== undefined && configHash !== hashes[service]))
      yield {
        code: 'compose-drift',
        message: `service ${service} does not run as the compose file says: the roll will apply what else has changed there`,
      }
    const files = containers[0]?.composeFiles ?? []
    if (files.length > 0 && !isDeepStrictEqual(files, [...stack.compose]))
      yield {
        code: 'compose-files-differ',
        message: `service ${service} was started from ${files.join(', ')}, the roll uses ${stack.compose.join(', ')}`,
        cure: `list the same files in stacks.${stack.name}.compose`,
      }
  }
}

async function warnOfMovedTags(
  { instances, model }: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<Warning[]> {
  const found = instances.map(async ({ service, containers }): Promise<Warning[]> => {
    const text = model.services[service]?.image
    const image = text === undefined ? undefined : await ports.engine.image(text, signal)
    if (!image || containers.every(({ imageId }) => imageId === image.id)) return []
    return [
      {
        code: 'image-moved',
        message: `${text} names another image by now than the one that ${service} runs: a roll that asks for no image will bring it`,
      },
    ]
  })
  return (await Promise.all(found)).flat()
}
