// A job of GitHub Actions without GitHub: the step that action.yml says, with a runner's environment, its endpoint for OIDC tokens, its
// files, and its way of finding commands in what a step prints.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { parse } from 'yaml'
import { tempDir } from './host.ts'

const ROOT = join(import.meta.dirname, '../..')

interface Action {
  readonly inputs: Readonly<Record<string, { readonly default?: string }>>
  readonly outputs: Readonly<Record<string, { readonly value: string }>>
  readonly runs: { readonly steps: readonly { run: string; env: Record<string, string> }[] }
}
export const ACTION = parse(readFileSync(join(ROOT, 'action.yml'), 'utf8')) as Action

export interface Ran {
  readonly code: number | null
  readonly log: string
  readonly commands: readonly Command[]
  readonly outputs: Readonly<Record<string, string>>
  /** The job's summary as it was written, and as who reads it sees its characters. */
  readonly summary: string
  readonly shown: string
}

export interface Command {
  readonly name: string
  readonly data: string
}

/** Makes the token that the endpoint gives out for an audience. */
export type TokenFor = (audience: string) => Promise<string>

/** `tokenFor` undefined: a job without the permission `id-token: write`. `onLog` gets what was printed so far. */
export async function runAction(
  inputs: Record<string, string>,
  tokenFor?: TokenFor,
  onLog: (log: string) => void = () => {},
): Promise<Ran> {
  const dir = tempDir()
  const [output, summary] = [join(dir, 'output'), join(dir, 'summary')]
  for (const path of [output, summary]) writeFileSync(path, '')
  const step = ACTION.runs.steps[0]!
  const filled = Object.entries(step.env).map(([name, value]) => [
    name,
    value.replace(
      /^\$\{\{ inputs\.([\w-]+) \}\}$/,
      (_, input: string) => inputs[input] ?? ACTION.inputs[input]?.default ?? '',
    ),
  ])
  const child = spawn('bash', ['--noprofile', '--norc', '-eo', 'pipefail', '-c', step.run], {
    cwd: dir,
    env: {
      PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
      GITHUB_ACTION_PATH: ROOT,
      GITHUB_OUTPUT: output,
      GITHUB_STEP_SUMMARY: summary,
      ...(tokenFor && (await tokenEndpoint(tokenFor))),
      ...Object.fromEntries(filled),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let log = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => onLog((log += chunk)))
  const [errors] = await Promise.all([text(child.stderr), once(child, 'close')])
  if (errors !== '') throw new Error(errors)
  const written = readFileSync(summary, 'utf8')
  return {
    code: child.exitCode,
    log,
    commands: commandsIn(log),
    outputs: outputsIn(readFileSync(output, 'utf8')),
    summary: written,
    shown: written.replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code))),
  }
}

async function tokenEndpoint(tokenFor: TokenFor): Promise<Record<string, string>> {
  const server = createServer((request, response) => {
    const audience = new URL(request.url ?? '', 'http://runner').searchParams.get('audience') ?? ''
    const isOurs = request.headers.authorization === 'Bearer of-the-job'
    void tokenFor(audience).then((value) => {
      response.writeHead(isOurs ? 200 : 403, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ count: value.length, value }))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close().closeAllConnections())
  return {
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token?api-version=2.0`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of-the-job',
  }
}

// As the runner does: a line that begins with `::` after white space, and, of old, `##[` anywhere in one. \r ends a line too.
function commandsIn(log: string): Command[] {
  return log.split(/\r\n|\r|\n/).flatMap((line) => {
    const [, name, data] =
      /^\s*::([^\s:]+)(?: .*?)?::(.*)$/.exec(line) ?? /##\[([^\s\]]+)[^\]]*\](.*)$/.exec(line) ?? []
    const unescaped = data?.replaceAll('%0A', '\n').replaceAll('%0D', '\r').replaceAll('%25', '%')
    return name === undefined ? [] : [{ name, data: unescaped ?? '' }]
  })
}

function outputsIn(file: string): Record<string, string> {
  return Object.fromEntries(
    [...file.matchAll(/^(\w+)<<(\S+)\n(.*?)\n\2\n/gms)].map(([, name, , value]) => [name!, value!]),
  )
}
