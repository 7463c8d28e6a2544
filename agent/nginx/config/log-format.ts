// Reads lines by their log_format: which servers of an upstream a request was sent to, and what each answered. Lines hold what clients send. So no
// expression here may take more than linear time, and a format in which a client could write what looks like another field is refused.

import type { Attempt, Unusable } from '../../roll/proxy.ts'

export interface LogFormat {
  readonly name: string
  readonly escape: 'default' | 'json' | 'none'
  readonly text: string
}

/** The attempts in a line, none for what nginx answered by itself; undefined for a line of another format. */
export type ParseLine = (line: string) => readonly Attempt[] | undefined

const ADDRESS = 'upstream_addr'
/** The variables that tell what a server answered, the best first. `status` is what the client got: the answer of the last server that was asked. */
const STATUSES = ['upstream_status', 'status'] as const
/** The status of a server that nginx gave up for the next one, where the format tells only the last one's. */
const BAD_GATEWAY = 502
/** Longer lines are not read: by default nginx takes no request line or header of more than 32 KiB. */
const LINE_CHARS_MAX = 64 * 1024

/** The reader of a format's lines. */
export function parserOf(format: LogFormat): ParseLine | Unusable {
  const items = itemsOf(format.text)
  const isThere = (name: string) => items.some((item) => isVariable(item, name))
  const status = STATUSES.find(isThere)
  if (!isThere(ADDRESS) || status === undefined)
    return {
      unusable: `the log format ${format.name} has no $${isThere(ADDRESS) ? STATUSES[0] : ADDRESS}`,
    }
  if (format.escape === 'json' && items.some((item) => 'literal' in item && item.literal.includes('\\')))
    return { unusable: `the log format ${format.name} has a backslash of its own` }

  const parts = format.escape === 'none' ? [items] : splitAtQuotes(items)
  const read: { index: number; pattern: RegExp }[] = []
  for (const name of [ADDRESS, status]) {
    const index = parts.findIndex((part) => part.some((item) => isVariable(item, name)))
    const pattern = patternOf(parts[index] ?? [], name)
    if ('unusable' in pattern) return { unusable: `in the log format ${format.name}, ${pattern.unusable}` }
    read.push({ index, pattern })
  }

  return (line) => {
    const texts = line.length > LINE_CHARS_MAX ? [] : partsOf(line, format.escape, parts.length + 1)
    if (texts.length !== parts.length) return undefined
    const [addresses, statuses] = read.map(({ index, pattern }) => pattern.exec(texts[index] ?? '')?.[1])
    if (addresses === undefined || statuses === undefined) return undefined
    return attemptsOf(addresses, statuses, status === 'status')
  }
}

function attemptsOf(addresses: string, statuses: string, isOfLast: boolean): readonly Attempt[] | undefined {
  const servers = listOf(addresses).filter((address) => address !== '-')
  const answers = listOf(statuses).map((text) => (/^[1-9]\d\d$/.test(text) ? Number(text) : undefined))
  if (servers.length === 0) return []
  const all = isOfLast ? [...servers.slice(1).map(() => BAD_GATEWAY), answers[0]] : answers
  if (servers.length !== all.length) return undefined
  return servers.map((address, index) => ({ address, status: all[index] }))
}

// A comma stands between servers that were tried in turn, a colon before those after an internal redirect. A colon may also end the list.
function listOf(text: string): string[] {
  return text.split(/, | : /).filter((entry) => entry !== '')
}

type Item = { readonly variable: string } | { readonly literal: string }

function itemsOf(text: string): Item[] {
  const items = text.matchAll(/\$\{(\w+)\}|\$(\w+)|[^$]+|\$/g)
  return [...items].map(([whole, braced, bare]) => {
    const variable = braced ?? bare
    return variable === undefined ? { literal: whole } : { variable }
  })
}

function isVariable(item: Item, name: string): boolean {
  return 'variable' in item && item.variable === name
}

