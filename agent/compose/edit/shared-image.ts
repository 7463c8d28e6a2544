// An image that several services take from one place, as by an anchor. While only some of them are updated, each names its own. Once all are, and to
// the same image, that place names it, as the file's author would have changed it. Pure.

import { isDeepStrictEqual } from 'node:util'
import { isMap, isScalar, type Scalar } from 'yaml'
import { modelOf } from './model.ts'
import { findPair, resolved, servicesOf } from './nodes.ts'
import { escaped } from './scalar.ts'
import { parse } from './source.ts'
import { isItsText, setScalar, splice } from './splice.ts'

/** The text with each place changed of which all services want the same image. `wanted`: the image of each updated service. */
export function withSharedImages(text: string, wanted: ReadonlyMap<string, string>): string {
  // Without an alias no service takes anything from another place. To read the file takes milliseconds.
  if (!text.includes('*')) return text
  const edits = [...sharedImages(text)].flatMap(([node, services]) => {
    if (services.length < 2) return []
    const [image, ...others] = new Set(services.map((service) => wanted.get(service)))
    const isDue = image !== undefined && others.length === 0 && escaped(image) !== node.value
    return isDue ? setScalar(node, escaped(image), true) : []
  })
  return splice(text, edits)
}

/** The places that name an image, each with all services that take it from there. */
function sharedImages(text: string): ReadonlyMap<Scalar, string[]> {
  const found = new Map<Scalar, string[]>()
  const { document } = parse(text)
  if (!document) return found
  for (const { key, value } of servicesOf(document)?.items ?? []) {
    const block = resolved(document, value)
    const image = isMap(block) ? resolved(document, findPair(document, block, 'image')?.value) : undefined
    if (!isScalar(image) || typeof image.value !== 'string' || !isItsText(image)) continue
    found.set(image, [...(found.get(image) ?? []), String(key)])
  }
  return found
}

/** Whether two texts of a file are the same to compose, which drops what begins with `x-`. */
export function meanTheSame(one: string, other: string): boolean {
  return isDeepStrictEqual(readByCompose(one), readByCompose(other))
}

function readByCompose(text: string): unknown {
  const model = Object.entries(modelOf(parse(text).document))
  return Object.fromEntries(model.filter(([key]) => !key.startsWith('x-')))
}
