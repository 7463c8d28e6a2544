// nginx's configuration as the roll needs it: which servers an upstream has, the text in which some of them are out, and the
// settings that decide whether a reload loses requests. Text in, text out; whoever calls reads and writes the files.

import { dirname, resolve } from 'node:path/posix'
import { Problem } from '../../shared/problems.ts'
import { lineAt, parseTree, type Directive } from './tokens.ts'

export interface ConfigFile {
  readonly path: string
  readonly text: string
}

export interface UpstreamServer {
  /** As written. */
  readonly address: string
  /** Without the brackets of IPv6; empty for a socket or a variable, which have no port either: 0. */
  readonly host: string
  readonly port: number
  readonly isDown: boolean
  readonly isBackup: boolean
  readonly line: number
}

export interface Upstream {
  readonly name: string
  readonly context: 'http' | 'stream'
  readonly file: string
  readonly line: number
  /** Those that stand in the block itself, which editUpstream can take out. */
  readonly servers: readonly UpstreamServer[]
  /** `file:line server address` of those that an `include` inside the block adds: no edit of `file` reaches them. */
  readonly elsewhere: readonly string[]
}

export interface Listen {
  /** Without the brackets of IPv6; `*` for a port alone. */
  readonly address: string
  readonly port: number
  readonly tls: boolean
  readonly names: readonly string[]
  readonly isDefault: boolean
}

export interface NginxSettings {
  /** The largest that is set anywhere: how long a worker that shuts down may still take a request. */
  readonly keepaliveMinTimeoutMs: number | undefined
  readonly workerShutdownTimeoutMs: number | undefined
  /** Where a plain HTTP client can connect by TCP: no sockets, no QUIC, nothing that wants the PROXY protocol. */
  readonly listens: readonly Listen[]
  /** `file:line directive` of each use of a host that taking it out of that upstream does not end. */
  otherUses(host: string, exceptUpstream: string): string[]
}

/**
 * The files in the output of `nginx -T`, byte for byte. nginx writes `# configuration file PATH:`, the file, and a newline of
 * its own; what it says on stderr may come before and after.
 *
 * A comment of the user may look like such a header. It is one only where the text before it ends with a newline of nginx's
 * and nginx would take it for a whole file. What still slips through (such a comment between two blocks) cuts its file in
 * two: no half equals the file on the host, and whoever compares them before an edit refuses it.
 */
export function parseDump(output: string): ConfigFile[] {
  const text = output.replace(/(?<=\n)(?:nginx: [^\n]*(?:\n|$))+$/, '')
  const headers = [...text.matchAll(/^# configuration file (\/[^\n]*):\n/gm)].map((match) => ({
    path: match[1] ?? '',
    start: match.index,
    body: match.index + match[0].length,
  }))
  const files: ConfigFile[] = []
  for (let index = 0; index < headers.length;) {
    const header = headers[index]
    if (!header) break
    const isEnd = (end: number) => end > header.body && parseTree(text.slice(header.body, end)).isWhole
    const found = headers.findIndex((next, at) => at > index && isEnd(next.start))
    const isLast = found < 0 && isEnd(text.length)
    const next = found >= 0 ? found : isLast ? headers.length : index + 1
    const body = text.slice(header.body, headers[next]?.start)
    files.push({ path: header.path, text: body.endsWith('\n') ? body.slice(0, -1) : body })
    index = next
  }
  return files
}

/** Every upstream, in the order in which nginx reads them. The first file is the one that includes the others. */
export function findUpstreams(files: readonly ConfigFile[]): Upstream[] {
  const places = placesOf(files)
  const upstreams = places.filter(({ directive }) => directive.name === 'upstream' && directive.block)
  return upstreams.map(({ file, directive, within }) => {
    const servers = places.filter(
      (place) => place.directive.name === 'server' && place.within.at(-1) === directive,
    )
    return {
      name: directive.words[1]?.value ?? '',
      context: within[0]?.name === 'stream' ? 'stream' : 'http',
      file: file.path,
      line: lineAt(file.text, directive.start),
      servers: servers
        .filter((server) => server.file === file)
        .map((server) => serverOf(file.text, server.directive)),
      elsewhere: servers.filter((server) => server.file !== file).map(describePlace),
    }
  })
}

/**
 * The text with the servers that are out marked `down`. While one is, the others get `max_fails=0`: one failed request would
 * otherwise take the last live server out for ten seconds (GOTCHAS.md 9). With nobody to take out, the text as it is.
 * To put a server back, render again from the original text. Throws `upstream-unknown`.
 */
