// The Engine port: dockerode for everything but the pull.

import type { Engine } from '../../ports.ts'
import { engineClient } from './client.ts'
import { dockerContainers } from './containers.ts'
import { dockerImages } from './images.ts'
import { dockerInside } from './inside.ts'

export function dockerEngine(): Engine {
  const client = engineClient()
  return {
    ...dockerContainers(client),
    ...dockerImages(client),
    ...dockerInside(client),
    async ping(signal) {
      await client.ask(signal, (docker) => docker.ping())
    },
  }
}
