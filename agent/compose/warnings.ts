// What a person should know of the compose files before a roll, though it forbids none.

import { isDeepStrictEqual } from 'node:util'
import type { ComposeProject, Container } from '../ports.ts'
import type { Warning } from '../roll/proxy.ts'
import { areAsDefined, type Hashes } from './drift.ts'
import { imageVariables, type FileTexts } from './edit/texts.ts'

type Services = ReadonlyMap<string, readonly Container[]>

/** Warns of containers that were made otherwise than the roll will make them. `envFiles`: those that the roll calls compose with. */
export function warningsOf(
  stack: ComposeProject,
  services: Services,
  hashes: Hashes,
  envFiles: readonly string[],
): Warning[] {
  return [...warnOfDrift(stack, services, hashes), ...warnOfEnvFiles(stack, services, hashes, envFiles)]
}

function* warnOfDrift(stack: ComposeProject, services: Services, hashes: Hashes): Generator<Warning> {
  for (const [service, containers] of services) {
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

// Warns only where the definition differs too: a container that compose left as it was keeps the label of the call that made it.
function warnOfEnvFiles(
  stack: ComposeProject,
  services: Services,
  hashes: Hashes,
  used: readonly string[],
): Warning[] {
  const drifted = [...services].filter(([service, containers]) => !areAsDefined(containers, hashes[service]))
  return drifted.flatMap(([service, [one]]) =>
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

/** Warns of variables in the images of `services`, which get another image. */
export function warningsOfVariables(texts: FileTexts, services: readonly string[]): Warning[] {
  return services.flatMap((service) => {
    const names = imageVariables(texts, service).map((name) => `\${${name}}`)
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
