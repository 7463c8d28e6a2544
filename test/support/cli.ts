// The command line in this process, or as one of its own, and a relay's HTTP side that answers as the test says.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { onTestFinished, vi } from 'vitest'
import { runProgram } from '../../agent/cli/program.ts'
import { HOST, tempDir } from './host.ts'

const MAIN = join(import.meta.dirname, '../../agent/main.ts')

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command line here, as its own process would in that folder: a process takes half a second to start. */
export async function ropeway(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = tempDir(),
  input = '',
): Promise<Ran> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const texts = Promise.all([text(stdout), text(stderr)])
  const here = vi.spyOn(process, 'cwd').mockReturnValue(cwd)
  try {
    const code = await runProgram(args, {
      env,
      stdin: Readable.from(input === '' ? [] : [Buffer.from(input)]),
      stdout: stdout as unknown as NodeJS.WriteStream,
      stderr: stderr as unknown as NodeJS.WriteStream,
      signal: new AbortController().signal,
      version: '0.0.0-test',
    })
    stdout.end()
    stderr.end()
    const [out, err] = await texts
    return { code, stdout: out, stderr: err }
  } finally {
    here.mockRestore()
  }
}

export async function ropewayProcess(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = tempDir(),
  input = '',
): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  // Most commands end without a look at it.
  child.stdin.on('error', () => {}).end(input)
  onTestFinished(() => void child.kill('SIGKILL'))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, stdout, stderr }
}

/** A directory with a ropeway.yml of one stack, whose secret is nowhere. */
export function hostDir(relay = 'http://127.0.0.1:9'): string {
  const dir = tempDir()
  writeFileSync(join(dir, 'docker-compose.yml'), 'services: {}\n')
  writeFileSync(
    join(dir, 'ropeway.yml'),
    `relay: ${relay}
host: ${HOST}
stacks:
  hello:
    compose: ./docker-compose.yml
    triggers: { deploy: { type: standard-webhooks, secret: { env: NOT_SET } } }
`,
  )
  return dir
}

export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A relay's HTTP side that answers as the test says. */
export async function fakeRelay(
  answer: (seen: Seen, response: ServerResponse) => void,
): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const one = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body }
      seen.push(one)
      answer(one, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

export const json = (response: ServerResponse, status: number, body: unknown) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** An environment in which a command needs neither ropeway.yml nor key. */
export const withToken = (url: string) => ({ ROPEWAY_TOKEN: 'abc', ROPEWAY_RELAY: url, ROPEWAY_HOST: HOST })
