// The user's compose file with one service's image or env changed, and not one byte else. The YAML library only says where
// things stand: the text is never written anew by it, and after the edit it says whether the text means what was wanted.

import { isDeepStrictEqual } from 'node:util'
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  parseAllDocuments,
  type Document,
  type Pair,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import { Problem } from '../../shared/problems.ts'

export interface ServiceChange {
  readonly image?: string | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** What a file says of a service: as written, `$` doubled and `${…}` unresolved, without what `extends` or other files add. */
export interface ServiceText {
  readonly image: string | undefined
  /** Null for a variable that has no value of its own (`- MESSAGE`). */
  readonly env: Readonly<Record<string, string | null>>
  readonly hasImage: boolean
  readonly hasEnvironment: boolean
}

/** Reads one service, merges and aliases resolved; undefined where the file does not define it. Throws `compose-invalid`. */
export function readService(text: string, service: string): ServiceText | undefined {
  const services = modelOf(parse(text)).services
  if (!isRecord(services) || !Object.hasOwn(services, service)) return undefined
  const node = services[service]
  const { image, environment } = isRecord(node) ? node : {}
  const env = Object.entries(envOf(environment)).map(([key, value]) => [
    key,
    value === null ? null : String(value),
  ])
  return {
    image: image === undefined || image === null ? undefined : String(image),
    env: Object.fromEntries(env) as Record<string, string | null>,
    hasImage: image !== undefined && image !== null,
    hasEnvironment: environment !== undefined && environment !== null,
  }
}

/**
 * The text with one service's image and env variables changed. Values are literal: `$` is written as `$$`, which compose
 * reads as one. What already says so stays as it is. A service whose block others merge (`&app`) is edited all the same.
 *
 * Throws `service-unknown`, `compose-invalid`, and `compose-not-editable` where no edit of this file changes that service alone.
 */
export function editService(text: string, service: string, change: ServiceChange): string {
  const source = sourceOf(text, service)
  const wanted = {
    image: change.image === undefined ? undefined : escaped(change.image),
    env: Object.fromEntries(Object.entries(change.env ?? {}).map(([key, value]) => [key, escaped(value)])),
  }
  const edits: Edit[] = []
  const missing: Entry[] = []
  const env = Object.entries(wanted.env).filter(
    ([key, value]) => envOf(source.model.environment)[key] !== value,
  )
  if (env.length > 0) editEnv(source, env, edits, missing)
  if (wanted.image !== undefined && wanted.image !== source.model.image) {
    const pair = isAlias(source.pair.value) ? undefined : ownPair(source.node, 'image')
    if (pair) edits.push(...setValue(source, pair, wanted.image, 'image'))
    else missing.push({ key: 'image', value: wanted.image })
  }
  if (missing.length > 0) edits.push(...addToService(source, missing))
  const edited = splice(text, edits)
  if (edits.length > 0) checkEdit(source, edited, wanted)
  return edited
}

/** The number of the line at an offset, from 1. */
export function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** A key that the service itself lacks: its image, or its environment with what it takes over from a merge. */
type Entry =
  | { readonly key: 'image'; readonly value: string }
  | { readonly key: 'environment'; readonly merge: string | undefined; readonly env: readonly EnvEntry[] }
type EnvEntry = readonly [key: string, value: string]

type Style = 'plain' | 'single' | 'double'

/** The file, and the service in it: as a node of the text, and as what that means. */
interface Source {
  readonly text: string
  readonly document: Document.Parsed
  readonly all: Readonly<Record<string, unknown>>
  readonly service: string
  readonly pair: Pair
  /** The service's block; where the service is an alias, the block that it stands for. */
  readonly node: YAMLMap
  readonly model: Readonly<Record<string, unknown>>
  readonly eol: string
  readonly step: string
}

type Model = Readonly<Record<string, unknown>>

const isRecord = (value: unknown): value is Model =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

// Far more than people write, far less than a file that is made to grow beyond memory.
const ALIAS_COUNT_MAX = 10_000

function parse(text: string): Document.Parsed | undefined {
  const documents = parseAllDocuments(text, {
    merge: true,
    keepSourceTokens: true,
    prettyErrors: false,
    logLevel: 'error',
  })
  const [document, second] = documents
  if (second)
    throw new Problem(
      'compose-invalid',
      `line ${lineOf(text, second.range[0])}: a second YAML document begins`,
    )
  const fault = document?.errors[0]
  if (fault)
    throw new Problem('compose-invalid', `line ${lineOf(text, fault.pos[0])}: ${fault.message}`, {
      cause: fault,
    })
  return document
}

function modelOf(document: Document.Parsed | undefined): Model {
  try {
    const model: unknown = document?.toJS({ maxAliasCount: ALIAS_COUNT_MAX })
    return isRecord(model) ? model : {}
  } catch (cause) {
    throw new Problem('compose-invalid', (cause as Error).message, { cause })
  }
}

function sourceOf(text: string, service: string): Source {
  const document = parse(text)
  const all = modelOf(document)
  const unknown = new Problem('service-unknown', `the compose file has no service ${service}`)
  if (!document || !isRecord(all['services']) || !Object.hasOwn(all['services'], service)) throw unknown
  const root = document.contents
  const services = isMap(root) ? resolved(document, ownPair(root, 'services')?.value) : undefined
  const pair = isMap(services) ? ownPair(services, service) : undefined
  const node = resolved(document, pair?.value)
  const model = all['services'][service]
  if (!isMap(services) || !pair || !isMap(node) || !isRecord(model) || node.tag === '!reset')
    throw new Problem(
      'compose-not-editable',
      `service ${service} (line ${lineOf(text, startOf(pair?.key))}) has no block of its own`,
      { cure: `write ${service} out as a block` },
    )
  return {
    text,
    document,
    all,
    service,
    pair,
    node,
    model,
    eol: /\r?\n/.exec(text)?.[0] ?? '\n',
    step: ' '.repeat(Math.max(1, columnOf(node) - columnOf(services)) || 2),
  }
}

function editEnv(source: Source, env: readonly EnvEntry[], edits: Edit[], missing: Entry[]) {
  const { document, service, node: block, pair: own } = source
  const pair = isAlias(own.value) ? undefined : ownPair(block, 'environment')
  if (!pair) {
    missing.push({ key: 'environment', merge: inheritedEnv(source, env), env })
    return
  }
  const node = pair.value
  if (isMap(node) || isSeq(node)) {
    if (node.tag === '!reset') throw refusal(source, 'environment', pair.key, 'is reset')
    edits.push(...(isMap(node) ? editEnvMap : editEnvList)(source, node as YAMLMap & YAMLSeq, env))
  } else if (isAlias(node)) {
    if (!isMap(resolved(document, node)))
      throw refusal(
        source,
        'environment',
        node,
        `is an alias of a list, to which ${service} cannot add alone`,
      )
    edits.push(replacement(node, flowEnv(`*${node.source}`, env, 'plain')))
  } else if (isScalar(node) && node.value === null && isEmpty(node) && !block.flow) {
    const lines = blockEnv(undefined, env, 'plain', `${' '.repeat(columnOf(block))}${source.step}`)
    const at = endOfLine(source.text, endOf(pair))
    edits.push({ start: at, end: at, text: lines.map((line) => `${source.eol}${line}`).join('') })
  } else edits.push(...setText(source, pair, flowEnv(undefined, env, 'plain'), 'environment'))
}

function editEnvMap(source: Source, node: YAMLMap, env: readonly EnvEntry[]): Edit[] {
  const flow = node.flow === true
  const own = env.map(([key, value]) => ({ key, value, pair: ownPair(node, key) }))
  const sets = own.flatMap(({ key, value, pair }) => (pair ? setValue(source, pair, value, key, flow) : []))
  const valued = node.items.findLast(
    ({ key, value }) => !isMerge(key) && isScalar(value) && value.value !== null,
  )
  const style = styleOf(valued?.value)
  const keyStyle = styleOf(node.items.findLast(({ key }) => !isMerge(key))?.key)
  const added = own
    .filter(({ pair }) => !pair)
    .map(({ key, value }) => `${scalar(key, keyStyle, flow)}: ${scalar(value, style, flow)}`)
  return [...sets, ...append(source, node, added)]
}

// Of two entries for one variable compose takes the later.
function editEnvList(source: Source, node: YAMLSeq, env: readonly EnvEntry[]): Edit[] {
  const flow = node.flow === true
  const own = env.map(([key, value]) => ({
    text: `${key}=${value}`,
    item: node.items.findLast((item) => {
      const at = resolved(source.document, item)
      return isScalar(at) && at.value !== null && String(at.value).split('=', 1)[0] === key
    }),
  }))
  const sets = own.flatMap(({ text, item }) => (item ? setNode(source, item, text, 'environment', flow) : []))
  const style = styleOf(node.items.findLast((item) => isScalar(item)))
  const dash = flow ? '' : `-${gapAfterDash(source.text, node)}`
  const added = own.filter(({ item }) => !item).map(({ text }) => `${dash}${scalar(text, style, flow)}`)
  return [...sets, ...append(source, node, added)]
}

// What a new environment must take over so that the merged one's other variables stay: the anchor that it has, if any.
function inheritedEnv(source: Source, env: readonly EnvEntry[]): string | undefined {
  const wanted = new Set(env.map(([key]) => key))
  if (Object.keys(envOf(source.model.environment)).every((key) => wanted.has(key))) return undefined
  const pair = findPair(source.document, source.node, 'environment')
  const value = pair?.value
  const anchor = isAlias(value) ? value.source : isMap(value) ? value.anchor : undefined
  if (anchor !== undefined && isMap(resolved(source.document, value))) return `*${anchor}`
  throw refusal(source, 'environment', pair?.key, 'comes from a merge as a whole')
}

function addToService(source: Source, entries: readonly Entry[]): Edit[] {
  const { node, pair } = source
  const alias = isAlias(pair.value) ? pair.value : undefined
  const style = alias ? 'plain' : styleOf(node.items.findLast(({ key }) => !isMerge(key))?.key)
  const flow = node.flow === true || alias !== undefined
  const texts = entries.flatMap((entry) => {
    const key = scalar(entry.key, style, flow)
    if (entry.key === 'image') return `${key}: ${scalar(entry.value, style, flow)}`
    if (flow) return `${key}: ${flowEnv(entry.merge, entry.env, style)}`
    return [`${key}:`, ...blockEnv(entry.merge, entry.env, style, source.step)]
  })
  if (alias) return [replacement(alias, `{${[`<<: *${alias.source}`, ...texts].join(', ')}}`)]
  return append(source, node, texts)
}

function flowEnv(merge: string | undefined, env: readonly EnvEntry[], style: Style): string {
  const entries = env.map(([key, value]) => `${scalar(key, style, true)}: ${scalar(value, style, true)}`)
  return `{${[...(merge === undefined ? [] : [`<<: ${merge}`]), ...entries].join(', ')}}`
}

function blockEnv(
  merge: string | undefined,
  env: readonly EnvEntry[],
  style: Style,
  indent: string,
): string[] {
  const entries = env.map(([key, value]) => `${scalar(key, style, false)}: ${scalar(value, style, false)}`)
  return [...(merge === undefined ? [] : [`<<: ${merge}`]), ...entries].map((entry) => `${indent}${entry}`)
}

// New entries after the last one: in a block each on a line of its own, at the entries' column.
function append({ text, eol }: Source, node: YAMLMap | YAMLSeq, entries: readonly string[]): Edit[] {
  if (entries.length === 0) return []
  const last: unknown = node.items.at(-1)
  if (node.flow || last === undefined) {
    const start = last === undefined ? rangeOf(node)[0] + 1 : endOf(last)
    const gap = /[:\s]/.test(text[start - 1] ?? '') ? ' ' : ''
    return [
      { start, end: start, text: last === undefined ? entries.join(', ') : `${gap}, ${entries.join(', ')}` },
    ]
  }
  const lines = entries.map((entry) => `${' '.repeat(columnOf(node))}${entry}`)
  const end = endOf(last)
  // A block scalar ends with its line, all else within it.
  if (text[end - 1] === '\n')
    return [{ start: end, end, text: lines.map((line) => `${line}${eol}`).join('') }]
  const start = endOfLine(text, end)
  return [{ start, end: start, text: lines.map((line) => `${eol}${line}`).join('') }]
}

function setValue(source: Source, pair: Pair, value: string, key: string, flow = source.node.flow === true) {
  const node = pair.value
  if (!isScalar(node) || !isEmpty(node)) {
    if (node !== null) return setNode(source, node, value, key, flow)
  } else checkTag(source, node, key)
  return [insertion(source, pair, scalar(value, 'plain', flow))]
}

function setNode(source: Source, node: unknown, value: string, key: string, flow: boolean): Edit[] {
  if (isAlias(node)) return [replacement(node, scalar(value, 'plain', flow))]
  if (!isScalar(node)) throw refusal(source, key, node, 'is not a text')
  checkTag(source, node, key)
  const text = scalar(value, styleOf(node), flow)
  const token = node.srcToken
  if (token?.type !== 'block-scalar') return [replacement(node, text)]
  // `|` becomes the text, the lines below it go, a comment behind it stays.
  const header = token.props.find(({ type }) => type === 'block-scalar-header')
  const end = rangeOf(node)[1]
  const from = rangeOf(node)[0]
  const width = header && 'source' in header ? header.source.length : 1
  return [
    { start: from, end: from + width, text },
    { start: end - token.source.length, end, text: '' },
  ]
}

// The text of a key's value, where it is empty or null.
function setText(source: Source, pair: Pair, text: string, key: string): Edit[] {
  const node = pair.value
  if (node === null) return [insertion(source, pair, text)]
  if (!isScalar(node) || node.value !== null || node.tag !== undefined)
    throw refusal(source, key, node, 'is neither a map nor a list')
  return [isEmpty(node) ? insertion(source, pair, text) : replacement(node, text)]
}

// Any other tag makes it something else than a text, or (`!reset`) nothing at all.
function checkTag(source: Source, node: Scalar, key: string) {
  const { tag } = node
  if (tag !== undefined && tag !== 'tag:yaml.org,2002:str')
    throw refusal(source, key, node, `has the tag ${tag}`)
}

// A value for a key that has none: `KEY:`, `KEY: &anchor`, or in flow `KEY` alone.
function insertion({ text: before }: Source, pair: Pair, text: string): Edit {
  const at = endOf(pair)
  const colon = pair.value === null ? ':' : ''
  return { start: at, end: at, text: `${colon}${/\s/.test(before[at - 1] ?? '') ? '' : ' '}${text}` }
}

function replacement(node: unknown, text: string): Edit {
  const [start, end] = rangeOf(node)
  return { start, end, text }
}

// At one offset, what was found first comes first: a value before what follows it.
function splice(text: string, edits: readonly Edit[]): string {
  return edits
    .toSorted((a, b) => a.start - b.start)
    .toReversed()
    .reduce((edited, edit) => edited.slice(0, edit.start) + edit.text + edited.slice(edit.end), text)
}

// The proof that the edit did what it should, whatever form the file has: the service says the wanted, and no other changed.
function checkEdit(source: Source, edited: string, wanted: { image: string | undefined; env: Model }) {
  const { service, model, node } = source
  const image = wanted.image ?? model.image
  const isImage =
    wanted.image !== undefined &&
    (Object.keys(wanted.env).length === 0 || hasAnchor(ownPair(node, 'image')?.value))
  const key = isImage ? 'image' : 'environment'
  const at = ownPair(node, key)?.key ?? source.pair.key
  const expected = { ...model, image, environment: { ...envOf(model.environment), ...wanted.env } }
  let after: Model = {}
  try {
    after = modelOf(parse(edited))
  } catch (cause) {
    throw refusal(source, key, at, 'is in a form that cannot be edited', cause)
  }
  const mine = isRecord(after.services) ? after.services[service] : undefined
  const found = isRecord(mine) && { ...mine, image: mine.image, environment: envOf(mine.environment) }
  if (!isDeepStrictEqual(found, expected))
    throw refusal(source, key, at, 'is in a form that cannot be edited')
  if (node.anchor === undefined && !isDeepStrictEqual(others(after, service), others(source.all, service)))
    throw refusal(source, key, at, 'is shared with others by an anchor')
}

const hasAnchor = (node: unknown) => isScalar(node) && node.anchor !== undefined

// Everything that compose reads but the one service: what begins with `x-` is only there to be merged.
function others(model: Model, service: string): Model {
  const rest = Object.entries(model).filter(([key]) => !key.startsWith('x-') && key !== 'services')
  const services = Object.entries(isRecord(model.services) ? model.services : {})
  return Object.fromEntries([...rest, ['services', services.filter(([name]) => name !== service)]])
}

function refusal({ text, service }: Source, key: string, at: unknown, why: string, cause?: unknown): Problem {
  const what = key === 'image' || key === 'environment' ? key : `variable ${key}`
  return new Problem(
    'compose-not-editable',
    `service ${service}: its ${what} (line ${lineOf(text, startOf(at))}) ${why}`,
    {
      cure: `write the ${key === 'image' ? 'image' : 'environment'} of ${service} out in its own block`,
      cause,
    },
  )
}

/** An environment, map or list, as a map. */
function envOf(environment: unknown): Model {
  if (isRecord(environment)) return environment
  if (!Array.isArray(environment)) return {}
  const entries = environment.filter((item) => item !== null && typeof item !== 'object').map(String)
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf('=')
      return at < 0 ? [entry, null] : [entry.slice(0, at), entry.slice(at + 1)]
    }),
  )
}

