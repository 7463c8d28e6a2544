// The programs that nginx's image brings and an agent may run in it: curl and busybox's wget, as far as they tell how a GET went.

import { ASK_HTTP, ASK_TCP } from '../../../agent/nginx/ask-inside.ts'
import { ask, connects, type HttpWorld } from './http.ts'
import type { FakeContainer } from './containers.ts'

export interface Ran {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export type ProgramName = 'curl' | 'wget'

/** What the options of both say, of those that take a value. */
const VALUED =
  /^(-o|-w|-m|-H|-T|-O|-A|-X|--max-time|--connect-timeout|--header|--resolve|--write-out|--output)$/
const NEVER_MS = 600_000

/** What the agent's own scripts print, which ask by whatever program is there; undefined for any other script. */
export async function askedInside(
  world: HttpWorld & { readonly programs: readonly ProgramName[] },
  container: FakeContainer,
  script: string | undefined,
  [ip = '', port, path = '/', host = '', scheme, seconds]: readonly string[],
  signal: AbortSignal,
): Promise<string | undefined> {
  if (script !== ASK_HTTP && script !== ASK_TCP) return undefined
  if (world.programs.length === 0) return 'none'
  const remote = { ip: ip.replace(/^\[(.*)\]$/, '$1'), port: Number(port) }
  if (script === ASK_TCP) return (await connects(world, remote, container)) ?? 'open'
  const question = { ...remote, path, host, tls: scheme === 'https' }
  const answer = await ask(world, question, container, Number(seconds) * 1000, signal)
  return 'fault' in answer ? answer.fault : String(answer.status)
}

/** Runs one in a container. */
export async function runProgram(
  world: HttpWorld,
  container: FakeContainer,
  argv: readonly string[],
  signal: AbortSignal,
): Promise<Ran> {
  const [program = '', ...args] = argv
  const options = optionsOf(args)
  const url = URL.parse(options.rest.find((arg) => !arg.startsWith('-')) ?? '')
  if (!url) return { exitCode: 3, stdout: '', stderr: `${program}: no URL\n` }
  const name = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const resolved = options.of('--resolve')?.split(':').slice(2).join(':')
  const ip = resolved ?? (name === 'localhost' ? '127.0.0.1' : (world.containers.resolve(name)?.ip ?? name))
  const header = /^host:\s*(.*)$/i.exec(options.of('-H') ?? options.of('--header') ?? '')?.[1]
  const seconds = options.of('-m') ?? options.of('--max-time') ?? options.of('-T')
  const tls = url.protocol === 'https:'
  const answer = await ask(
    world,
    { ip, port: Number(url.port || (tls ? 443 : 80)), path: url.pathname, host: header ?? url.host, tls },
    container,
    seconds === undefined ? NEVER_MS : Number(seconds) * 1000,
    signal,
  )
  return program === 'curl' ? asCurl(answer, options) : asWget(answer, options)
}

interface Options {
  readonly rest: readonly string[]
  of(name: string): string | undefined
}

function optionsOf(args: readonly string[]): Options {
  const values = new Map<string, string>()
  const rest: string[] = []
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at] ?? ''
    const [, long, value] = /^(--[\w-]+)=(.*)$/.exec(arg) ?? []
    if (long !== undefined) values.set(long, value ?? '')
    else if (VALUED.test(arg)) values.set(arg, args[(at += 1)] ?? '')
    else rest.push(arg)
  }
  return { rest, of: (name) => values.get(name) }
}

const CURL_CODES: Readonly<Record<string, number>> = {
  EHOSTUNREACH: 7,
  ECONNREFUSED: 7,
  EPROTO: 35,
  ECONNRESET: 52,
}

function asCurl(answer: { status: number } | { fault: string }, { rest, of }: Options): Ran {
  const format = of('-w') ?? of('--write-out') ?? ''
  const status = 'fault' in answer ? 0 : answer.status
  const stdout = format.replace('%{http_code}', String(status).padStart(3, '0')).replaceAll('\\n', '\n')
  if ('fault' in answer) {
    const exitCode = CURL_CODES[answer.fault] ?? 28
    return { exitCode, stdout, stderr: `curl: (${exitCode}) ${answer.fault}\n` }
  }
  const isStrict = rest.some((arg) => arg === '--fail' || /^-[a-zA-Z]*f/.test(arg))
  if (isStrict && status >= 400)
    return {
      exitCode: 22,
      stdout,
      stderr: `curl: (22) The requested URL returned error: ${status}\n`,
    }
  return { exitCode: 0, stdout, stderr: '' }
}

function asWget(answer: { status: number } | { fault: string }, { rest }: Options): Ran {
  const isShown = rest.some((arg) => /^-[a-zA-Z]*S/.test(arg))
  if ('fault' in answer) return { exitCode: 1, stdout: '', stderr: `wget: can't connect: ${answer.fault}\n` }
  const shown = isShown ? `  HTTP/1.1 ${answer.status} X\n` : ''
  if (answer.status < 400) return { exitCode: 0, stdout: '', stderr: shown }
  const stderr = `${shown}wget: server returned error: HTTP/1.1 ${answer.status} X\n`
  return { exitCode: 1, stdout: '', stderr }
}
