// How requests come to an upstream: the protocol that nginx speaks to its servers, the Host that they see, and the doors that lead there. Other sites
// of the same nginx are left out.

import { encoded, isLoopback, type Approach, type Door } from '../../roll/gates/door.ts'
import type { ConfigFile } from './dump.ts'
import { PASS, targetOf } from './pass.ts'
import { directlyIn, directivesOf, type Located } from './directives.ts'
import { listensOf, type Listen } from './settings.ts'
import type { Directive } from './tokens.ts'

const HOST = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/i
/** How many doors are asked: each costs some requests in every roll, and further ones tell no more. */
const DOORS_MAX = 4
/** A label for a host that a wildcard lets through. */
const ANY_LABEL = 'www'

/** How requests come to an upstream. `path`: what to ask for, wherever a location allows it. `host`: the Host to ask with, in place of the inferred ones. */
export function approachOf(
  files: readonly ConfigFile[],
  upstream: string,
  { path = '/', host }: { path?: string; host?: string | undefined } = {},
): Approach {
  const located = directivesOf(files)
  const passes = passesTo(located, upstream)
  const listens = listensOf(located)
  const servers = [...new Set(passes.flatMap(({ within }) => within.find(isServer) ?? []))]
  const namesOf = (server: Directive) =>
    directlyIn(located, server)
      .filter(({ name }) => name === 'server_name')
      .flatMap(({ words }) => words.slice(1).map(({ value }) => value))
  const hosts = [
    ...servers.flatMap((server) => hostsOf(namesOf(server))),
    ...passes.flatMap((pass) => hostSent(pass, located, upstream)),
  ]
  return {
    speaks: protocolOf(passes, located),
    hosts: [...new Set(host === undefined ? hosts : [host])],
    doors: harmless(
      passes.flatMap((pass) => doorOf(pass, located, listens, path, host) ?? []),
      path,
    )
      .filter((door, index, all) => all.findIndex((other) => isSame(door, other)) === index)
      .slice(0, DOORS_MAX),
  }
}

// To ask for a page may do something, as at `location = /cron/run`. So doors of a single page are left out, unless it is the wanted page or no other
// door leads there.
function harmless(found: readonly FoundDoor[], path: string): Door[] {
  const isWanted = ({ door }: FoundDoor) => door.path === encoded(path)
  const ranked = [...found.filter(isWanted), ...found.filter((one) => !isWanted(one) && !one.isSinglePage)]
  return (ranked.length > 0 ? ranked : found).map(({ door }) => door)
}

interface FoundDoor {
  readonly door: Door
  /** Whether nothing but this page is sent there. */
  readonly isSinglePage: boolean
}

const isSame = (one: Door, other: Door) => JSON.stringify(one) === JSON.stringify(other)
const isServer = ({ name }: Directive) => name === 'server'
const isLocation = ({ name }: Directive) => name === 'location'
const wordOf = ({ words }: Directive, index: number) => words[index]?.value ?? ''
const valueOf = ({ directive }: Located) => wordOf(directive, 1)

// The passes to the upstream's name, or to a variable that is set to it. Where there are none, all passes to variables: one may mean it.
function passesTo(located: readonly Located[], upstream: string): Located[] {
  const all = located.filter(({ directive }) => PASS.test(directive.name))
  const isNamed = (pass: Located) =>
    valuesOf(pass, located).some((value) => targetOf(value).toLowerCase() === upstream.toLowerCase())
  const named = all.filter(isNamed)
  return named.length > 0 ? named : all.filter((pass) => valueOf(pass).includes('$'))
}