export function editUpstream(
  text: string,
  upstream: string,
  isOut: (server: UpstreamServer) => boolean,
): string {
  const blocks = blocksNamed(parseTree(text).directives, upstream)
  if (blocks.length === 0)
    throw new Problem('upstream-unknown', `there is no upstream ${upstream} in the file to edit`)
  const live = blocks
    .flatMap((block) => block.filter(({ name }) => name === 'server'))
    .map((directive) => ({ directive, server: serverOf(text, directive) }))
    .filter(({ server }) => !server.isDown)
    .map(({ directive, server }) => ({ directive, goes: isOut(server) }))
  if (!live.some(({ goes }) => goes)) return text
  // From the last to the first, so that the offsets before stay true.
  return live
    .toReversed()
    .reduce((edited, { directive, goes }) => (goes ? markDown : forgive)(edited, directive), text)
}

/** What decides whether a reload loses requests, where nginx listens, and who else uses a host. */
export function readSettings(files: readonly ConfigFile[]): NginxSettings {
  const places = placesOf(files)
  const times = (name: string) =>
    places
      .filter(({ directive }) => directive.name === name)
      .flatMap(({ directive }) => parseTimeMs(directive.words[1]?.value ?? '') ?? [])
  return {
    keepaliveMinTimeoutMs: largest(times('keepalive_min_timeout')),
    workerShutdownTimeoutMs: smallest(times('worker_shutdown_timeout')),
    listens: listensOf(places),
    otherUses: (host, exceptUpstream) => otherUses(places, host, exceptUpstream),
  }
}

const largest = (values: readonly number[]) => (values.length === 0 ? undefined : Math.max(...values))
const smallest = (values: readonly number[]) => (values.length === 0 ? undefined : Math.min(...values))

/** `90s`, `1h30m`, `500ms`; a bare number is seconds. Undefined for what is no time. */
export function parseTimeMs(text: string): number | undefined {
  if (!/^(?:\d+(?:ms|[smhdwMy])?\s*)+$/.test(text)) return undefined
  const parts = text.matchAll(/(\d+)(ms|[smhdwMy])?/g)
  return [...parts].reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS_MS[unit ?? 's'] ?? 0), 0)
}

// No port is higher; a range in the configuration can only be a mistake then.
const PORTS_MAX = 65_536
const DAY_MS = 86_400_000
const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: DAY_MS,
  w: 7 * DAY_MS,
  M: 30 * DAY_MS,
  y: 365 * DAY_MS,
}

/** A directive with its file and the blocks around it, outermost first and across includes. */
interface Place {
  readonly file: ConfigFile
  readonly directive: Directive
  readonly within: readonly Directive[]
}

// A file that nobody includes is read as if `http` did: the caller may have only that one.
function placesOf(files: readonly ConfigFile[]): Place[] {
  const trees = new Map(files.map((file) => [file, parseTree(file.text).directives]))
  const directory = dirname(files[0]?.path ?? '/')
  const places: Place[] = []
  const seen = new Set<ConfigFile>()

  const visit = (
    file: ConfigFile,
    directives: readonly Directive[],
    within: Directive[],
    trail: ConfigFile[],
  ) => {
    seen.add(file)
    for (const directive of directives) {
      places.push({ file, directive, within })
      if (directive.block) visit(file, directive.block, [...within, directive], trail)
      if (directive.name !== 'include') continue
      const isIncluded = globOf(resolve(directory, directive.words[1]?.value ?? ''))
      for (const other of files)
        if (isIncluded(other.path) && !trail.includes(other))
          visit(other, trees.get(other) ?? [], within, [...trail, other])
    }
  }
  for (const file of files) if (!seen.has(file)) visit(file, trees.get(file) ?? [], [], [file])
  return places
}

// As glob(3): a star stops at a slash.
function globOf(pattern: string): (path: string) => boolean {
  const source = pattern.replace(/\[!?[^\]/]+\]|[^]/g, (part) => {
    if (part === '*') return '[^/]*'
    if (part === '?') return '[^/]'
    if (part.length > 1) return part.replace('[!', '[^').replaceAll('\\', '\\\\')
    return part.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&')
  })
  const expression = new RegExp(`^${source}$`)
  return (path) => expression.test(path)
}

function blocksNamed(directives: readonly Directive[], upstream: string): (readonly Directive[])[] {
  return directives.flatMap(({ name, words, block }) => {
    if (!block) return []
    return name === 'upstream' && words[1]?.value === upstream ? [block] : blocksNamed(block, upstream)
  })
}

function serverOf(text: string, { words, start }: Directive): UpstreamServer {
  const address = words[1]?.value ?? ''
  const parameters = words.slice(2).map(({ value }) => value)
  return {
    address,
    ...hostAndPort(address),
    isDown: parameters.includes('down'),
    isBackup: parameters.includes('backup'),
    line: lineAt(text, start),
  }
}

