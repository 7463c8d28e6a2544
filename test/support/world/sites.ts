// The virtual hosts of nginx, read without a look at agent/nginx: who listens where, by which names, and what becomes of a request.

import { memoized } from '../memo.ts'

export interface Site {
  readonly listens: readonly Listen[]
  readonly names: readonly string[]
  /** What the server itself answers, before any location. */
  readonly always: Location | undefined
  readonly locations: readonly Location[]
  /** Whether a second request within a second is turned away (`limit_req`). */
  readonly isLimited: boolean
}

interface Listen {
  /** Without the brackets of IPv6; `*` for all of IPv4. */
  readonly address: string
  readonly port: number
  readonly tls: boolean
  readonly isDefault: boolean
}

export interface Location {
  readonly path: string
  readonly isExact: boolean
  readonly action: Pass | { readonly status: number } | { readonly fault: 'ECONNRESET' } | undefined
  /** What the app is told as its Host, as written. */
  readonly host: string | undefined
  readonly readTimeoutMs: number
}

export interface Pass {
  readonly pass: string
  readonly tls: boolean
  /** Whether nginx shows a certificate of its own (`proxy_ssl_certificate`). */
  readonly hasCertificate: boolean
}

interface Directive {
  readonly words: readonly string[]
  readonly block: readonly Directive[] | undefined
}

/** nginx's own default. */
const READ_TIMEOUT_MS = 60_000

/** The servers of all `http` blocks. Worlds by the thousand read the same few texts. */
export const readSites = memoized((text: string): readonly Site[] => {
  const bare = text.replace(/#[^\n]*/g, '')
  const tokens = bare.match(/"[^"]*"|'[^']*'|[{};]|[^\s{};]+/g) ?? []
  const all = directivesOf(tokens.values())
  const inHttp = all.flatMap((one) => (one.words[0] === 'http' ? (one.block ?? []) : [one]))
  return inHttp.flatMap(({ words, block }) => (words[0] === 'server' && block ? siteOf(block) : []))
})

function directivesOf(tokens: Iterator<string>): Directive[] {
  const found: Directive[] = []
  let words: string[] = []
  for (let next = tokens.next(); next.done !== true && next.value !== '}'; next = tokens.next()) {
    if (next.value !== ';' && next.value !== '{') {
      words.push(next.value.replace(/^(["'])(.*)\1$/, '$2'))
      continue
    }
    found.push({ words, block: next.value === '{' ? directivesOf(tokens) : undefined })
    words = []
  }
  return found
}

function valuesOf(block: readonly Directive[], name: string): (readonly string[])[] {
  return block.filter(({ words }) => words[0] === name).map(({ words }) => words.slice(1))
}

function siteOf(server: readonly Directive[]): Site {
  const listens = valuesOf(server, 'listen')
  const locations = server.filter(({ words }) => words[0] === 'location')
  return {
    listens: (listens.length > 0 ? listens : [['80']]).map(listenOf),
    names: valuesOf(server, 'server_name').flat(),
    isLimited: [server, ...locations.map(({ block }) => block ?? [])].some(
      (block) => valuesOf(block, 'limit_req').length > 0,
    ),
    always: valuesOf(server, 'return').length > 0 ? locationOf([], server, server) : undefined,
    locations: locations.map(({ words, block = [] }) => locationOf(words.slice(1), block, server)),
  }
}

function listenOf([where = '', ...flags]: readonly string[]): Listen {
  const [, address, port] = /^(?:(\[[^\]]*\]|[^:]*):)?(\d+)$/.exec(where) ?? [undefined, where, '80']
  return {
    address: (address ?? '*').replace(/^\[(.*)\]$/, '$1').replace('0.0.0.0', '*'),
    port: Number(port),
    tls: flags.includes('ssl'),
    isDefault: flags.includes('default_server'),
  }
}

function locationOf(
  words: readonly string[],
  block: readonly Directive[],
  server: readonly Directive[],
): Location {
  const value = (name: string) => valuesOf(block, name)[0] ?? valuesOf(server, name)[0]
  const headers = [...valuesOf(block, 'proxy_set_header'), ...valuesOf(server, 'proxy_set_header')]
  const status = Number(valuesOf(block, 'return')[0]?.[0])
  const written = block.find(({ words: [name = ''] }) => name.endsWith('_pass'))?.words[1]
  const pass = valuesOf(block, 'set').find(([name]) => name === written)?.[1] ?? written
  const seconds = /^(\d+)s?$/.exec(value('proxy_read_timeout')?.[0] ?? '')?.[1]
  return {
    path: words.at(-1) ?? '/',
    isExact: words[0] === '=',
    action:
      status === 444
        ? { fault: 'ECONNRESET' }
        : status > 0
          ? { status }
          : pass !== undefined
            ? {
                pass: pass.replace(/^\w+:\/\//, '').replace(/\/.*$/, ''),
                tls: pass.startsWith('https:'),
                hasCertificate: value('proxy_ssl_certificate') !== undefined,
              }
            : valuesOf(block, 'stub_status').length > 0
              ? { status: 200 }
              : undefined,
    host: headers.find(([name]) => name?.toLowerCase() === 'host')?.[1],
    readTimeoutMs: seconds === undefined ? READ_TIMEOUT_MS : Number(seconds) * 1000,
  }
}

/** The hosts that nginx must find when it loads: those of passes that name no upstream. */
export function hostsOf(sites: readonly Site[], upstreams: readonly string[]): string[] {
  const passes = sites.flatMap(({ locations }) =>
    locations.flatMap(({ action }) => (action && 'pass' in action ? [action.pass] : [])),
  )
  const hosts = passes.map((pass) => pass.replace(/:\d+$/, ''))
  return hosts.filter((host) => !host.includes('$') && !upstreams.includes(host))
}

/** Who is asked at an address: whether by TLS, and which site; undefined where nobody listens. */
export function siteAt(
  sites: readonly Site[],
  { ip, port, host }: { ip: string; port: number; host: string },
): { site: Site; tls: boolean } | undefined {
  const wildcard = ip.includes(':') ? '::' : '*'
  const at = (address: string) =>
    sites.flatMap((site) =>
      site.listens
        .filter((listen) => listen.port === port && listen.address === address)
        .map((listen) => ({ site, listen })),
    )
  // A socket of that very address goes before one of all addresses.
  const there = at(ip).length > 0 ? at(ip) : at(wildcard)
  const byName = there.find(({ site }) => site.names.some((name) => isNamed(name, host)))
  const found = byName ?? there.find(({ listen }) => listen.isDefault) ?? there[0]
  return found && { site: found.site, tls: there.some(({ listen }) => listen.tls) }
}

function isNamed(name: string, host: string): boolean {
  if (name.startsWith('~')) return new RegExp(name.slice(1)).test(host)
  if (name.startsWith('*.')) return host.endsWith(name.slice(1))
  return name === host
}

/** The location that answers: an exact one, else the longest that the path begins with. */
export function locationFor({ always, locations }: Site, path: string): Location | undefined {
  if (always) return always
  const fitting = locations.filter((one) => (one.isExact ? one.path === path : path.startsWith(one.path)))
  return (
    fitting.find(({ isExact }) => isExact) ?? fitting.toSorted((a, b) => b.path.length - a.path.length)[0]
  )
}
