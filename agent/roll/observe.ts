// Looks at the stack as it is: the compose model, the containers, what nginx has loaded, and how the three belong together.
// Everything that ropeway.yml leaves out is inferred here. Touches nothing.

import { Problem } from '../../shared/problems.ts'
import type { FileTexts } from '../compose/texts.ts'
import type { StackConfig } from '../config/config.ts'
import { approachOf, type Approach } from '../nginx/doors.ts'
import { readSettings, usesPast, type NginxSettings } from '../nginx/settings.ts'
import { findUpstreams, type Upstream, type UpstreamServer } from '../nginx/upstream.ts'
import type { ComposeModel, ComposeService, Container, Mount, Ports } from '../ports.ts'
import { readConfiguration } from './configuration.ts'
import { askedByHealthcheck } from './healthcheck.ts'

export interface Observed {
  readonly model: ComposeModel
  readonly containers: readonly Container[]
  readonly composeTexts: FileTexts
  readonly proxy: Proxy
  /** In the order of the upstream. */
  readonly instances: readonly Instance[]
  /** compose's hashes of each service as its files define it now. */
  readonly hashes: Readonly<Record<string, readonly string[]>>
}

export interface Proxy {
  readonly container: Container
  readonly upstream: Upstream
  readonly settings: NginxSettings
  /** How requests come to the upstream. */
  readonly approach: Approach
  /** The file with the upstream: on the host, as nginx sees it, one character a byte, and how it must be written. */
  readonly file: {
    readonly hostPath: string
    readonly path: string
    readonly text: string
    readonly how: 'in-place' | 'rename'
  }
}

/** A compose service that is a member of the upstream. */
export interface Instance {
  readonly service: string
  readonly servers: readonly UpstreamServer[]
  readonly containers: readonly Container[]
  /** False when the user has marked its servers `down`. */
  readonly isLive: boolean
}

export async function observe(stack: StackConfig, ports: Ports, signal: AbortSignal): Promise<Observed> {
  const [model] = await Promise.all([ports.compose.model(stack, {}, signal), ports.engine.ping(signal)])
  // Beside what nginx and the engine are asked, for compose keeps a core busy by itself.
  const hashes = ports.compose.hashes(stack, signal)
  hashes.catch(() => {}) // awaited at the end; until then another failure may come first
  const containers = await ports.engine.containers(model.project, signal)
  const composeTexts: Record<string, string> = {}
  for (const path of stack.compose) composeTexts[path] = await ports.files.read(path)

  const container = findProxy(stack, model, containers)
  const files = await readConfiguration(ports, container, stoppedNames(containers), signal)
  const services = Object.keys(model.services)
  const { health } = stack
  const upstream = findUpstream(stack, findUpstreams(files), services, containers)
  const seen = files.find(({ path }) => path === upstream.file)?.text ?? ''
  const instances = findInstances(stack, upstream, services, containers)
  const asked = instances.flatMap((one) => one.containers).map(askedByHealthcheck)
  const path = health.path ?? asked.find((one) => one !== undefined)?.path
  const seenSoFar = {
    model,
    containers,
    composeTexts,
    proxy: {
      container,
      upstream,
      settings: readSettings(files, upstream.name),
      approach: approachOf(files, upstream.name, {
        ...(path === undefined ? {} : { path }),
        host: health.host,
      }),
      file: await findFile(stack, container, upstream.file, seen, ports),
    },
    instances,
  }
  await checkOnlyProxy(seenSoFar, ports, signal)
  return { ...seenSoFar, hashes: await hashes }
}

const namesOf = ({ service, name, aliases }: Container) => [service, name, ...aliases]

// By which nginx would reach them, if they ran.
function stoppedNames(containers: readonly Container[]): Set<string> {
  const running = containers.filter(({ state }) => state === 'running')
  const stopped = containers.filter(({ state }) => state !== 'running')
  return new Set(stopped.flatMap(namesOf)).difference(new Set(running.flatMap(namesOf)))
}

