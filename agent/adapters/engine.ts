// The Engine port: dockerode for everything but the pull, for which the docker CLI knows the host's logins and credential helpers.

import { PassThrough } from 'node:stream'
import { finished } from 'node:stream/promises'
import type Docker from 'dockerode'
import { imageRef } from '../../shared/image.ts'
import { Problem } from '../../shared/problems.ts'
import type { Container, Engine } from '../ports.ts'
import { run } from './command.ts'
import { lastLines } from './compose.ts'
import { countEstablished } from './proc-net.ts'
import { hostConnections, hostFile, hostProcesses } from './proc.ts'

export function dockerEngine(): Engine {
  // Loaded at the first roll: it is a quarter of the agent's memory, and an agent is idle for most of its life.
  let loaded: Promise<Docker> | undefined
  const client = () => (loaded ??= import('dockerode').then(({ default: Client }) => new Client()))

  const inspect = async (id: string, signal: AbortSignal) => {
    try {
      return readContainer(await call(signal, (await client()).getContainer(id).inspect()))
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  const exec: Engine['exec'] = async (id, argv, signal) => {
    const started = await call(
      signal,
      (await client()).getContainer(id).exec({ Cmd: [...argv], AttachStdout: true, AttachStderr: true }),
    )
    const stream = await call(signal, started.start({}))
    const [stdout, stderr] = await call(signal, demultiplex(await client(), stream))
    const { ExitCode } = await call(signal, started.inspect())
    return { exitCode: ExitCode ?? 1, stdout, stderr }
  }

  return {
    container: inspect,
    exec,

    async ping(signal) {
      await call(signal, (await client()).ping())
    },

    async containers(project, signal, services) {
      const filters = { label: [`com.docker.compose.project=${project}`, 'com.docker.compose.oneoff=False'] }
      const listed = await call(signal, (await client()).listContainers({ all: true, filters }))
      const wanted = listed.filter(
        ({ Labels }) => services?.includes(Labels['com.docker.compose.service'] ?? '') ?? true,
      )
      const all = await Promise.all(wanted.map(({ Id }) => inspect(Id, signal)))
      return all.filter((container) => container !== undefined)
    },

    async image(ref, signal) {
      try {
        const { Id, RepoDigests, RepoTags } = await call(signal, (await client()).getImage(ref).inspect())
        return { id: Id, digests: RepoDigests ?? [], tags: RepoTags ?? [] }
      } catch (error) {
        if (isNotFound(error)) return undefined
        throw error
      }
    },

    async tag(id, ref, signal) {
      const { written, tag } = imageRef(ref)
      await call(signal, (await client()).getImage(id).tag({ repo: written, tag: tag ?? 'latest' }))
    },

    async pull(ref, onProgress, signal) {
      const layers = new Map<string, boolean>()
      const onLine = (line: string) => {
        const match = /^([0-9a-f]{12}): (.+)$/.exec(line.trim())
        if (!match?.[1] || !match[2]) return
        layers.set(match[1], /^(Pull complete|Already exists)/.test(match[2]))
        onProgress({ done: [...layers.values()].filter(Boolean).length, layers: layers.size })
      }
      const { exitCode, stderr } = await run('docker', ['pull', ref], { signal, onLine })
      if (exitCode === 0) return
      const isMissing = /manifest unknown|not found|does not exist|denied|no matching manifest/i.test(stderr)
      throw new Problem(isMissing ? 'image-not-found' : 'pull-failed', `docker pull ${ref} failed`, {
        log: lastLines(stderr),
        cure: isMissing
          ? 'check the name and tag, and that this host is logged in to the registry (`docker login`)'
          : 'check that this host reaches the registry',
      })
    },

    async processes(container, signal) {
      const seen = await hostProcesses(container)
      if (seen) return seen
      const { Processes } = await call(
        signal,
        (await client()).getContainer(container.id).top({ ps_args: '-eo pid,ppid,args' }),
      )
      return (Processes as string[][]).map(([pid, parent, ...title]) => ({
        pid: Number(pid),
        parent: Number(parent),
        title: title.join(' '),
      }))
    },

    async readFile(container, path, signal) {
      const seen = await hostFile(container, path)
      if (seen !== undefined) return seen
      const { exitCode, stdout, stderr } = await exec(container.id, ['cat', path], signal)
      if (exitCode === 0) return stdout
      throw new Problem('nginx-not-running', `cannot read ${path} in ${container.name}: ${stderr.trim()}`)
    },

    async hangUp(id, signal) {
      await call(signal, (await client()).getContainer(id).kill({ signal: 'SIGHUP' }))
    },

    async logs(id, lines, signal) {
      const container = (await client()).getContainer(id)
      const bytes = await call(
        signal,
        container.logs({ stdout: true, stderr: true, tail: lines, follow: false }),
      )
      const { Config } = await call(signal, container.inspect())
      const text = Config.Tty ? bytes.toString('utf8') : payloads(bytes)
      return lastLines(text).filter((line) => line !== '')
    },

    async connections(container, remote, signal) {
      return countEstablished(await connectionTable(container, exec, signal), remote)
    },
  }
}

async function connectionTable(
  container: Container,
  exec: Engine['exec'],
  signal: AbortSignal,
): Promise<string> {
  const seen = await hostConnections(container)
  if (seen !== undefined) return seen
  const { exitCode, stdout, stderr } = await exec(
    container.id,
    ['cat', '/proc/net/tcp', '/proc/net/tcp6'],
    signal,
  )
  if (stdout === '' && exitCode !== 0)
    throw new Problem(
      'nginx-not-running',
      `cannot read the connections of ${container.name}: ${stderr.trim()}`,
    )
  return stdout
}

function readContainer(inspected: Docker.ContainerInspectInfo): Container {
  const { Config, State, NetworkSettings, Mounts } = inspected
  const labels = Config.Labels ?? {}
  const networks = Object.entries(NetworkSettings.Networks ?? {})
  return {
    id: inspected.Id,
    name: inspected.Name.replace(/^\//, ''),
    service: labels['com.docker.compose.service'] ?? '',
    imageId: inspected.Image,
    image: Config.Image,
    env: Object.fromEntries((Config.Env ?? []).map(splitEnv)),
    state: State.Status as Container['state'],
    exitCode: State.ExitCode,
    restarts: inspected.RestartCount,
    startedAt: State.StartedAt,
    health: healthOf(State.Health?.Status),
    pid: State.Pid,
    addresses: Object.fromEntries(
      networks.map(([name, { IPAddress }]) => [name, IPAddress]).filter(([, ip]) => ip),
    ),
    aliases: networks.flatMap(([, { Aliases }]) => Aliases ?? []),
    mounts: (Mounts ?? []).map(({ Source, Destination }) => ({ source: Source, target: Destination })),
    configHash: labels['com.docker.compose.config-hash'],
    composeFiles: (labels['com.docker.compose.project.config_files'] ?? '').split(',').filter(Boolean),
  }
}

function splitEnv(entry: string): [string, string] {
  const at = entry.indexOf('=')
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)]
}

function healthOf(status: string | undefined): Container['health'] {
  return status === 'starting' || status === 'healthy' || status === 'unhealthy' ? status : undefined
}

async function demultiplex(docker: Docker, stream: NodeJS.ReadWriteStream): Promise<[string, string]> {
  const streams = [new PassThrough(), new PassThrough()] as const
  const texts = streams.map(async (out) => Buffer.concat(await Array.fromAsync<Buffer>(out)).toString('utf8'))
  docker.modem.demuxStream(stream, ...streams)
  await finished(stream, { writable: false })
  for (const out of streams) out.end()
  return [(await texts[0]) ?? '', (await texts[1]) ?? '']
}

// The engine's framing of a log without a terminal: 1 byte stream, 3 zero, 4 length, then the payload.
function payloads(bytes: Buffer): string {
  const parts: Buffer[] = []
  for (let at = 0; at + 8 <= bytes.length;) {
    const length = bytes.readUInt32BE(at + 4)
    parts.push(bytes.subarray(at + 8, at + 8 + length))
    at += 8 + length
  }
  return Buffer.concat(parts).toString('utf8')
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'statusCode' in error && error.statusCode === 404
}

// dockerode takes no signal everywhere: the wait ends at once, the request by itself. An engine that is away is an operational failure.
async function call<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      ['ECONNREFUSED', 'ENOENT', 'EACCES'].includes(String(error.code))
    )
      throw new Problem('engine-unreachable', `the Docker engine does not answer (${String(error.code)})`, {
        cure: 'check that Docker runs and that this user may use it',
        cause: error,
      })
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    promise.catch(() => {})
    aborted.promise.catch(() => {})
  }
}
