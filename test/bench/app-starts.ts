// How long the app itself takes: from its container's start, by the engine's clock, to its first 200.

import type { Readable } from 'node:stream'
import { createInterface } from 'node:readline'
import Docker from 'dockerode'
import { httpClient } from '../../agent/adapters/http.ts'
import { pause } from './load.ts'

const POLL_MS = 2
const START_MS_MAX = 60_000

/** Does the work, which starts one container of the project, and waits until it answers: the container's milliseconds to its first 200. */
export async function timedStart(project: string, work: () => Promise<unknown>): Promise<number> {
  const docker = new Docker()
  const signal = AbortSignal.timeout(START_MS_MAX)
  const events = (await docker.getEvents({
    filters: JSON.stringify({
      type: ['container'],
      event: ['start'],
      label: [`com.docker.compose.project=${project}`],
    }),
  })) as Readable
  try {
    const lines = createInterface({ input: events, signal })[Symbol.asyncIterator]()
    // Beside the work, for the app may answer before `docker compose` has returned.
    const answered = lines.next().then(({ value }) => firstAnswer(docker, String(value), signal))
    await Promise.all([work(), answered])
    return await answered
  } finally {
    events.destroy()
  }
}

async function firstAnswer(docker: Docker, event: string, signal: AbortSignal): Promise<number> {
  const { id } = JSON.parse(event) as { id: string }
  const { State, NetworkSettings } = await docker.getContainer(id).inspect()
  const ip = Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? ''
  for (;;) {
    const target = { ip, port: 3000, path: '/', host: 'localhost' }
    const answer = await httpClient().get(target, 1000, signal)
    if ('status' in answer && answer.status === 200) return Date.now() - Date.parse(State.StartedAt)
    await pause(POLL_MS)
  }
}
