// Whether the edit of the compose files means what is wanted and nothing else: compose itself is asked what each candidate says.

import { isDeepStrictEqual } from 'node:util'
import { Problem } from '../../shared/problems.ts'
import { changedTexts, type FileTexts } from '../compose/texts.ts'
import type { StackConfig } from '../config/config.ts'
import type { ComposeModel, Ports } from '../ports.ts'
import type { Observed } from './observe.ts'
import type { Target } from './strategies/strategy.ts'

// With anchors or `extends` in the file an edit of one service can reach into another that is
// rolled later, so then the texts after every instance are asked about, else only the last.
export async function checkTexts(
  stack: StackConfig,
  { model, composeTexts }: Observed,
  after: (count: number) => FileTexts,
  rolled: readonly Target[],
  ports: Ports,
  signal: AbortSignal,
): Promise<void> {
  const isShared = Object.values(composeTexts).some((text) => /&|extends/.test(text))
  for (let count = isShared ? 1 : rolled.length; count <= rolled.length; count += 1) {
    const edited = await ports.compose.model(stack, changedTexts(composeTexts, after(count)), signal)
    checkModel(stack, model, edited, rolled.slice(0, count))
  }
}

/** Throws unless `after` differs from `before` in the wanted image and env of the rolled services, and in nothing else. */
export function checkModel(
  stack: StackConfig,
  before: ComposeModel,
  after: ComposeModel,
  rolled: readonly Target[],
): void {
  const spills = Object.keys({ ...before.services, ...after.services }).filter((service) => {
    const [was, is] = [before.services[service]?.definition, after.services[service]?.definition]
    if (!rolled.some((target) => target.service === service)) return !isDeepStrictEqual(was, is)
    return !isDeepStrictEqual(withoutVersion(was), withoutVersion(is))
  })
  if (spills.length > 0 || !isDeepStrictEqual(before.rest, after.rest))
    throw new Problem(
      'compose-edit-spills',
      `the edit would also change ${spills.join(', ') || 'networks or volumes'}`,
      {
        cure: `give ${rolled.map(({ service }) => service).join(', ')} an image and environment of their own in ${stack.compose.join(', ')}`,
      },
    )
  for (const { service, to } of rolled) {
    const is = after.services[service]
    const wrong = Object.keys(to.env).find((key) => (is?.env[key] ?? null) !== to.env[key])
    if (wrong !== undefined || (to.image !== undefined && is?.image !== to.image))
      throw new Problem(
        'compose-not-editable',
        `after the edit service ${service} would not have the wanted ${wrong ?? 'image'}`,
        {
          cure: `write ${wrong ?? 'image'} of ${service} as a plain value in ${stack.compose.join(', ')}`,
        },
      )
  }
}

function withoutVersion(definition: unknown): unknown {
  if (typeof definition !== 'object' || definition === null) return definition
  return { ...definition, image: null, environment: null }
}
