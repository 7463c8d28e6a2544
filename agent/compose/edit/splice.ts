// The smallest edits of the text: another value in a value's place, a value where there was none, new entries after the last one.

import { isAlias, isScalar, type Pair, type Scalar, type YAMLMap, type YAMLSeq } from 'yaml'
import { columnOf, endOf, endOfLine, isMerge, isUnwritten, rangeOf } from './nodes.ts'
import { flowMap, scalar, styleOf, type Style } from './scalar.ts'
import { refusal, type Source } from './source.ts'

export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The text after the edits. Edits at one offset keep their order: a value comes before what follows it. */
export function splice(text: string, edits: readonly Edit[]): string {
  return edits
    .toSorted((a, b) => a.start - b.start)
    .toReversed()
    .reduce((edited, edit) => edited.slice(0, edit.start) + edit.text + edited.slice(edit.end), text)
}

/** Sets the value of a key. `key`: its name in a refusal. */
export function setValue(source: Source, pair: Pair, value: string, key: string, inFlow: boolean): Edit[] {
  const node = pair.value
  if (!isUnwritten(node)) return setNode(source, node, value, key, inFlow)
  if (isScalar(node)) checkTag(source, node, key)
  return [insertion(pair, scalar(value, 'plain', inFlow))]
}

/** Sets the text of a scalar, or replaces an alias by it. */
export function setNode(source: Source, node: unknown, value: string, key: string, inFlow: boolean): Edit[] {
  if (isAlias(node)) return [replacement(node, scalar(value, 'plain', inFlow))]
  if (!isScalar(node)) throw refusal(source, key, node, 'is not a text')
  checkTag(source, node, key)
  return setScalar(node, value, inFlow)
}

/** Sets the text of a scalar that has no tag of its own. */
export function setScalar(node: Scalar, value: string, inFlow: boolean): Edit[] {
  const text = scalar(value, styleOf(node), inFlow)
  const token = node.srcToken
  if (token?.type !== 'block-scalar') return [replacement(node, text)]
  // The text replaces the `|`, the lines below are removed, and a comment behind the `|` stays.
  const [header] = token.props
  const [start, end] = rangeOf(node)
  const width = header && 'source' in header ? header.source.length : 1
  return [
    { start, end: start + width, text },
    { start: end - token.source.length, end, text: '' },
  ]
}

function checkTag(source: Source, node: Scalar, key: string) {
  if (!isItsText(node)) throw refusal(source, key, node, `has the tag ${node.tag}`)
}

/** Whether a scalar is its text: no tag makes it something else, or (`!reset`) nothing at all. */
export function isItsText({ tag }: Scalar): boolean {
  return tag === undefined || tag === 'tag:yaml.org,2002:str'
}

/** A value for a key that has none. */
export function insertion(pair: Pair, text: string): Edit {
  return added(endOf(pair), `${pair.value === null ? ':' : ''} ${text}`)
}

export function replacement(node: unknown, text: string): Edit {
  const [start, end] = rangeOf(node)
  return { start, end, text }
}

/** A key that the service lacks, as the lines that write it. */
export type NewKey = (inFlow: boolean, style: Style) => readonly string[]

/** New keys for the service. A service that is an alias becomes a map that merges the alias. */
export function addKeys(source: Source, keys: readonly NewKey[]): Edit[] {
  const { node, pair } = source
  if (isAlias(pair.value)) {
    const entries = keys.flatMap((key) => key(true, 'plain'))
    return [replacement(pair.value, flowMap([`<<: *${pair.value.source}`, ...entries]))]
  }
  const style = styleOf(node.items.findLast(({ key }) => !isMerge(key))?.key)
  return append(
    source,
    node,
    keys.flatMap((key) => key(node.flow === true, style)),
  )
}

/** New entries after the last one: in a block each on a line of its own, at the entries' column. */
export function append(source: Source, node: YAMLMap | YAMLSeq, entries: readonly string[]): Edit[] {
  if (entries.length === 0) return []
  const { text, eol } = source
  const last: unknown = node.items.at(-1)
  if (last === undefined) return [added(rangeOf(node)[0] + 1, entries.join(', '))]
  const end = endOf(last)
  if (node.flow) return [added(end, `${/[:\s]/.test(text[end - 1] ?? '') ? ' ' : ''}, ${entries.join(', ')}`)]
  const lines = entries.map((line) => `${' '.repeat(columnOf(node))}${line}`)
  // A block scalar's range includes its last line break; any other value's does not.
  if (text[end - 1] === '\n') return [added(end, lines.map((line) => `${line}${eol}`).join(''))]
  return [addedLines(source, end, lines)]
}

/** Lines after the one with the offset. */
export function addedLines({ text, eol }: Source, offset: number, lines: readonly string[]): Edit {
  return added(endOfLine(text, offset), lines.map((line) => `${eol}${line}`).join(''))
}

const added = (at: number, text: string): Edit => ({ start: at, end: at, text })
