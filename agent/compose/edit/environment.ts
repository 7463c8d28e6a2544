// Sets variables in a service's environment, in whatever form the file has it: a map, a list, an alias or nothing yet.

import { isAlias, isMap, isScalar, isSeq, type Pair, type YAMLMap, type YAMLSeq } from 'yaml'
import { envOf } from './model.ts'
import {
  columnOf,
  endOf,
  findPair,
  gapAfterDash,
  isEntryOf,
  isMerge,
  isUnwritten,
  ownPair,
  resolved,
} from './nodes.ts'
import { entry, flowMap, scalar, styleOf, type Style } from './scalar.ts'
import { refusal, type Source } from './source.ts'
import {
  addedLines,
  append,
  insertion,
  replacement,
  setNode,
  setValue,
  type Edit,
  type NewKey,
} from './splice.ts'

/** The variables to set. */
export type Env = readonly (readonly [key: string, value: string])[]

/** Sets variables in the service's own environment. */
export function setEnv(source: Source, pair: Pair, env: Env): Edit[] {
  const { document, service, node: block } = source
  const node = pair.value
  if ((isMap(node) || isSeq(node)) && node.tag === '!reset')
    throw refusal(source, 'environment', pair.key, 'is reset')
  if (isMap(node)) return setInMap(source, node, env)
  if (isSeq(node)) return setInList(source, node, env)
  if (isAlias(node)) {
    if (isMap(resolved(document, node)))
      return [replacement(node, flowMap(envEntries(`*${node.source}`, env, 'plain', true)))]
    throw refusal(source, 'environment', node, `is an alias of a list, to which ${service} cannot add alone`)
  }
  if (node !== null && !(isScalar(node) && node.value === null && node.tag === undefined))
    throw refusal(source, 'environment', node, 'is neither a map nor a list')
  if (node !== null && isUnwritten(node) && !block.flow) {
    const indent = `${' '.repeat(columnOf(block))}${source.step}`
    const lines = envEntries(undefined, env, 'plain', false).map((line) => `${indent}${line}`)
    return [addedLines(source, endOf(pair), lines)]
  }
  const text = flowMap(envEntries(undefined, env, 'plain', true))
  return [isUnwritten(node) ? insertion(pair, text) : replacement(node, text)]
}

function setInMap(source: Source, node: YAMLMap, env: Env): Edit[] {
  const inFlow = node.flow === true
  const own = env.map(([key, value]) => ({ key, value, pair: ownPair(node, key) }))
  const sets = own.flatMap(({ key, value, pair }) => (pair ? setValue(source, pair, value, key, inFlow) : []))
  const pairs = node.items.filter(({ key }) => !isMerge(key))
  const valued = pairs.findLast(({ value }) => isScalar(value) && value.value !== null)
  const [style, keyStyle] = [styleOf(valued?.value), styleOf(pairs.at(-1)?.key)]
  const added = own
    .filter(({ pair }) => !pair)
    .map(({ key, value }) => entry([key, value], inFlow, style, keyStyle))
  return [...sets, ...append(source, node, added)]
}

// Of two entries for one variable compose takes the later.
function setInList(source: Source, node: YAMLSeq, env: Env): Edit[] {
  const inFlow = node.flow === true
  const own = env.map(([key, value]) => ({
    text: `${key}=${value}`,
    item: node.items.findLast((item) => isEntryOf(source.document, item, key)),
  }))
  const sets = own.flatMap(({ text, item }) =>
    item ? setNode(source, item, text, 'environment', inFlow) : [],
  )
  const style = styleOf(node.items.findLast((item) => isScalar(item)))
  const dash = inFlow ? '' : `-${gapAfterDash(source.text, node)}`
  const added = own.filter(({ item }) => !item).map(({ text }) => `${dash}${scalar(text, style, inFlow)}`)
  return [...sets, ...append(source, node, added)]
}

/** An environment for the service, which has none of its own. */
export function newEnv(source: Source, env: Env): NewKey {
  const merge = inheritedEnv(source, env)
  return (inFlow, style) => {
    const key = scalar('environment', style, inFlow)
    const entries = envEntries(merge, env, style, inFlow)
    if (inFlow) return [`${key}: ${flowMap(entries)}`]
    return [`${key}:`, ...entries.map((line) => `${source.step}${line}`)]
  }
}

// The anchor of the merged environment, if it has any: a new environment must merge that too, so that the other variables stay.
function inheritedEnv(source: Source, env: Env): string | undefined {
  const wanted = new Set(env.map(([key]) => key))
  if (Object.keys(envOf(source.model.environment)).every((key) => wanted.has(key))) return undefined
  const pair = findPair(source.document, source.node, 'environment')
  const value = pair?.value
  const anchor = isAlias(value) ? value.source : isMap(value) ? value.anchor : undefined
  if (anchor !== undefined && isMap(resolved(source.document, value))) return `*${anchor}`
  throw refusal(source, 'environment', pair?.key, 'comes from a merge as a whole')
}

// The entries of a new environment, with what it merges first.
function envEntries(merge: string | undefined, env: Env, style: Style, inFlow: boolean): string[] {
  const entries = env.map((variable) => entry(variable, inFlow, style))
  return merge === undefined ? entries : [`<<: ${merge}`, ...entries]
}