// A function as the replacement: in a string, `$$` means one dollar.
function escaped(value: string): string {
  if (!value.isWellFormed()) throw new Problem('request-invalid', 'a value holds half a Unicode character')
  return value.replaceAll('$', () => '$$')
}

function isMerge(key: unknown): boolean {
  return isScalar(key) && (typeof key.value === 'symbol' || (key.value === '<<' && key.type === 'PLAIN'))
}

function ownPair(map: YAMLMap, name: string): Pair | undefined {
  return map.items.find(({ key }) => isScalar(key) && !isMerge(key) && String(key.value) === name)
}

// A key of the map itself, else of what it merges, in compose's order.
function findPair(document: Document.Parsed, map: YAMLMap, name: string): Pair | undefined {
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

function resolved(document: Document.Parsed, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : node
}

type Range = readonly [start: number, end: number, ...rest: number[]]

// Every node that was parsed has a range; the types also allow for nodes that were made.
function rangeOf(node: unknown): Range {
  const range = (node as { range?: Range | null } | null | undefined)?.range
  if (!range) throw new TypeError('a node of a parsed document has no range')
  return range
}

function startOf(node: unknown): number {
  return (node as { range?: Range | null } | null | undefined)?.range?.[0] ?? 0
}

// Where the last character of an item stands, without the comments and lines behind it.
function endOf(item: unknown): number {
  if (isPair(item)) return endOfPair(item)
  if ((isMap(item) || isSeq(item)) && !item.flow && item.items.length > 0) return endOf(item.items.at(-1))
  return rangeOf(item)[1]
}

// The library places a missing value behind the comment; it belongs behind the colon, tag or anchor.
function endOfPair(pair: Pair): number {
  if (pair.value !== null && !(isScalar(pair.value) && isEmpty(pair.value))) return endOf(pair.value)
  const signs = (pair.srcToken?.sep ?? []).filter(({ type }) => /^(map-value-ind|tag|anchor)$/.test(type))
  const last = signs.at(-1)
  return last ? last.offset + last.source.length : endOf(pair.key)
}

function isEmpty(node: unknown): boolean {
  const [start, end] = rangeOf(node)
  return start === end
}

function endOfLine(text: string, offset: number): number {
  const end = text.indexOf('\n', offset)
  if (end < 0) return text.length
  return end > offset && text[end - 1] === '\r' ? end - 1 : end
}

function columnOf(node: YAMLMap | YAMLSeq): number {
  const token = node.srcToken
  return token && 'indent' in token ? token.indent : 0
}

function gapAfterDash(text: string, node: YAMLSeq): string {
  const token = node.srcToken
  const item = token?.type === 'block-seq' ? token.items.findLast(({ value }) => value) : undefined
  const dash = item?.start.find(({ type }) => type === 'seq-item-ind')
  return (dash && /^[ \t]+(?=\S)/.exec(text.slice(dash.offset + 1))?.[0]) || ' '
}

function styleOf(node: unknown): Style {
  const type = isScalar(node) ? (node as Scalar).type : undefined
  return type === 'QUOTE_SINGLE' ? 'single' : type === 'QUOTE_DOUBLE' ? 'double' : 'plain'
}

/** The value as a YAML scalar that is this string for every parser: in the wanted style where that can hold it. */
function scalar(value: string, style: Style, isInFlow: boolean): string {
  if (style === 'double' || !isPrintable(value)) return `"${value.replace(UNSAFE_IN_DOUBLE, escapedChar)}"`
  if (style === 'plain' && isPlain(value, isInFlow)) return value
  return `'${value.replaceAll("'", "''")}'`
}

// compose's parser refuses other characters unless they are escaped, and a line break would be folded.
const UNPRINTABLE =
  '[^\\t\\x20-\\x7E\\xA0-\\u2027\\u202A-\\uD7FF\\uE000-\\uFEFE\\uFF00-\\uFFFD\\u{10000}-\\u{10FFFF}]'
const UNSAFE_IN_DOUBLE = new RegExp(`["\\\\\\t]|${UNPRINTABLE}`, 'gu')
const isPrintable = (value: string) => !new RegExp(UNPRINTABLE, 'u').test(value)

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
}

function escapedChar(char: string): string {
  return ESCAPES[char] ?? `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
}

// Narrower than YAML: what some parser of 1.1 or 1.2 takes for a number, a date, a truth or a null is quoted.
function isPlain(value: string, isInFlow: boolean): boolean {
  if (!/^[^\s\-?:,[\]{}#&*!|>'"%@`=<~.+](?:.*\S)?$/u.test(value)) return false
  if (/[^\S ]|:(?:\s|$)|\s#/u.test(value)) return false
  if (isInFlow && /[,[\]{}?]/.test(value)) return false
  return (
    !/^(?:null|true|false|yes|no|on|off|y|n)$/i.test(value) && !/^\d[\da-foxzt_A-FOXZT.:,+\- ]*$/.test(value)
  )
}
