// What goes on inside a container: its processes, its files as they see them, its connections, and programs that are run there.

import { PassThrough } from 'node:stream'
import { finished } from 'node:stream/promises'
import type Docker from 'dockerode'
import { Problem } from '../../../shared/problems.ts'
import type { Container, Inside } from '../../ports.ts'
import { call, stoppedProblem } from './call.ts'
import { countEstablished } from './proc-net.ts'
import { hostConnections, hostFile, hostProcesses } from './proc.ts'
import type { Client } from './client.ts'

export function dockerInside({ ask }: Client): Inside {
  const exec: Inside['exec'] = async (id, argv, signal) => {
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
    exec,

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
      throw new Problem('container-exited', `cannot read ${path} in ${container.name}: ${stderr.trim()}`)
    },

    async hangUp(id, signal) {
      await ask(signal, (docker) => docker.getContainer(id).kill({ signal: 'SIGHUP' })).catch(
        (error: unknown) => {
          throw stoppedProblem(error, id)
        },
      )
    },

    async connections(container, remotes, signal) {
      if (remotes.length === 0) return 0
      return countEstablished(await connectionTable(container, exec, signal), remotes)
    },
  }
}

async function connectionTable(
  container: Container,
  exec: Inside['exec'],
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
      'container-exited',
      `cannot read the connections of ${container.name}: ${stderr.trim()}`,
    )
  return stdout
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