function findProxy(stack: StackConfig, model: ComposeModel, containers: readonly Container[]): Container {
  const service = stack.proxy.service ?? inferProxy(stack, model)
  if (!(service in model.services))
    throw new Problem('service-unknown', `proxy service ${service} is not in ${stack.compose.join(', ')}`, {
      cure: `set stacks.${stack.name}.proxy.service to the service that runs nginx`,
    })
  const [container, ...others] = containers.filter(
    (one) => one.service === service && one.state === 'running',
  )
  if (container && others.length > 0)
    throw new Problem(
      'proxy-several',
      `service ${service} has ${others.length + 1} running containers: only one would be told who is out`,
      { cure: `run one, with \`docker compose up -d --scale ${service}=1 ${service}\`` },
    )
  if (!container)
    throw new Problem('nginx-not-running', `service ${service} has no running container`, {
      cure: `start it with \`docker compose up -d ${service}\``,
    })
  return container
}

// Another nginx that sends requests to an instance would go on doing so while that is recreated.
async function checkOnlyProxy(
  { model, containers, proxy, instances }: Omit<Observed, 'hashes'>,
  { engine }: Ports,
  signal: AbortSignal,
): Promise<void> {
  const likely = containers.filter(
    ({ id, service, state }) =>
      id !== proxy.container.id && state === 'running' && looksLikeNginx(model.services[service]),
  )
  for (const container of likely) {
    const files = await readConfiguration({ engine }, container, stoppedNames(containers), signal).catch(
      () => undefined,
    )
    if (!files) continue
    const settings = readSettings(files, '')
    const hosts = instances.flatMap(({ servers }) => servers.map(({ host }) => host))
    const [use] = hosts.flatMap((host) => usesPast(settings, host, ''))
    if (use === undefined) continue
    throw new Problem(
      'proxy-several',
      `nginx in service ${container.service} sends requests to the same instances (${use.where}), and only service ${proxy.container.service} would be told who is out`,
      { cure: `let service ${container.service} send them to service ${proxy.container.service}` },
    )
  }
}

const NGINX_IMAGE = /(^|\/)(nginx|openresty)[^/]*$/
const isInNginx = ({ target }: Mount) => target.startsWith('/etc/nginx')

function looksLikeNginx(service: ComposeService | undefined): boolean {
  return service !== undefined && (service.mounts.some(isInNginx) || NGINX_IMAGE.test(service.image ?? ''))
}

function inferProxy(stack: StackConfig, model: ComposeModel): string {
  const services = Object.entries(model.services)
  const mounting = services.filter(([, { mounts }]) => mounts.some(isInNginx))
  const named = services.filter(([, { image }]) => NGINX_IMAGE.test(image ?? ''))
  const candidates = mounting.length > 0 ? mounting : named
  const [only, ...others] = candidates.map(([name]) => name)
  if (only !== undefined && others.length === 0) return only
  throw new Problem(
    'upstream-unknown',
    only === undefined
      ? 'no service looks like nginx'
      : `several services look like nginx: ${[only, ...others].join(', ')}`,
    { cure: `set stacks.${stack.name}.proxy.service` },
  )
}

function serviceOf(
  server: UpstreamServer,
  services: readonly string[],
  containers: readonly Container[],
): string | undefined {
  if (services.includes(server.host)) return server.host
  return containers.find(({ name, aliases }) => name === server.host || aliases.includes(server.host))
    ?.service
}

function findUpstream(
  stack: StackConfig,
  upstreams: readonly Upstream[],
  services: readonly string[],
  containers: readonly Container[],
): Upstream {
  const wanted = stack.proxy.upstream
  const cure = `set stacks.${stack.name}.proxy.upstream to the name of one that has the services to roll`
  const found =
    wanted === undefined
      ? upstreams.filter(({ servers }) => servers.some((server) => serviceOf(server, services, containers)))
      : upstreams.filter(({ name }) => name === wanted)
  const [only, ...others] = found
  if (only && others.length === 0 && only.elsewhere.length > 0)
    throw new Problem(
      'upstream-unknown',
      `upstream ${only.name} has servers in other files: ${only.elsewhere.join(', ')}`,
      {
        cure: 'write all its servers in the file with the upstream block',
      },
    )
  if (only && others.length === 0) return only
  if (only)
    throw new Problem('upstream-unknown', `several upstreams could be meant: ${names(found)}`, { cure })
  const what =
    wanted === undefined ? 'no upstream has a service of the compose file' : `nginx has no upstream ${wanted}`
  throw new Problem('upstream-unknown', `${what} (there are: ${names(upstreams)})`, { cure })
}

