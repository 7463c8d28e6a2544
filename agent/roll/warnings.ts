// What a person should know before a roll, though it forbids none.

import { isDeepStrictEqual } from 'node:util'
import { imageVariables } from '../compose/texts.ts'
import type { StackConfig } from '../config/config.ts'
import { usesPast } from '../nginx/settings.ts'
import type { Ports } from '../ports.ts'
import { areAsDefined, type Observed } from './observe.ts'

export interface Warning {
  readonly code: string
  readonly message: string
  readonly cure?: string
}

export async function warningsOf(
  stack: StackConfig,
  observed: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<Warning[]> {
  return [
    ...warn(stack, observed),
    ...(await warnOfEnvFiles(stack, observed, ports, signal)),
    ...(await warnOfMovedTags(observed, ports, signal)),
  ]
}

function* warn(stack: StackConfig, { proxy, instances, hashes }: Observed): Generator<Warning> {
  if (!proxy.settings.keepaliveMinTimeoutMs)
    yield {
      code: 'no-keepalive-min-timeout',
      message: 'idle keepalive clients may lose a request at each reload',
      cure: 'set `keepalive_min_timeout 1s;` in the http block (nginx 1.27.4 or newer)',
    }
  const { workerShutdownTimeoutMs } = proxy.settings
  if (workerShutdownTimeoutMs !== undefined)
    yield {
      code: 'worker-shutdown-timeout',
      message: `each reload of a roll ends what runs longer than ${workerShutdownTimeoutMs / 1000} s, WebSockets too, at every instance: nginx has \`worker_shutdown_timeout\``,
      cure: 'raise it above the longest request, or take it out: a drain waits by itself',
    }
  // A soak that sees nothing of the traffic must not look like one that found all well.
  if (stack.soakMs > 0 && 'unusable' in proxy.settings.accessLogs)
    yield {
      code: 'soak-without-traffic',
      message: `the soak cannot see how the instances answer in traffic: ${proxy.settings.accessLogs.unusable}`,
      cure: 'append `$upstream_addr $upstream_status` to the log_format, and use it in an `access_log` without `if` and `buffer`',
    }
  for (const { service, servers, containers } of instances) {
    const uses = [...new Set(servers.map(({ host }) => host))].flatMap((host) =>
      usesPast(proxy.settings, host, proxy.upstream.name),
    )
    if (uses.length > 0)
      yield {
        code: 'used-elsewhere',
        message: `nginx reaches ${service} past the upstream too (${uses.map(({ where }) => where).join(', ')}): those requests are not protected`,
        cure: `send them to upstream ${proxy.upstream.name}`,
      }
    if (!areAsDefined(containers, hashes[service]))
      yield {
        code: 'compose-drift',
        message: `service ${service} does not run as the compose file says: the roll will apply what else has changed there`,
      }
    const files = containers[0]?.composeFiles ?? []
    if (files.length > 0 && !isDeepStrictEqual(files, [...stack.compose]))
      yield {
        code: 'compose-files-differ',
        message: `service ${service} was started from ${files.join(', ')}, the roll uses ${stack.compose.join(', ')}`,
        cure: `list the same files in stacks.${stack.name}.compose`,
      }
  }
}

function envFilesIn(files: readonly string[]): string {
  return files.length === 0 ? 'no --env-file' : `--env-file ${files.join(', ')}`
}

// Only where something differs: a container that compose found as it should be keeps the label of the call that made it.
async function warnOfEnvFiles(
  stack: StackConfig,
  { instances, hashes }: Observed,
  { engine }: Ports,
  signal: AbortSignal,
): Promise<Warning[]> {
  const drifted = instances.filter(({ service, containers }) => !areAsDefined(containers, hashes[service]))
  if (drifted.length === 0) return []
  const used = stack.envFiles ?? (await engine.envFiles(stack.compose, stack.project, signal))
  return drifted.flatMap(({ service, containers: [one] }) =>
    !one || isDeepStrictEqual(one.envFiles, used)
      ? []
      : [
          {
            code: 'env-files-differ',
            message: `service ${service} was started with ${envFilesIn(one.envFiles)}, the roll uses ${envFilesIn(used)}`,
            cure: `list the right ones in stacks.${stack.name}.env_files`,
          },
        ],
  )
}

/** `services` get another image. */
export function warnOfVariables({ composeTexts }: Observed, services: readonly string[]): Warning[] {
  return services.flatMap((service) => {
    const names = imageVariables(composeTexts, service).map((name) => `\${${name}}`)
    if (names.length === 0) return []
    return [
      {
        code: 'image-variable',
        message: `the roll writes the image of ${service} out in the compose file: ${names.join(' and ')} will mean nothing for it any more`,
        cure: 'set the version by deploys from now on',
      },
    ]
  })
}

async function warnOfMovedTags(
  { instances, model }: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<Warning[]> {
  const found = instances.map(async ({ service, containers }): Promise<Warning[]> => {
    const text = model.services[service]?.image
    const image = text === undefined ? undefined : await ports.engine.image(text, signal)
    if (!image || containers.every(({ imageId }) => imageId === image.id)) return []
    return [
      {
        code: 'image-moved',
        message: `${text} names another image by now than the one that ${service} runs: a roll that asks for no image will bring it`,
      },
    ]
  })
  return (await Promise.all(found)).flat()
}
