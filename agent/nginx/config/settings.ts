// What else of nginx's configuration a roll must know: the settings that decide whether a reload loses requests, where nginx
// listens, and who uses a host past the upstream.

import { readAccessLogs, type AccessLogs } from './access-log.ts'
import type { ConfigFile } from './dump.ts'
import { PASS, targetOf } from './pass.ts'
import { describeLocated, directlyIn, directivesOf, type Located } from './directives.ts'
import type { Directive } from './tokens.ts'
import { hostAndPort } from './upstream.ts'

export interface Listen {
  /** Without the brackets of IPv6; `*` for a port alone. */
  readonly address: string
  readonly port: number
  readonly tls: boolean
  readonly names: readonly string[]
  /** Whether this server gets the requests for names that no server of this address and port has. */
  readonly isDefault: boolean
  /** The block that it stands in. */
  readonly server: Directive
}

export interface HostUse {
  readonly host: string
  /** The upstream that it is a server of. */
  readonly upstream: string | undefined
  /** Whether nginx resolves the host as it loads its configuration, and refuses all of it where the host has no address. */
  readonly isAtLoad: boolean
  /** `file:line directive` */
  readonly where: string
}

/** Plain data: it outlives a crash of the agent as JSON. */
export interface NginxSettings {
  /** The largest that is set anywhere: how long a worker that shuts down may still take a request. */
  readonly keepaliveMinTimeoutMs: number | undefined
  readonly workerShutdownTimeoutMs: number | undefined
  /** Where the requests to the upstream are noted, with their server and its status. */
  readonly accessLogs: AccessLogs
  /** All places in the configuration that may send a request to a host. */
  readonly uses: readonly HostUse[]
}

/** What decides whether a reload loses requests, what nginx notes of an upstream, and who else uses a host. */
export function readSettings(files: readonly ConfigFile[], upstream: string): NginxSettings {
  const located = directivesOf(files)
  const times = (name: string) =>
    located
      .filter(({ directive }) => directive.name === name)
      .flatMap(({ directive }) => parseTimeMs(directive.words[1]?.value ?? '') ?? [])
  return {
    keepaliveMinTimeoutMs: largest(times('keepalive_min_timeout')),
    workerShutdownTimeoutMs: smallest(times('worker_shutdown_timeout')),
    accessLogs: readAccessLogs(files, upstream),
    uses: readUses(located),
  }
}

const largest = (values: readonly number[]) => (values.length === 0 ? undefined : Math.max(...values))
const smallest = (values: readonly number[]) => (values.length === 0 ? undefined : Math.min(...values))

/** `90s`, `1h30m`, `500ms`; a bare number is seconds. Undefined for what is no time. */
export function parseTimeMs(text: string): number | undefined {
  // A digit at a time: were it `\d+`, a long number that is no time would take longer than anybody waits.
  if (!/^(?:\d(?:ms|[smhdwMy])?\s*)+$/.test(text)) return undefined
  const parts = text.matchAll(/(\d+)(ms|[smhdwMy])?/g)
  return [...parts].reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS_MS[unit ?? 's'] ?? 0), 0)
}

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

/** Where a plain HTTP client can connect by TCP: no sockets, no QUIC, nothing that wants the PROXY protocol. */
export function listensOf(located: readonly Located[]): Listen[] {
  const servers = located.filter(
    ({ directive, within }) =>
      directive.name === 'server' &&
      directive.block &&
      !within.some(({ name }) => ['stream', 'mail'].includes(name)),
  )
  const listens = servers.flatMap(({ directive: server }) => {
    const inside = directlyIn(located, server)
    const named = (name: string) => inside.filter((directive) => directive.name === name)
    const names = named('server_name').flatMap(({ words }) => words.slice(1).map(({ value }) => value))
    const isOn = named('ssl').some(({ words }) => words[1]?.value === 'on')
    const written = named('listen').map(({ words }) => words.slice(1).map(({ value }) => value))
    return (written.length === 0 ? [['80']] : written).flatMap(([listen = '', ...flags]) => {
      if (flags.includes('quic') || flags.includes('proxy_protocol')) return []
      const { address, ports } = parseListen(listen)
      const tls = isOn || flags.includes('ssl')
      const isDefault = flags.includes('default_server') || flags.includes('default')
      return ports.map((port) => ({ address, port, tls, names, isDefault, server }))
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

// There are no more ports than this: a longer range is a mistake, and is cut off here.
const PORTS_MAX = 65_536

function parseListen(listen: string): { address: string; ports: number[] } {
  if (listen.startsWith('unix:')) return { address: listen, ports: [] }
  const match = /^(?:(\[[^\]]*\]|[^:]*):)?(\d+)(?:-(\d+))?$/.exec(listen)
  const address = (match ? (match[1] ?? '*') : listen).replaceAll(/[[\]]/g, '')
  if (!match) return { address, ports: [80] }
  const [first, last] = [Number(match[2]), Number(match[3] ?? match[2])]
  const count = Math.min(Math.max(last - first + 1, 0), PORTS_MAX)
  return { address, ports: Array.from({ length: count }, (_, index) => first + index) }
}

/** The uses of a host that remain when it is taken out of that upstream. */
export function usesPast(
  { uses }: Pick<NginxSettings, 'uses'>,
  host: string,
  exceptUpstream: string,
): readonly HostUse[] {
  return uses.filter((use) => isSameHost(use.host, host) && use.upstream !== exceptUpstream)
}

const isSameHost = (one: string, other: string) => one.toLowerCase() === other.toLowerCase()

function readUses(located: readonly Located[]): HostUse[] {
  const upstreams = located.flatMap(({ directive: { name, words, block } }) =>
    name === 'upstream' && block ? [words[1]?.value ?? ''] : [],
  )
  const uses = located.flatMap((item): HostUse[] => {
    const use = useIn(item)
    // `proxy_pass http://app1` means the upstream of that name where there is one.
    const isUpstream =
      use?.upstream === undefined && upstreams.some((name) => isSameHost(name, use?.host ?? ''))
    return use && use.host !== '' && !isUpstream ? [{ ...use, where: describeLocated(item) }] : []
  })
  // A file that is included twice says it twice.
  return [...new Map(uses.map((use) => [use.where, use])).values()]
}

function useIn({ directive: { name, words }, within }: Located): Omit<HostUse, 'where'> | undefined {
  const around = within.at(-1)
  if (around?.name === 'upstream') {
    if (name !== 'server') return undefined
    const { host } = hostAndPort(words[1]?.value ?? '')
    return { host, upstream: around.words[1]?.value ?? '', isAtLoad: true }
  }
  // A variable's value is resolved when a request comes.
  const isChoice = name === 'set' || around?.name === 'map' || around?.name === 'split_clients'
  if (!isChoice && !PASS.test(name)) return undefined
  const value = (isChoice ? words.at(-1) : words[1])?.value ?? ''
  return { host: targetOf(value), upstream: undefined, isAtLoad: !isChoice }
}