// nginx escapes the quotes in what clients send, so nobody can forge those of the format. These cut a line into its parts.
function splitAtQuotes(items: readonly Item[]): Item[][] {
  let part: Item[] = []
  const parts = [part]
  for (const item of items) {
    if ('variable' in item) part.push(item)
    else
      for (const [index, literal] of item.literal.split('"').entries()) {
        if (index > 0) parts.push((part = []))
        part.push({ literal })
      }
  }
  return parts
}

// The parts of a line, at most `limit`: one more than the format has shows that the line is not of this format.
function partsOf(line: string, escape: LogFormat['escape'], limit: number): string[] {
  if (escape === 'none') return [line]
  // This way of escaping writes a client's quote as \x22, so every quote is the format's.
  if (escape === 'default') return line.split('"', limit)
  const parts = `"${line}`.matchAll(/"((?:[^"\\]|\\[^])*)/g)
  return [...parts.take(limit)].map(([, part = '']) => part)
}

// An expression that catches the value of one variable of a part. It reads from the left, up to the first variable that may hold anything at all.
function patternOf(part: readonly Item[], wanted: string): RegExp | Unusable {
  let source = '^'
  let isFound = false
  for (const [index, item] of part.entries()) {
    if ('literal' in item) {
      source += item.literal.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
      continue
    }
    const next = part[index + 1] ?? { literal: '' }
    const shape = 'variable' in next ? undefined : shapeOf(item.variable, next.literal)
    if (shape === undefined && isFound) return new RegExp(source)
    if (shape === undefined)
      return { unusable: `nobody can tell where $${item.variable} ends: put it in quotes of its own` }
    const isWanted: boolean = item.variable === wanted && !isFound
    source += isWanted ? `(${shape})` : shape
    isFound ||= isWanted
  }
  return new RegExp(`${source}$`)
}

/** Variables that no client can make longer than a word: numbers, names and addresses that nginx has found out or checked by itself. */
const NUMBERS =
  wordSet(`status body_bytes_sent bytes_sent request_time request_length msec pid connection connection_requests
  connection_time server_port remote_port gzip_ratio`)
const NUMBER_LISTS =
  wordSet(`upstream_status upstream_response_time upstream_connect_time upstream_header_time
  upstream_response_length upstream_bytes_received upstream_bytes_sent upstream_queue_time`)
const WORDS =
  wordSet(`remote_addr realip_remote_addr server_addr server_name hostname host http_host scheme request_method
  server_protocol request_id time_iso8601 pipe https proxy_host proxy_port upstream_cache_status ssl_protocol ssl_cipher`)

function wordSet(text: string): ReadonlySet<string> {
  return new Set(text.split(/\s+/))
}

// The shape of a value that ends at the literal after it. The two have no character in common, so a line can be read in one way only. Undefined where
// the end is not known.
function shapeOf(variable: string, next: string): string | undefined {
  const first = next.slice(0, 1)
  const isNumber = NUMBERS.has(variable) || NUMBER_LISTS.has(variable)
  if ((isNumber ? /[\d.-]/ : /[\w.:/[-]/).test(first)) return undefined
  if (NUMBERS.has(variable)) return '[\\d.-]*'
  if (variable === 'time_local') return '[^ "]+ [+-]\\d{4}'
  const end = first === '' ? '' : `\\${first}`
  if (WORDS.has(variable)) return `[^ "${end}]*`
  if (/^(?:, | : )/.test(next)) return undefined
  if (NUMBER_LISTS.has(variable)) return listShape('[\\d.-]+')
  return variable === ADDRESS
    ? listShape(`(?:\\[[^ \\]]*\\](?::\\d+)?|[^ ,"[${end}][^ ,"${end}]*)`)
    : undefined
}

function listShape(entry: string): string {
  return `(?:${entry}(?:(?:, | : )${entry})*(?: : )?)?(?!, | : )`
}
