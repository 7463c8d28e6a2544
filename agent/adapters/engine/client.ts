// The way to the Docker engine: by dockerode, loaded when it is first needed.

import http from 'node:http'
import https from 'node:https'
import type Docker from 'dockerode'
import { endpoint } from './endpoint.ts'
import { call } from './call.ts'

export interface Client {
  docker(): Promise<Docker>
  /** One question to the engine. Throws `engine-unreachable`. */
  ask<T>(signal: AbortSignal, question: (docker: Docker) => Promise<T>): Promise<T>
}

export function engineClient(): Client {
  // Loaded at the first roll: it is a quarter of the agent's memory, and an agent is idle for most of its life.
  let loaded: Promise<Docker> | undefined
  const docker = async () => {
    loaded ??= Promise.all([import('dockerode'), endpoint()]).then(([{ default: Dockerode }, options]) =>
      freshConnections(new Dockerode(options)),
    )
    loaded.catch(() => (loaded = undefined)) // somebody may mend the context
    return await loaded
  }
  return {
    docker,
    async ask(signal, question) {
      const client = await docker()
      return await call(signal, () => question(client))
    },
  }
}

// An engine that shuts down takes no new connection, but serves one that is open, to its end: what it starts then outlives it, as a
// process that nobody knows, at an address that it gives to another container after its restart.
function freshConnections(docker: Docker): Docker {
  const { modem } = docker
  const { Agent } = 'protocol' in modem && modem.protocol === 'https' ? https : http
  Object.assign(modem, { agent: new Agent({ keepAlive: false }) })
  return docker
}