function names(upstreams: readonly Upstream[]): string {
  return upstreams.map(({ name }) => name).join(', ') || 'none'
}

function findInstances(
  stack: StackConfig,
  upstream: Upstream,
  services: readonly string[],
  containers: readonly Container[],
): Instance[] {
  const unknown = stack.instances?.find((service) => !services.includes(service))
  if (unknown !== undefined)
    throw new Problem('service-unknown', `service ${unknown} is not in ${stack.compose.join(', ')}`, {
      cure: `correct stacks.${stack.name}.instances`,
    })
  const found = new Map<string, UpstreamServer[]>()
  for (const server of upstream.servers) {
    const service = serviceOf(server, services, containers)
    if (service !== undefined) found.set(service, [...(found.get(service) ?? []), server])
  }
  const missing = stack.instances?.find((service) => !found.has(service))
  if (missing !== undefined)
    throw new Problem('service-unknown', `service ${missing} is no server of upstream ${upstream.name}`, {
      cure: `correct stacks.${stack.name}.instances, or add it to ${upstream.file}`,
    })
  return [...found]
    .filter(([service]) => stack.instances === undefined || stack.instances.includes(service))
    .map(([service, servers]) => ({
      service,
      servers,
      containers: containers.filter((container) => container.service === service),
      isLive: servers.some(({ isDown }) => !isDown),
    }))
}

async function findFile(
  stack: StackConfig,
  proxy: Container,
  path: string,
  seen: string,
  ports: Ports,
): Promise<Proxy['file']> {
  const mount = proxy.mounts
    .filter(({ target }) => path === target || path.startsWith(`${target.replace(/\/$/, '')}/`))
    .toSorted((a, b) => b.target.length - a.target.length)[0]
  if (!mount)
    throw new Problem(
      'nginx-not-mounted',
      `${path} in service ${proxy.service} is not mounted from the host`,
      {
        cure: 'mount the file, or the folder that it is in, so that a change outlives the container',
      },
    )
  const hostPath = mount.source + path.slice(mount.target.length)
  const text = await readHostFile(hostPath, path, proxy, ports)
  if (text !== seen)
    throw new Problem('nginx-stale', `nginx sees another ${path} than ${hostPath} on the host`, {
      cure:
        path === mount.target
          ? `somebody replaced the mounted file instead of writing into it; run \`docker compose up -d --force-recreate ${proxy.service}\``
          : 'somebody is changing it at this moment; try again',
    })
  const configured = stack.proxy.config
  if (configured !== undefined && (await ports.files.real(configured)) !== (await ports.files.real(hostPath)))
    throw new Problem('upstream-unknown', `the upstream is in ${hostPath}, not in ${configured}`, {
      cure: `set stacks.${stack.name}.proxy.config to the file with the upstream, or leave it out`,
    })
  return { hostPath, path, text, how: path === mount.target ? 'in-place' : 'rename' }
}

async function readHostFile(hostPath: string, path: string, proxy: Container, ports: Ports): Promise<string> {
  try {
    return await ports.files.read(hostPath, 'bytes')
  } catch (cause) {
    throw new Problem(
      'nginx-not-mounted',
      `${hostPath} (${path} in service ${proxy.service}) cannot be read here`,
      {
        cure: 'run the agent where it sees the host’s files by the same paths',
        cause,
      },
    )
  }
}

/** The addresses by which nginx reaches a container: those of both families in the networks that they share. */
export function addressesFrom(proxy: Container, container: Container): string[] {
  const shared = Object.entries(container.addresses).filter(([network]) => network in proxy.addresses)
  return shared.flatMap(([, ips]) => ips)
}

/** Whether containers are as compose's hashes of their service say; one that compose has not made is nothing to judge by. */
export function areAsDefined(containers: readonly Container[], hashes: readonly string[] = []): boolean {
  return containers.every(({ configHash }) => configHash === undefined || hashes.includes(configHash))
}