function hostAndPort(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:$]+))(?::(\d+))?$/.exec(address)
  if (!match || address.startsWith('unix:')) return { host: '', port: 0 }
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3] ?? 80) }
}

function markDown(text: string, { end }: Directive): string {
  return `${text.slice(0, end)} down${text.slice(end)}`
}

function forgive(text: string, { words, end }: Directive): string {
  const limits = words.slice(2).filter(({ value }) => value.startsWith('max_fails='))
  if (limits.length === 0) return `${text.slice(0, end)} max_fails=0${text.slice(end)}`
  return limits.reduceRight(
    (edited, word) => `${edited.slice(0, word.start)}max_fails=0${edited.slice(word.end)}`,
    text,
  )
}

function listensOf(places: readonly Place[]): Listen[] {
  const servers = places.filter(
    ({ directive, within }) =>
      directive.name === 'server' &&
      directive.block &&
      !within.some(({ name }) => /^(stream|mail)$/.test(name)),
  )
  const listens = servers.flatMap(({ directive: server }) => {
    const inside = places.filter(({ within }) => within.at(-1) === server).map(({ directive }) => directive)
    const named = (name: string) => inside.filter((directive) => directive.name === name)
    const names = named('server_name').flatMap(({ words }) => words.slice(1).map(({ value }) => value))
    const isOn = named('ssl').some(({ words }) => words[1]?.value === 'on')
    const written = named('listen').map(({ words }) => words.slice(1).map(({ value }) => value))
    return (written.length === 0 ? [['80']] : written).flatMap(([listen = '', ...flags]) => {
      if (flags.includes('quic') || flags.includes('proxy_protocol')) return []
      const { address, ports } = parseListen(listen)
      const tls = isOn || flags.includes('ssl')
      const isDefault = flags.includes('default_server') || flags.includes('default')
      return ports.map((port) => ({ address, port, tls, names, isDefault }))
    })
  })
  // Where no server of an address and port says that it is the default, the first is.
  const keyOf = ({ address, port }: Listen) => `${address === '0.0.0.0' ? '*' : address} ${port}`
  const declared = new Set(listens.filter(({ isDefault }) => isDefault).map(keyOf))
  return listens.map((listen) => {
    if (declared.has(keyOf(listen))) return listen
    declared.add(keyOf(listen))
    return { ...listen, isDefault: true }
  })
}

function parseListen(listen: string): { address: string; ports: number[] } {
  if (listen.startsWith('unix:')) return { address: listen, ports: [] }
  const match = /^(?:(\[[^\]]*\]|[^:]*):)?(\d+)(?:-(\d+))?$/.exec(listen)
  const address = (match ? (match[1] ?? '*') : listen).replace(/^\[(.*)\]$/, '$1')
  if (!match) return { address, ports: [80] }
  const [first, last] = [Number(match[2]), Number(match[3] ?? match[2])]
  const count = Math.min(Math.max(last - first + 1, 0), PORTS_MAX)
  return { address, ports: Array.from({ length: count }, (_, index) => first + index) }
}

function otherUses(places: readonly Place[], host: string, exceptUpstream: string): string[] {
  const isHost = (text: string) => text.toLowerCase() === host.toLowerCase()
  // `proxy_pass http://app1` means the upstream of that name where there is one.
  const isUpstream = places.some(
    ({ directive: { name, words, block } }) => name === 'upstream' && block && isHost(words[1]?.value ?? ''),
  )
  const uses = places.filter(({ directive: { name, words, block }, within }) => {
    if (block) return false
    const around = within.at(-1)
    if (around?.name === 'upstream')
      return (
        name === 'server' &&
        around.words[1]?.value !== exceptUpstream &&
        isHost(hostAndPort(words[1]?.value ?? '').host)
      )
    const isChoice = name === 'set' || around?.name === 'map' || around?.name === 'split_clients'
    if (isUpstream || !(isChoice || /^(proxy|fastcgi|grpc|uwsgi|scgi|memcached)_pass$/.test(name)))
      return false
    return isHost(targetOf((isChoice ? words.at(-1) : words[1])?.value ?? ''))
  })
  return [...new Set(uses.map(describePlace))]
}

// The host in `http://app1:3000/path`, `app1:9000` or `app1`; nothing where a variable is a part of it.
function targetOf(value: string): string {
  const match = /^(?:\w+:\/\/)?(?:\[([^\]]*)\]|([^\s:/?$]+))(?::\d+(?=[/?$]|$)|(?=[/?]|$))/.exec(value)
  return match?.[1] ?? match?.[2] ?? ''
}

function describePlace({ file, directive }: Place): string {
  const words = directive.words.map(({ value }) => value).join(' ')
  return `${file.path}:${lineAt(file.text, directive.start)} ${words}`
}
