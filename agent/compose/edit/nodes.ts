// The nodes of a parsed compose file: how to find one, and where in the text it begins and ends.

import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  type Document,
  type Pair,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'

export function isMerge(key: unknown): boolean {
  return isScalar(key) && typeof key.value === 'symbol'
}

export function ownPair(map: YAMLMap, name: string): Pair | undefined {
  return map.items.find(({ key }) => isScalar(key) && String(key.value) === name)
}

/** The block of all services. */
export function servicesOf(document: Document.Parsed): YAMLMap | undefined {
  const root = document.contents
  const services = isMap(root) ? resolved(document, ownPair(root, 'services')?.value) : undefined
  return isMap(services) ? services : undefined
}

/** A key of the map itself, else of what it merges, in compose's order. */
export function findPair(document: Document.Parsed, map: YAMLMap, name: string): Pair | undefined {
  const own = ownPair(map, name)
  if (own) return own
  for (const { key, value } of map.items) {
    if (!isMerge(key)) continue
    const from = resolved(document, value)
    for (const item of isSeq(from) ? from.items : [from]) {
      const merged = resolved(document, item)
      const found = isMap(merged) ? findPair(document, merged, name) : undefined
      if (found) return found
    }
  }
  return undefined
}

export function resolved(document: Document.Parsed, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node
}

/** Whether an item of a list of variables sets this one. */
export function isEntryOf(document: Document.Parsed, item: unknown, key: string): boolean {
  const at = resolved(document, item)
  return isScalar(at) && String(at.value).split('=', 1)[0] === key
}

/** Whether compose, at this path, drops what earlier files say. */
export function isReplacing(document: Document.Parsed | undefined, path: readonly string[]): boolean {
  const node = document?.getIn(path, true) as { readonly tag?: string | undefined } | null | undefined
  return node?.tag === '!override' || node?.tag === '!reset'
}

type Range = readonly [start: number, end: number, ...rest: number[]]
// Every parsed node has a range.
type Ranged = { readonly range: Range }

export function rangeOf(node: unknown): Range {
  return (node as Ranged).range
}

export function startOf(node: unknown): number {
  return (node as Ranged | null | undefined)?.range[0] ?? 0
}

/** Where the last character of an item stands, without the comments and lines behind it. */
export function endOf(item: unknown): number {
  if (isPair(item)) return endOfPair(item)
  if ((isMap(item) || isSeq(item)) && !item.flow) return endOf(item.items.at(-1))
  return rangeOf(item)[1]
}

function endOfPair(pair: Pair): number {
  return isUnwritten(pair.value) ? endOfSigns(pair) : endOf(pair.value)
}

/** Where a key's colon, tag or anchor ends. The library places a missing value behind the comment; it belongs here. */
export function endOfSigns(pair: Pair): number {
  const last = pair.srcToken?.sep?.findLast(({ type }) => ['map-value-ind', 'tag', 'anchor'].includes(type))
  return last ? last.offset + last.source.length : endOf(pair.key)
}

/** Whether a key has no text for its value: `KEY:`, `KEY: &anchor`, or in flow `KEY` alone, whose value is null. */
export function isUnwritten(value: unknown): boolean {
  return value === null || (isScalar(value) && rangeOf(value)[0] === rangeOf(value)[1])
}

export function endOfLine(text: string, offset: number): number {
  return offset + text.slice(offset).search(/\r?\n|$/)
}

export function columnOf(node: YAMLMap | YAMLSeq): number {
  const token = node.srcToken
  return token && 'indent' in token ? token.indent : 0
}

/** The blanks between the last entry's dash and what is written of it. */
export function gapAfterDash(text: string, node: YAMLSeq): string {
  const before = text.slice(0, startOf(node.items.at(-1)))
  return /-([ \t]+)(?:[&!]\S*[ \t]+)*$/.exec(before)?.[1] ?? ' '
}
