// The Engine port: dockerode for everything but the pull, for which the docker CLI knows the host's logins and credential helpers.

import http from 'node:http'
import https from 'node:https'
import { PassThrough, type Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type Docker from 'dockerode'
import { imageRef } from '../../shared/image.ts'
import { Problem } from '../../shared/problems.ts'
import type { Container, Engine } from '../ports.ts'
import { LOG_ENTRIES_MAX, endOfLog, linesOfLog } from './container-log.ts'
import { CONFIG_FILES, envFilesIn, readContainer } from './container.ts'
import { endpoint } from './endpoint.ts'
import { call, containerProblem, isNotFound, isStatus, stoppedProblem } from './engine-call.ts'
import { readImage } from './image.ts'
import { countEstablished } from './proc-net.ts'
import { hostConnections, hostFile, hostProcesses } from './proc.ts'
import { isPullable, pullImage } from './pull.ts'

/** A removal takes some 50 ms. */
const REMOVAL_POLL_MS = 25

// An engine that shuts down takes no new connection, but serves one that is open, to its end: what it starts then outlives it, as a
// process that nobody knows, at an address that it gives to another container after its restart.
function freshConnections(docker: Docker): Docker {
  const { modem } = docker
  const { Agent } = 'protocol' in modem && modem.protocol === 'https' ? https : http
  Object.assign(modem, { agent: new Agent({ keepAlive: false }) })
  return docker
}

export function dockerEngine(): Engine {
  // Loaded at the first roll: it is a quarter of the agent's memory, and an agent is idle for most of its life.
  let loaded: Promise<Docker> | undefined
  const client = async () => {
    loaded ??= Promise.all([import('dockerode'), endpoint()]).then(([{ default: Client }, options]) =>
      freshConnections(new Client(options)),
    )
    loaded.catch(() => (loaded = undefined)) // somebody may mend the context
    return await loaded
  }
  const ask = async <T>(signal: AbortSignal, question: (docker: Docker) => Promise<T>): Promise<T> => {
    const docker = await client()
    return await call(signal, () => question(docker))
  }

  const inspect = async (id: string, signal: AbortSignal) => {
    try {
      return readContainer(await ask(signal, (docker) => docker.getContainer(id).inspect()))
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  const exec: Engine['exec'] = async (id, argv, signal) => {
    const started = await ask(signal, (docker) =>
      docker.getContainer(id).exec({ Cmd: [...argv], AttachStdout: true, AttachStderr: true }),
    ).catch((error: unknown) => {
      throw stoppedProblem(error, id)
    })
    const stream = await call(signal, () => started.start({}))
    const [stdout, stderr] = await ask(signal, (docker) => demultiplex(docker, stream))
    const { ExitCode } = await call(signal, () => started.inspect())
    return { exitCode: ExitCode ?? 1, stdout, stderr }
  }

  return {
    container: inspect,
    exec,

    async ping(signal) {
      await ask(signal, (docker) => docker.ping())
    },

    async containers(project, signal, services) {
      const filters = { label: [`com.docker.compose.project=${project}`, 'com.docker.compose.oneoff=False'] }
      const listed = await ask(signal, (docker) => docker.listContainers({ all: true, filters }))
      const wanted = listed.filter(
        ({ Labels }) => services?.includes(Labels['com.docker.compose.service'] ?? '') ?? true,
      )
      const all = await Promise.all(wanted.map(({ Id }) => inspect(Id, signal)))
      return all.filter((container) => container !== undefined)
    },

    async envFiles(composeFiles, project, signal) {
      const label = ['com.docker.compose.oneoff=False', `${CONFIG_FILES}=${composeFiles.join(',')}`]
      if (project !== undefined) label.push(`com.docker.compose.project=${project}`)
      const listed = await ask(signal, (docker) => docker.listContainers({ all: true, filters: { label } }))
      // One that compose found as it should be keeps the label of the call that made it.
      const [newest] = listed.toSorted((a, b) => b.Created - a.Created)
      return envFilesIn(newest?.Labels ?? {})
    },

    async image(ref, signal) {
      try {
        const found = await ask(signal, (docker) => docker.getImage(ref).inspect())
        return readImage(found)
      } catch (error) {
        if (isNotFound(error)) return undefined
        throw error
      }
    },

    async platform(signal) {
      const { Os, Arch } = await ask(signal, (docker) => docker.version())
      return `${Os}/${Arch}`
    },

    async tag(id, ref, signal) {
      const { written, tag } = imageRef(ref)
      await ask(signal, (docker) => docker.getImage(id).tag({ repo: written, tag: tag ?? 'latest' }))
    },

    pull: (ref, onProgress, signal) => pullImage(ref, onProgress, signal),
    isInRegistry: (digest, signal) => isPullable(digest, signal),

    async imagesInUse(signal) {
      const listed = await ask(signal, (docker) => docker.listContainers({ all: true }))
      return new Set(listed.map(({ ImageID }) => ImageID))
    },

    async untag(ref, signal) {
      try {
        await ask(signal, (docker) => docker.getImage(ref).remove())
        return true
      } catch (error) {
        if (isStatus(error, 404, 409)) return false
        throw error
      }
    },

    async start(id, signal) {
      try {
        await ask(signal, (docker) => docker.getContainer(id).start())
      } catch (error) {
        if (!isStatus(error, 304)) throw containerProblem(error, id, 'started') // 304: it runs
      }
    },

    async stop(id, signal) {
      try {
        await ask(signal, (docker) => docker.getContainer(id).stop())
      } catch (error) {
        if (!isStatus(error, 304, 404)) throw containerProblem(error, id, 'stopped')
      }
    },

    async rename(id, name, signal) {
      try {
        await ask(signal, (docker) => docker.getContainer(id).rename({ name }))
      } catch (error) {
        throw containerProblem(error, id, `named ${name}`)
      }
    },

    async remove(id, signal) {
      try {
        // Without its anonymous volumes: its successor may have them.
        await ask(signal, (docker) => docker.getContainer(id).remove({ force: true, v: false }))
      } catch (error) {
        if (!isStatus(error, 404, 409)) throw error
        // 409: somebody else's removal is under way.
        while (await inspect(id, signal)) await call(signal, () => sleep(REMOVAL_POLL_MS))
      }
    },

    async processes(container, signal) {
      const seen = await hostProcesses(container)
      if (seen) return seen
      const { Processes } = await ask(signal, (docker) =>
        docker.getContainer(container.id).top({ ps_args: '-eo pid,ppid,args' }),
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
      await ask(signal, (docker) => docker.getContainer(id).kill({ signal: 'SIGHUP' })).catch(
        (error: unknown) => {
          throw stoppedProblem(error, id)
        },
      )
    },

    async logs(id, lines, signal) {
      const container = (await client()).getContainer(id)
      const bytes = await call(signal, () =>
        container.logs({ stdout: true, stderr: true, tail: lines, follow: false }),
      )
      const { Config } = await call(signal, () => container.inspect())
      return await linesOfLog(bytes, Config.Tty)
    },

    async outputSince(id, sinceMs, signal) {
      const container = (await client()).getContainer(id)
      const { Config } = await call(signal, () => container.inspect())
      const stream = await call(signal, () => openLog(container, sinceMs))
      const stop = () => stream.destroy()
      signal.addEventListener('abort', stop, { once: true })
      try {
        return await call(signal, () => endOfLog(stream, Config.Tty))
      } finally {
        signal.removeEventListener('abort', stop)
        stop()
      }
    },

    async connections(container, remotes, signal) {
      if (remotes.length === 0) return 0
      return countEstablished(await connectionTable(container, exec, signal), remotes)
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

// As a stream, since an access log may be longer than memory: dockerode streams only a log that it follows.
function openLog(container: Docker.Container, sinceMs: number): Promise<Readable> {
  return new Promise((resolve, reject) => {
    const request = {
      path: `/containers/${container.id}/logs?`,
      method: 'GET',
      isStream: true,
      statusCodes: { 200: true, 404: 'no such container', 500: 'server error' },
      options: { stdout: true, since: (sinceMs / 1000).toFixed(3), tail: LOG_ENTRIES_MAX },
    }
    container.modem.dial(request, (error: unknown, stream: unknown) => {
      if (error) reject(error)
      else resolve(stream as Readable)
    })
  })
}

async function demultiplex(docker: Docker, stream: NodeJS.ReadWriteStream): Promise<[string, string]> {
  const streams = [new PassThrough(), new PassThrough()] as const
  const outputs = streams.map(async (out) => Buffer.concat(await Array.fromAsync<Buffer>(out)))
  docker.modem.demuxStream(stream, ...streams)
  await finished(stream, { writable: false })
  for (const out of streams) out.end()
  const [stdout, stderr] = await Promise.all(outputs)
  return [stdout?.toString('latin1') ?? '', stderr?.toString('utf8') ?? '']
}
