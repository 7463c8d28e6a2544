// Looks at nginx as it is: which service it is, what it has loaded, which upstream leads to the stack's services, and the file that says so.
// What ropeway.yml leaves out is inferred here. Touches nothing.

import { Problem } from '../../shared/problems.ts'
import type { StackConfig } from '../config/config.ts'
import type { Container, Files } from '../ports.ts'
import type { Around, ProxySeen, SeenMember } from '../roll/proxy.ts'
import { askedByHealthcheck } from '../roll/gates/healthcheck.ts'
import { readConfiguration } from './configuration.ts'
import { ContainerPlace, type PlaceEngine } from './container-place.ts'
import { approachOf } from './config/doors.ts'
import type { NginxSeen } from './seen.ts'
import { readSettings, usesPast } from './config/settings.ts'
import { findUpstreams, type Upstream, type UpstreamServer } from './config/upstream.ts'

export interface InspectPorts {
  readonly engine: PlaceEngine
  readonly files: Pick<Files, 'read' | 'real'>
}

/** Throws `service-unknown`, `proxy-several`, `nginx-not-running`, `nginx-refused`, `upstream-unknown`, `nginx-not-mounted`, `nginx-stale`. */
export async function inspect(
  stack: StackConfig,
  around: Around,
  ports: InspectPorts,
  signal: AbortSignal,
): Promise<ProxySeen> {
  const { containers } = around
  const container = findNginx(stack, around)
  const stopped = stoppedNames(containers)
  const files = await readConfiguration(new ContainerPlace(ports.engine, container), stopped, signal)
  const services = Object.keys(around.services)
  const upstream = findUpstream(stack, findUpstreams(files), services, containers)
  const servers = serversByService(stack, upstream, services, containers)
  if (servers.size === 0)
    throw new Problem('upstream-unknown', `upstream ${upstream.name} has no service of the compose file`)
  const seenText = files.find(({ path }) => path === upstream.file)?.text ?? ''
  const own: NginxSeen = {
    container,
    upstream: { name: upstream.name },
    settings: readSettings(files, upstream.name),
    file: await findFile(stack, container, upstream.file, seenText, ports),
    servers: Object.fromEntries(servers),
  }
  await checkOnlyNginx(around, own, ports, signal)

  const { health } = stack
  const asked = [...servers.keys()]
    .flatMap((service) => containers.filter((one) => one.service === service))
    .map(askedByHealthcheck)
    .find((one) => one !== undefined)
  const path = health.path ?? asked?.path
  const live = upstream.servers.filter(({ isDown }) => !isDown)
  const ofMembers = new Set([...servers.values()].flat())
  return {
    backend: upstream.name,
    service: container.service,
    file: own.file.hostPath,
    networks: Object.keys(container.addresses),
    members: [...servers].map(([service, its]) => memberOf(service, its)),
    servers: {
      all: upstream.servers.length,
      live: live.length,
      others: live.filter((server) => !ofMembers.has(server)).length,
    },
    approach: approachOf(files, upstream.name, {
      ...(path === undefined ? {} : { path }),
      host: health.host,
    }),
    inferred: inferredFrom(own, upstream),
    own,
  }
}

function memberOf(service: string, servers: readonly UpstreamServer[]): SeenMember {
  return {
    name: service,
    service,
    ports: [...new Set(servers.map(({ port }) => port))],
    isLive: servers.some(({ isDown }) => !isDown),
  }
}

const addressesOf = (its: readonly UpstreamServer[]) => its.map(({ address }) => address).join(', ')

function inferredFrom({ container, file, settings, servers }: NginxSeen, upstream: Upstream) {
  const { keepaliveMinTimeoutMs } = settings
  return {
    proxy: `service ${container.service}, container ${container.name}`,
    upstream: `${upstream.name} in ${file.path}, line ${upstream.line}`,
    config: `${file.hostPath}, written ${file.how === 'in-place' ? 'in place (mounted by itself)' : 'by rename (its folder is mounted)'}`,
    instances: Object.entries(servers)
      .map(([service, its]) => `${service} (${addressesOf(its)})`)
      .join(', '),
    keepalive_min_timeout: keepaliveMinTimeoutMs === undefined ? 'not set' : `${keepaliveMinTimeoutMs} ms`,
  }
}

const namesOf = ({ service, name, aliases }: Container) => [service, name, ...aliases]

