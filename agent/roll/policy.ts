// The host's policy: which images and env variables a request may choose. Pure, and asked again whatever the relay says.

import { imageRef, parseImage } from '../../shared/image.ts'
import { Problem } from '../../shared/problems.ts'
import type { DeployRequest } from '../../shared/request.ts'
import type { StackConfig } from '../config/config.ts'

/** Throws `image-not-allowed` or `env-not-allowed`. `running` are the image texts that the instances have today. */
export function checkPolicy(stack: StackConfig, request: DeployRequest, running: readonly string[]): void {
  if (request.image !== undefined) {
    const allowed = (stack.allow.images ?? running).flatMap((text) => parseImage(text)?.repository ?? [])
    const { repository } = imageRef(request.image)
    if (!allowed.includes(repository))
      throw new Problem(
        'image-not-allowed',
        `${repository} is not allowed for stack ${stack.name} (allowed: ${[...new Set(allowed)].join(', ') || 'none'})`,
        { cure: `add it to stacks.${stack.name}.allow.images if it should be` },
      )
  }
  const forbidden = Object.keys(request.env ?? {}).filter((key) => !stack.allow.env.includes(key))
  if (forbidden.length > 0)
    throw new Problem(
      'env-not-allowed',
      `stack ${stack.name} does not allow ${forbidden.join(', ')} to be set`,
      {
        cure: `add it to stacks.${stack.name}.allow.env if it should be`,
      },
    )
}
