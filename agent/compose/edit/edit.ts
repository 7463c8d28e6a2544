// The user's compose file with one service's image or env changed, and not one byte else. The YAML library never writes the text: it only says where
// things stand, and after the edit whether the text means what was wanted.

import { checkEdit } from './check.ts'
import { newEnv, setEnv, type Env } from './environment.ts'
import { envOf, isRecord, modelOf, serviceOf } from './model.ts'
import { isReplacing } from './nodes.ts'
import { withoutVariables } from './removal.ts'
import { entry, escaped } from './scalar.ts'
import { ownOf, parse, sourceOf } from './source.ts'
import { addKeys, setValue, splice, type Edit, type NewKey } from './splice.ts'

export interface ServiceChange {
  readonly image?: string | undefined
  /** Null: the variable is taken out. */
  readonly env?: Readonly<Record<string, string | null>> | undefined
}

/** What a file says of a service: as written, `$` doubled and `${…}` unresolved, without what `extends` or other files add. */
export interface ServiceText {
  readonly image: string | undefined
  /** Null for a variable that has no value of its own (`- MESSAGE`). */
  readonly env: Readonly<Record<string, string | null>>
  readonly hasImage: boolean
  readonly hasEnvironment: boolean
  /** The part that is tagged `!override` or `!reset`: compose drops what earlier files say of it. */
  readonly replaces: 'service' | 'environment' | undefined
}

/** Reads one service, merges and aliases resolved; undefined where the file does not define it. Throws `compose-invalid`. */
export function readService(text: string, service: string): ServiceText | undefined {
  const document = parse(text).document
  const said = serviceOf(modelOf(document), service)
  if (said === undefined) return undefined
  const { image, environment } = isRecord(said) ? said : {}
  const env = Object.entries(envOf(environment)).map(([key, value]) => [
    key,
    value === null ? null : String(value),
  ])
  const hasImage = image !== undefined && image !== null
  return {
    image: hasImage ? String(image) : undefined,
    env: Object.fromEntries(env) as Record<string, string | null>,
    hasImage,
    hasEnvironment: environment !== undefined && environment !== null,
    replaces: isReplacing(document, ['services', service])
      ? 'service'
      : isReplacing(document, ['services', service, 'environment'])
        ? 'environment'
        : undefined,
  }
}

/** Whether compose reads services from other files for this one. */
export function hasIncludes(text: string): boolean {
  return modelOf(parse(text).document)['include'] !== undefined
}

/**
 * The text with one service's image and env variables changed. Values are literal: `$` is written as `$$`, which compose reads as one. What has its
 * wanted value already stays as it is. A service whose block others merge (`&app`) is edited all the same.
 *
 * Throws `service-unknown`, `compose-invalid`, and `compose-not-editable` where no edit of this file changes that service alone.
 */
export function editService(text: string, service: string, { image, env = {} }: ServiceChange): string {
  const values = Object.entries(env).flatMap(([key, value]) =>
    value === null ? [] : [[key, value] as const],
  )
  const gone = Object.keys(env).filter((key) => env[key] === null)
  return withoutVariables(withValues(text, service, image, values), service, gone)
}

function withValues(text: string, service: string, newImage: string | undefined, values: Env): string {
  const source = sourceOf(text, service)
  const wanted = values.map(([key, value]) => [key, escaped(value)] as const)
  const wantedImage = newImage === undefined ? undefined : escaped(newImage)

  const said = envOf(source.model.environment)
  const env = wanted.filter(([key, value]) => said[key] !== value)
  const image = wantedImage === source.model.image ? undefined : wantedImage
  if (env.length === 0 && image === undefined) return text

  const edits: Edit[] = []
  const missing: NewKey[] = []
  if (env.length > 0) {
    const pair = ownOf(source, 'environment')
    if (pair) edits.push(...setEnv(source, pair, env))
    else missing.push(newEnv(source, env))
  }
  if (image !== undefined) {
    const pair = ownOf(source, 'image')
    if (pair) edits.push(...setValue(source, pair, image, 'image', source.node.flow === true))
    else missing.push((inFlow, style) => [entry(['image', image], inFlow, style)])
  }
  edits.push(...addKeys(source, missing))

  const edited = splice(text, edits)
  checkEdit(source, edited, { image: wantedImage, env: Object.fromEntries(wanted) })
  return edited
}