// Where a pass leads: as written, or with each value that a `set` gives the variable that it begins with.
function valuesOf(pass: Located, located: readonly Located[]): string[] {
  const written = valueOf(pass)
  const variable = /^(?:\w+:\/\/)?\$\{?(\w+)/.exec(written)?.[1]
  if (variable === undefined) return [written]
  const set = located.filter(
    ({ directive }) => directive.name === 'set' && wordOf(directive, 1) === `$${variable}`,
  )
  return set.map(({ directive }) => written.replace(/\$\{?\w+\}?/, () => wordOf(directive, 2)))
}

function protocolOf(passes: readonly Located[], located: readonly Located[]): Approach['speaks'] {
  const http = passes.filter(
    ({ directive, within }) => directive.name === 'proxy_pass' && within[0]?.name !== 'stream',
  )
  if (http.length === 0) return 'tcp'
  const values = http.flatMap((pass) => [valueOf(pass), ...valuesOf(pass, located)])
  const schemes = values.flatMap((value) => /^https?(?=:)/i.exec(value)?.[0].toLowerCase() ?? [])
  return schemes.length > 0 && schemes.every((scheme) => scheme === 'https') ? 'https' : 'http'
}

/** Hosts that a client may ask for by these `server_name`s: as written, or an example for a wildcard. A regular expression gives none. */
function hostsOf(names: readonly string[]): string[] {
  const found = names.map((name) => {
    if (name.startsWith('.')) return name.slice(1)
    return name.replace('*.', `${ANY_LABEL}.`).replace('.*', '.example')
  })
  // Hosts that are written come before those that were made up.
  const written = found.filter((name) => names.includes(name))
  return [...new Set([...written, ...found])].filter((name) => HOST.test(name))
}

// The Host that nginx sends: by `proxy_set_header Host`, in the innermost block that sets any header; else the name in the pass.
function hostSent(pass: Located, located: readonly Located[], upstream: string): string[] {
  const headersIn = (block: Directive | undefined) =>
    directlyIn(located, block).filter(({ name }) => name === 'proxy_set_header')
  const headers = [...pass.within.toReversed(), undefined].map(headersIn).find((all) => all.length > 0)
  const host = headers?.findLast((header) => wordOf(header, 1).toLowerCase() === 'host')
  const value = host ? wordOf(host, 2) : '$proxy_host'
  if (value === '$proxy_host') return [upstream]
  return HOST.test(value) ? [value] : []
}

function doorOf(
  { within }: Located,
  located: readonly Located[],
  listens: readonly Listen[],
  path: string,
  host: string | undefined,
): FoundDoor | undefined {
  const server = within.find(isServer)
  const location = within.findLast(isLocation)
  if (!server || !location) return undefined
  if (directlyIn(located, location).some(({ name }) => name === 'internal')) return undefined
  const asked = pathIn(location, directlyIn(located, server).filter(isLocation), path)
  if (asked === undefined) return undefined
  const own = listens.filter((listen) => listen.server === server)
  // A loopback address is reached from within nginx's container alone.
  const listen = own.find(({ address }) => !isLoopback(address)) ?? own[0]
  if (!listen) return undefined
  const { address, port, tls, names, isDefault } = listen
  const named = hostsOf(names)
  const wanted = host !== undefined && (isDefault || names.some((name) => fits(name, host))) ? host : named[0]
  // Where no name is known here, only a default server is reached.
  const known = wanted ?? (isDefault ? 'localhost' : undefined)
  if (known === undefined) return undefined
  const isSinglePage = patternOf(location).kind === 'exact'
  return { door: { address, port, tls, host: known, path: encoded(asked) }, isSinglePage }
}

function fits(name: string, host: string): boolean {
  if (name.startsWith('*.') || name.startsWith('.'))
    return host.endsWith(name.replace('*', '')) || `.${host}` === name
  return name === host
}

// A path that nginx serves by this location, as near to the wanted one as the locations beside it allow.
function pathIn(location: Directive, beside: readonly Directive[], path: string): string | undefined {
  const own = patternOf(location)
  if (own.kind === 'named') return path
  if (own.kind === 'exact') return own.text
  if (own.kind === 'regex') return [path, '/index.php'].find((one) => matches(own, one))
  if (!path.startsWith(own.text)) return own.text
  const isTaken = beside.some((other) => {
    const pattern = patternOf(other)
    return matches(pattern, path) && (pattern.kind !== 'prefix' || pattern.text.length > own.text.length)
  })
  return isTaken ? own.text : path
}

interface Pattern {
  readonly kind: 'exact' | 'prefix' | 'regex' | 'named'
  readonly text: string
}

function patternOf({ words }: Directive): Pattern {
  // A modifier such as `=` is a word of its own, or the beginning of one.
  const written = words
    .slice(1)
    .map(({ value }) => value)
    .join('')
  const text = written.replace(/^(?:=|\^~|~\*?)/, '')
  if (written.startsWith('=')) return { kind: 'exact', text }
  if (written.startsWith('~')) return { kind: 'regex', text }
  return { kind: text.startsWith('@') ? 'named' : 'prefix', text }
}

function matches({ kind, text }: Pattern, path: string): boolean {
  if (kind === 'exact') return path === text
  if (kind === 'prefix') return path.startsWith(text)
  try {
    return kind === 'regex' && new RegExp(text).test(path)
  } catch {
    // The expression has a form that only PCRE knows.
    return false
  }
}
