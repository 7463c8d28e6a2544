// Which servers an upstream has, and the text in which some of them are out. The caller reads and writes the file.

import { Problem } from '../../../shared/problems.ts'
import type { ConfigFile } from './dump.ts'
import { describeLocated, directivesOf } from './directives.ts'
import { lineAt, parseTree, type Directive } from './tokens.ts'

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

/** Every upstream, in the order in which nginx reads them. The first file is the one that includes the others. */
export function findUpstreams(files: readonly ConfigFile[]): Upstream[] {
  const located = directivesOf(files)
  const upstreams = located.filter(({ directive }) => directive.name === 'upstream' && directive.block)
  return upstreams.map(({ file, directive, within }) => {
    const servers = located.filter(
      (item) => item.directive.name === 'server' && item.within.at(-1) === directive,
    )
    return {
      name: directive.words[1]?.value ?? '',
      context: within[0]?.name === 'stream' ? 'stream' : 'http',
      file: file.path,
      line: lineAt(file.text, directive.start),
      servers: servers
        .filter((server) => server.file === file)
        .map((server) => serverOf(file.text, server.directive)),
      elsewhere: servers.filter((server) => server.file !== file).map(describeLocated),
    }
  })
}

/**
 * The text with the servers that are out marked `down`. While one is, the others get `max_fails=0`: one failed request would otherwise take the last
 * live server out for ten seconds (GOTCHAS.md 9). With nobody to take out, the text stays as it is. To put a server back, render again from the
 * original text. `isNowhere`: the server's name does not resolve, so nginx could not load the file with it; once the server is out, it gets an
 * address instead. Throws `upstream-unknown`.
 */
export function editUpstream(
  text: string,
  upstream: string,
  isOut: (server: UpstreamServer) => boolean,
  isNowhere: (server: UpstreamServer) => boolean = () => false,
): string {
  const blocks = blocksNamed(parseTree(text).directives, upstream)
  if (blocks.length === 0)
    throw new Problem('upstream-unknown', `there is no upstream ${upstream} in the file to edit`)
  const servers = blocks
    .flatMap((block) => block.filter(({ name }) => name === 'server'))
    .map((directive) => ({ directive, server: serverOf(text, directive) }))
    .map(({ directive, server }) => ({
      directive,
      isDown: server.isDown,
      goes: !server.isDown && isOut(server),
      isNowhere: isNowhere(server),
    }))
  if (!servers.some(({ goes }) => goes)) return text
  // From the last to the first, so that the offsets before stay true.
  return servers.toReversed().reduce((edited, server) => {
    const { directive, isDown, goes } = server
    const marked = isDown ? edited : (goes ? markDown : withoutMaxFails)(edited, directive)
    return server.isNowhere && (goes || isDown) ? readdress(marked, directive) : marked
  }, text)
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

/** The host and port of a `server` in an upstream. */
export function hostAndPort(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]*)\]|([^:$]+))(?::(\d+))?$/.exec(address)
  if (!match || address.startsWith('unix:')) return { host: '', port: 0 }
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3] ?? 80) }
}

function markDown(text: string, { end }: Directive): string {
  return `${text.slice(0, end)} down${text.slice(end)}`
}

/** The address of a server whose name does not resolve. The server is `down`, so nobody is sent there. */
const NOWHERE = '127.0.0.1:1'

function readdress(text: string, { words: [, address] }: Directive): string {
  return address ? `${text.slice(0, address.start)}${NOWHERE}${text.slice(address.end)}` : text
}

function withoutMaxFails(text: string, { words, end }: Directive): string {
  const limits = words.filter(({ value }) => value.startsWith('max_fails='))
  if (limits.length === 0) return `${text.slice(0, end)} max_fails=0${text.slice(end)}`
  return limits.reduceRight(
    (edited, word) => `${edited.slice(0, word.start)}max_fails=0${edited.slice(word.end)}`,
    text,
  )
}
