// Where the engine is: what the docker CLI says, so that compose and this process talk to the same one. dockerode by itself knows nothing of
// contexts (`docker context use`, DOCKER_CONTEXT).

import type { DockerOptions } from 'dockerode'
import { z } from 'zod'
import { Problem } from '../../../shared/problems.ts'
import { run } from '../command.ts'

/** It reads a file and asks nobody. */
const CONTEXT_MS_MAX = 10_000

const contextSchema = z.looseObject({
  Name: z.string(),
  Endpoints: z.looseObject({ docker: z.looseObject({ Host: z.string() }) }),
  TLSMaterial: z.record(z.string(), z.unknown()).nullish(),
})

/** The options for dockerode; undefined where the environment alone decides (DOCKER_HOST, DOCKER_TLS_VERIFY). Throws `engine-unreachable`. */
export async function endpoint(): Promise<DockerOptions | undefined> {
  const signal = AbortSignal.timeout(CONTEXT_MS_MAX)
  const asked = await run('docker', ['context', 'inspect', '--format', '{{json .}}'], { signal }).catch(
    () => undefined, // whoever runs docker next says that there is none
  )
  if (!asked) return undefined
  if (asked.exitCode !== 0)
    throw new Problem('engine-unreachable', `docker has no usable context: ${asked.stderr.trim()}`, {
      cure: 'choose one by `docker context use`, or correct DOCKER_CONTEXT',
    })
  return optionsOf(asked.stdout)
}

/** By what `docker context inspect` prints. */
export function optionsOf(json: string): DockerOptions | undefined {
  const { Name, Endpoints, TLSMaterial } = contextSchema.parse(JSON.parse(json))
  const url = new URL(Endpoints.docker.Host)
  const refuse = (why: string, cure: string) =>
    new Problem('engine-unreachable', `docker context ${Name} (${Endpoints.docker.Host}) ${why}`, { cure })
  if (url.protocol === 'unix:') return { socketPath: url.pathname }
  if (url.protocol !== 'tcp:' && url.protocol !== 'http:' && url.protocol !== 'https:')
    throw refuse(
      'is not an engine of this machine',
      'run the agent on the machine of the engine, and choose a context with a unix:// socket there',
    )
  // The CLI's name for what the environment says.
  if (Name === 'default') return undefined
  if (url.protocol === 'https:' || Object.keys(TLSMaterial ?? {}).length > 0)
    throw refuse(
      'has its TLS keys in the context',
      'set DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH for the agent instead',
    )
  return { protocol: 'http', host: url.hostname, port: Number(url.port || 2375) }
}
