// The containers of the engine: which there are, how they are, and what they have written.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Readable } from 'node:stream'
import type Docker from 'dockerode'
import type { Containers } from '../../ports.ts'
import { LOG_ENTRIES_MAX, endOfLog, linesOfLog } from './container-log.ts'
import { CONFIG_FILES, envFilesIn, readContainer } from './container.ts'
import { call, containerProblem, isNotFound, isStatus } from './call.ts'
import type { Client } from './client.ts'

/** A removal takes some 50 ms. */
const REMOVAL_POLL_MS = 25

export function dockerContainers(client: Client): Containers {
  return { ...looks(client), ...changes(client), ...outputs(client) }
}

type Looks = Pick<Containers, 'container' | 'containers' | 'envFiles'>

function looks(client: Client): Looks {
  return {
    container: (id, signal) => inspect(client, id, signal),

    async containers(project, signal, services) {
      const filters = { label: [`com.docker.compose.project=${project}`, 'com.docker.compose.oneoff=False'] }
      const listed = await client.ask(signal, (docker) => docker.listContainers({ all: true, filters }))
      const wanted = listed.filter(
        ({ Labels }) => services?.includes(Labels['com.docker.compose.service'] ?? '') ?? true,
      )
      const all = await Promise.all(wanted.map(({ Id }) => inspect(client, Id, signal)))
      return all.filter((container) => container !== undefined)
    },

    async envFiles(composeFiles, project, signal) {
      const label = ['com.docker.compose.oneoff=False', `${CONFIG_FILES}=${composeFiles.join(',')}`]
      if (project !== undefined) label.push(`com.docker.compose.project=${project}`)
      const listed = await client.ask(signal, (docker) =>
        docker.listContainers({ all: true, filters: { label } }),
      )
      // One that compose found as it should be keeps the label of the call that made it.
      const [newest] = listed.toSorted((a, b) => b.Created - a.Created)
      return envFilesIn(newest?.Labels ?? {})
    },
  }
}

async function inspect({ ask }: Client, id: string, signal: AbortSignal) {
  try {
    return readContainer(await ask(signal, (docker) => docker.getContainer(id).inspect()))
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

function changes(client: Client): Pick<Containers, 'start' | 'stop' | 'rename' | 'remove'> {
  const { ask } = client
  return {
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
        while (await inspect(client, id, signal)) await call(signal, () => sleep(REMOVAL_POLL_MS))
      }
    },
  }
}

function outputs({ docker }: Client): Pick<Containers, 'logs' | 'outputSince'> {
  return {
    async logs(id, lines, signal) {
      const container = (await docker()).getContainer(id)
      const bytes = await call(signal, () =>
        container.logs({ stdout: true, stderr: true, tail: lines, follow: false }),
      )
      const { Config } = await call(signal, () => container.inspect())
      return await linesOfLog(bytes, Config.Tty)
    },

    async outputSince(id, sinceMs, signal) {
      const container = (await docker()).getContainer(id)
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
  }
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
