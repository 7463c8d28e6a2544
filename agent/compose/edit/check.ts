// The proof that an edit did what it should, whatever form the file has: the service has the wanted image and env, and nothing else changed.

import { isDeepStrictEqual } from 'node:util'
import { isScalar } from 'yaml'
import { envOf, isRecord, modelOf, serviceOf, type Model } from './model.ts'
import { ownPair } from './nodes.ts'
import { parse, refusal, type Source } from './source.ts'

/** What an edit was to do. Values are as the file has them. */
interface EditGoal {
  readonly image?: string | undefined
  readonly env?: Model
  /** The variables that it took out. */
  readonly gone?: readonly string[]
}

/** Throws `compose-not-editable` unless `edited` means what `source` means, but with the wanted image and variables. */
export function checkEdit(source: Source, edited: string, { image, env = {}, gone = [] }: EditGoal): void {
  const { service, model, node } = source
  const isImageOnly = Object.keys(env).length === 0
  const left = Object.entries(envOf(model.environment)).filter(([key]) => !gone.includes(key))
  const refuse = (isImage: boolean, why: string, cause?: unknown) => {
    const key = image !== undefined && isImage ? 'image' : 'environment'
    return refusal(source, key, ownPair(node, key)?.key ?? source.pair.key, why, cause)
  }
  const expected = {
    ...model,
    image: image ?? model.image,
    environment: { ...Object.fromEntries(left), ...env },
  }
  let after: Model = {}
  try {
    after = modelOf(parse(edited).document)
  } catch (cause) {
    throw refuse(isImageOnly, 'is in a form that cannot be edited', cause)
  }
  const mine = serviceOf(after, service)
  const found = isRecord(mine)
    ? { ...mine, image: mine.image, environment: envOf(mine.environment) }
    : undefined
  if (!isDeepStrictEqual(found, expected)) {
    const isEnvRight = isDeepStrictEqual(found?.environment, expected.environment)
    throw refuse(isImageOnly || isEnvRight, 'is in a form that cannot be edited')
  }
  if (node.anchor === undefined && !isDeepStrictEqual(others(after, service), others(source.all, service)))
    throw refuse(
      isImageOnly || hasAnchor(ownPair(node, 'image')?.value),
      'is shared with others by an anchor',
    )
}

const hasAnchor = (node: unknown) => isScalar(node) && node.anchor !== undefined

// Everything that compose reads but the one service. Keys that begin with `x-` are left out: they are only there to be merged.
function others(model: Model, service: string): Model {
  const rest = Object.entries(model).filter(([key]) => !key.startsWith('x-'))
  const services = Object.entries(isRecord(model.services) ? model.services : {})
  return Object.fromEntries([...rest, ['services', services.filter(([name]) => name !== service)]])
}
