// Where nginx notes the requests that it sends to an upstream, and in which format. A log that cannot be read comes with the reason.

import { dirname, resolve } from 'node:path/posix'
import type { Unusable } from '../../roll/proxy.ts'
import type { ConfigFile } from './dump.ts'
import { parserOf, type LogFormat } from './log-format.ts'
import { PASS, targetOf } from './pass.ts'
import { directivesOf, type Located } from './directives.ts'
import { lineAt, type Directive } from './tokens.ts'

export interface AccessLog {
  /** As nginx sees it; often a link to its standard output. */
  readonly path: string
  readonly format: LogFormat
}

/** Plain data, without the parsers of lines: it outlives a crash of the agent as JSON. */
export type AccessLogs = { readonly logs: readonly AccessLog[] } | Unusable

/** nginx's own format, where an `access_log` names none. */
const COMBINED: LogFormat = {
  name: 'combined',
  escape: 'default',
  text: '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"',
}
const DEFAULT_PATH = '/var/log/nginx/access.log'

/**
 * The logs of the requests that nginx sends to an upstream. For each directive that passes requests there, the innermost block with an `access_log`
 * decides. A pass to a variable counts too, since it may lead there.
 */
export function readAccessLogs(files: readonly ConfigFile[], upstream: string): AccessLogs {
  const located = directivesOf(files)
  const directory = dirname(files[0]?.path ?? '/')
  const passes = located.filter(
    ({ directive: { name, words, block }, within }) =>
      PASS.test(name) &&
      !block &&
      !within.some((around) => around.name === 'stream' || around.name === 'mail') &&
      isPassTo(words[1]?.value ?? '', upstream),
  )
  if (passes.length === 0)
    return { unusable: `nothing in nginx is passed to upstream ${upstream} by its name` }
  const found = passes.map((pass) => logAt(pass, located, directory))
  const logs = found.filter((log) => 'path' in log)
  const [reason] = found.filter((log) => 'unusable' in log)
  if (logs.length === 0 && reason) return reason
  return { logs: logs.filter((log, index) => logs.findIndex((other) => isSame(log, other)) === index) }
}

const isSame = (one: AccessLog, other: AccessLog) =>
  one.path === other.path && one.format.name === other.format.name

function isPassTo(value: string, upstream: string): boolean {
  if (/^(?:\w+:\/\/)?[^/]*\$/.test(value)) return true
  return targetOf(value).toLowerCase() === upstream.toLowerCase()
}

// The first of a block's logs that can be read. One is enough, since each has every request.
function logAt({ within }: Located, located: readonly Located[], directory: string): AccessLog | Unusable {
  const levels: (Directive | undefined)[] = [...within.toReversed(), undefined]
  const inside = (block: Directive | undefined) =>
    located.filter((item) => item.directive.name === 'access_log' && item.within.at(-1) === block)
  const written = levels.map(inside).find((all) => all.length > 0)
  if (!written) return readable({ path: DEFAULT_PATH, format: COMBINED })
  const read = written.map((item) => {
    const log = readAccessLog(item, located, directory)
    return 'unusable' in log ? { unusable: `${log.unusable} (${whereIs(item)})` } : log
  })
  return read.find((log) => 'path' in log) ?? read[0] ?? { unusable: 'nginx writes no access log' }
}

const whereIs = ({ file, directive }: Located) => `${file.path}:${lineAt(file.text, directive.start)}`

function readAccessLog(
  { directive }: Located,
  located: readonly Located[],
  directory: string,
): AccessLog | Unusable {
  const [, path = '', name = COMBINED.name, ...options] = directive.words.map(({ value }) => value)
  if (path === 'off') return { unusable: 'the access log is off' }
  if (path.startsWith('syslog:')) return { unusable: 'the access log goes to syslog' }
  if (path.includes('$')) return { unusable: `the access log ${path} has a variable in its name` }
  // The requests that a condition leaves out may be just those that went well.
  if (options.some((option) => option.startsWith('if=')))
    return { unusable: `the access log ${path} has only some of the requests` }
  if (options.some((option) => /^(?:buffer|gzip|flush)(?:=|$)/.test(option)))
    return { unusable: `the access log ${path} is written late, by way of a buffer` }
  const format = formatNamed(name, located)
  if (!format) return { unusable: `there is no log format ${name}` }
  return readable({ path: resolve(directory, path), format })
}

function readable(log: AccessLog): AccessLog | Unusable {
  const parser = parserOf(log.format)
  return 'unusable' in parser ? parser : log
}

function formatNamed(name: string, located: readonly Located[]): LogFormat | undefined {
  const item = located.find(
    ({ directive, within }) =>
      directive.name === 'log_format' &&
      directive.words[1]?.value === name &&
      !within.some((around) => around.name === 'stream'),
  )
  if (!item) return name === COMBINED.name ? COMBINED : undefined
  const [, , ...strings] = item.directive.words.map(({ value }) => value)
  const escape = /^escape=(default|json|none)$/.exec(strings[0] ?? '')?.[1]
  return {
    name,
    escape: escape === 'json' || escape === 'none' ? escape : 'default',
    text: strings.slice(escape === undefined ? 0 : 1).join(''),
  }
}
