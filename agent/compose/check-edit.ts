// Checks that the edit of the compose files means what is wanted and nothing else: compose itself is asked what each candidate says.

import { isDeepStrictEqual } from 'node:util'
import type { Version } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import type { ComposeModel, ComposeProject } from '../ports.ts'
import type { FileTexts } from './edit/texts.ts'

/** A service, and what the edit is to make of it. */
interface Edited {
  readonly service: string
  readonly to: Version
}

/** Throws `compose-edit-spills`, `compose-not-editable`. `modelAfter`: compose's model of the files with the first `count` services edited. */
export async function checkEdits(
  stack: ComposeProject,
  { model, texts }: { readonly model: ComposeModel; readonly texts: FileTexts },
  rolled: readonly Edited[],
  modelAfter: (count: number) => Promise<ComposeModel>,
): Promise<void> {
  // With anchors or `extends` in a file, an edit of one service can reach into another that is rolled later. Then compose is asked about the texts
  // after every service, else only after the last.
  const isShared = Object.values(texts).some((text) => /&|extends/.test(text))
  for (let count = isShared ? 1 : rolled.length; count <= rolled.length; count += 1)
    checkModel(stack, model, await modelAfter(count), rolled.slice(0, count))
}

/** Throws unless `after` differs from `before` in the wanted image and env of the rolled services, and in nothing else. */
function checkModel(
  stack: ComposeProject,
  before: ComposeModel,
  after: ComposeModel,
  rolled: readonly Edited[],
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