// The names by which nginx would reach the stopped containers, if they ran.
function stoppedNames(containers: readonly Container[]): Set<string> {
  const running = containers.filter(({ state }) => state === 'running')
  const stopped = containers.filter(({ state }) => state !== 'running')
  return new Set(stopped.flatMap(namesOf)).difference(new Set(running.flatMap(namesOf)))
}

function findNginx(stack: StackConfig, { services, containers }: Around): Container {
  const service = stack.proxy.service ?? inferService(stack, services)
  if (!(service in services))
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

// Refuses a second nginx that sends requests to an instance: it would go on doing so while the instance is recreated.
async function checkOnlyNginx(
  { services, containers }: Around,
  { container: nginx, servers }: NginxSeen,
  { engine }: InspectPorts,
  signal: AbortSignal,
): Promise<void> {
  const likely = containers.filter(
    ({ id, service, state }) => id !== nginx.id && state === 'running' && looksLikeNginx(services[service]),
  )
  for (const container of likely) {
    const place = new ContainerPlace(engine, container)
    const files = await readConfiguration(place, stoppedNames(containers), signal).catch(() => undefined)
    if (!files) continue
    const settings = readSettings(files, '')
    const hosts = Object.values(servers).flatMap((its) => its.map(({ host }) => host))
    const [use] = hosts.flatMap((host) => usesPast(settings, host, ''))
    if (use === undefined) continue
    throw new Problem(
      'proxy-several',
      `nginx in service ${container.service} sends requests to the same instances (${use.where}), and only service ${nginx.service} would be told who is out`,
      { cure: `let service ${container.service} send them to service ${nginx.service}` },
    )
  }
}

type Service = Around['services'][string]

const NGINX_IMAGE = /(^|\/)(nginx|openresty)[^/]*$/
const isInNginx = ({ target }: { readonly target: string }) => target.startsWith('/etc/nginx')

function looksLikeNginx(service: Service | undefined): boolean {
  return service !== undefined && (service.mounts.some(isInNginx) || NGINX_IMAGE.test(service.image ?? ''))
}

function inferService(stack: StackConfig, all: Around['services']): string {
  const services = Object.entries(all)
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

function serversByService(
  stack: StackConfig,
  upstream: Upstream,
  services: readonly string[],
  containers: readonly Container[],
): Map<string, UpstreamServer[]> {
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
  return new Map([...found].filter(([service]) => stack.instances?.includes(service) ?? true))
}

async function findFile(
  stack: StackConfig,
  nginx: Container,
  path: string,
  seen: string,
  ports: InspectPorts,
): Promise<NginxSeen['file']> {
  const mount = nginx.mounts
    .filter(({ target }) => path === target || path.startsWith(`${target.replace(/\/$/, '')}/`))
    .toSorted((a, b) => b.target.length - a.target.length)[0]
  if (!mount)
    throw new Problem(
      'nginx-not-mounted',
      `${path} in service ${nginx.service} is not mounted from the host`,
      {
        cure: 'mount the file, or the folder that it is in, so that a change outlives the container',
      },
    )
  const hostPath = mount.source + path.slice(mount.target.length)
  const text = await readHostFile(hostPath, path, nginx, ports)
  if (text !== seen)
    throw new Problem('nginx-stale', `nginx sees another ${path} than ${hostPath} on the host`, {
      cure:
        path === mount.target
          ? `somebody replaced the mounted file instead of writing into it; run \`docker compose up -d --force-recreate ${nginx.service}\``
          : 'somebody is changing it at this moment; try again',
    })
  const configured = stack.proxy.config
  if (configured !== undefined && (await ports.files.real(configured)) !== (await ports.files.real(hostPath)))
    throw new Problem('upstream-unknown', `the upstream is in ${hostPath}, not in ${configured}`, {
      cure: `set stacks.${stack.name}.proxy.config to the file with the upstream, or leave it out`,
    })
  return { hostPath, path, text, how: path === mount.target ? 'in-place' : 'rename' }
}

async function readHostFile(
  hostPath: string,
  path: string,
  nginx: Container,
  { files }: InspectPorts,
): Promise<string> {
  try {
    return await files.read(hostPath, 'bytes')
  } catch (cause) {
    throw new Problem(
      'nginx-not-mounted',
      `${hostPath} (${path} in service ${nginx.service}) cannot be read here`,
      {
        cure: 'run the agent where it sees the host’s files by the same paths',
        cause,
      },
    )
  }
}
