// The host's policy: which images and env variables a request may choose. Pure. The agent asks it for every request, whatever the relay says.

import { imageRef, parseImage } from '../../shared/image.ts'
import { Problem } from '../../shared/problems.ts'
import type { DeployRequest } from '../../shared/request.ts'
import type { StackConfig } from '../config/config.ts'

/**
 * The request with its image in full. A tag or digest alone means the repository that the instances run today, where the policy allows it, else the
 * only repository that the policy allows. Throws `request-invalid` where several could be meant, or none.
 */
export function withRepository(
  stack: StackConfig,
  request: DeployRequest,
  running: readonly string[],
): DeployRequest {
  const { tag, digest, ...rest } = request
  if (tag === undefined && digest === undefined) return request
  const named = [...(tag === undefined ? [] : [`:${tag}`]), ...(digest === undefined ? [] : [`@${digest}`])]
  return { ...rest, image: [repositoryMeant(stack, running, named.join('')), ...named].join('') }
}

function repositoryMeant({ name, allow }: StackConfig, running: readonly string[], named: string): string {
  const runs = refsOf(running)
  const allowed = refsOf(allow.images ?? running)
  const both = [...runs.keys()].filter((repository) => allowed.has(repository))
  const [meant, ...others] = both.length > 0 ? both : allowed.keys()
  if (meant !== undefined && others.length === 0) return runs.get(meant) ?? allowed.get(meant) ?? meant
  const could =
    meant === undefined
      ? `stack ${name} runs no image that has one`
      : `stack ${name} could mean ${[meant, ...others].join(' or ')}`
  throw new Problem('request-invalid', `the request names ${named} without its repository, and ${could}`, {
    cure: 'name the image in full',
  })
}

/** The repositories of some image texts: each in full, with its name as it was written. */
function refsOf(texts: readonly string[]): Map<string, string> {
  return new Map(texts.flatMap((text) => parseImage(text) ?? []).map((ref) => [ref.repository, ref.written]))
}

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
