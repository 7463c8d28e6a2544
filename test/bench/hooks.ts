// From a signed webhook to the first thing that it makes happen, beside `webhook` (github.com/adnanh/webhook).
// node test/bench/hooks.ts [--requests N]
//
// Both are asked in turns, over one kept connection each, with the same body, HMAC-SHA256 signed, and both show their effect in the
// same way: one byte in a pipe that this process reads. Ours comes from the agent when the roll's `started` event is in its journal;
// theirs from the command, the smallest that there is: a shell whose only built-in writes the byte. A shell is what deploy commands are.

import { execFile } from 'node:child_process'
import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { constants, openSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { parseArgs, promisify } from 'node:util'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { until } from '../support/stack.ts'
import { byteReader } from './bytes.ts'
import { freePort } from '../support/port.ts'
import { SECRET, startHost, startNode, startProgram } from './host.ts'
import { atEnd, bench, say } from './lifetime.ts'
import { pause } from './load.ts'
import { millis, percentile, printTable, printText } from './report.ts'

const execute = promisify(execFile)
const { values } = parseArgs({
  options: { requests: { type: 'string', default: '500' }, rounds: { type: 'string' } },
})
const requests = Number(values.requests)
const WARM_UP = 20
/** Between two requests, so that each meets processes at rest: what the one before left to store or to reap is done. */
const REST_MS = 15
const BODY = JSON.stringify({ env: { MESSAGE: '{service},v2' } })

interface Receiver {
  readonly name: string
  send(): Promise<{ answerMs: number; effectMs: number }>
}

await bench(async () => {
  const receivers = [await ropeway()]
  const theirs = await webhook().catch((error: unknown) => {
    say(`webhook is left out: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  })
  if (theirs) receivers.push(theirs)

  const measured = new Map(
    receivers.map(({ name }) => [name, [] as { answerMs: number; effectMs: number }[]]),
  )
  for (let count = 0; count < WARM_UP + requests; count += 1)
    for (const receiver of receivers) {
      const times = await receiver.send()
      if (count >= WARM_UP) measured.get(receiver.name)?.push(times)
      await pause(REST_MS)
    }
  printTable(
    `From a signed webhook to its first effect, on loopback (${requests} requests, one after another)`,
    ['', 'effect p50', 'p95', 'p99', 'answer p50', 'p95', 'p99'],
    [...measured].map(([name, times]) => [
      name,
      ...columns(times.map(({ effectMs }) => effectMs)),
      ...columns(times.map(({ answerMs }) => answerMs)),
    ]),
  )
  printText(
    'Effect: from sending the request until a byte arrives in a pipe: from Ropeway’s agent when the roll’s `started` event is in its journal, from webhook’s command (`printf` built into sh).',
    'Ropeway’s way leads through a Worker, a durable store in the hub, a WebSocket, a second verification and the agent’s journal; webhook keeps nothing and starts the command itself.',
  )
})

function columns(list: readonly number[]): string[] {
  return [50, 95, 99].map((percent) => millis(percentile(list, percent)))
}

async function ropeway(): Promise<Receiver> {
  const host = await startHost()
  const agent = await startNode(
    [join(import.meta.dirname, 'noop-agent.ts'), ...host.options.filter((_, index) => index % 2 === 1)],
    /^connected$/,
    host.env,
  )
  const bytes = byteReader(agent.child.stdio[3] as Readable)
  const send = sender(`${host.relay}/hooks/bench/hello/deploy`)
  return {
    name: 'Ropeway (relay in Miniflare, agent)',
    async send() {
      const headers = await signStandardWebhook(SECRET, {
        id: `msg_${randomUUID()}`,
        timestampSeconds: Math.floor(Date.now() / 1000),
        body: new TextEncoder().encode(BODY),
      })
      const times = await timed(() => send(headers, 202), bytes)
      await bytes.next() // the roll is over
      return times
    },
  }
}

async function webhook(): Promise<Receiver> {
  const folder = await mkdtemp('/tmp/ropeway-bench-webhook-')
  atEnd(() => rm(folder, { recursive: true, force: true }))
  const program = await findWebhook(folder)
  const secret = randomBytes(24).toString('hex')
  const pipe = join(folder, 'pipe')
  const command = join(folder, 'noop.sh')
  await execute('mkfifo', [pipe])
  await writeFile(command, `#!/bin/sh\nprintf s >${pipe}\n`, { mode: 0o755 })
  const rule = {
    type: 'payload-hmac-sha256',
    secret,
    parameter: { source: 'header', name: 'X-Hub-Signature-256' },
  }
  const hook = { id: 'deploy', 'execute-command': command, 'trigger-rule': { match: rule } }
  const hooks = join(folder, 'hooks.json')
  await writeFile(hooks, JSON.stringify([hook]))
  const port = await freePort()
  const options = ['-hooks', hooks, '-ip', '127.0.0.1', '-port', String(port)]
  await startProgram(program, options)
  await until(async () => (await fetch(`http://127.0.0.1:${port}/`)).ok, 'webhook answers')
  // For reading and writing, so that the pipe never ends between two commands. As a socket, for a read of a file would hold a thread.
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK)
  const reader = new Socket({ fd, readable: true, writable: false })
  atEnd(async () => reader.destroy())
  const bytes = byteReader(reader)
  const send = sender(`http://127.0.0.1:${port}/hooks/deploy`)
  const { stdout } = await execute(program, ['-version'])
  return {
    name: stdout.trim(),
    send: () => {
      const signature = createHmac('sha256', secret).update(BODY).digest('hex')
      return timed(() => send({ 'x-hub-signature-256': `sha256=${signature}` }, 200), bytes)
    },
  }
}

// Debian's package is unpacked, not installed: there is no service that could start and nothing to remove but the folder.
async function findWebhook(folder: string): Promise<string> {
  const installed = await execute('sh', ['-c', 'command -v webhook']).catch(() => undefined)
  if (installed) return installed.stdout.trim()
  const download = () => execute('apt-get', ['-qq', 'download', 'webhook'], { cwd: folder, timeout: 120_000 })
  await download().catch(async () => {
    await execute('apt-get', ['-qq', 'update'], { timeout: 300_000 })
    await download()
  })
  const deb = (await readdir(folder)).find((name) => name.endsWith('.deb')) ?? ''
  await execute('dpkg-deb', ['-x', deb, '.'], { cwd: folder })
  return join(folder, 'usr/bin/webhook')
}

async function timed(
  send: () => Promise<void>,
  bytes: { next(): Promise<number> },
): Promise<{ answerMs: number; effectMs: number }> {
  const startedAt = performance.now()
  const [answeredAt, effectAt] = await Promise.all([send().then(() => performance.now()), bytes.next()])
  return { answerMs: answeredAt - startedAt, effectMs: effectAt - startedAt }
}

type Send = (headers: Record<string, string>, expected: number) => Promise<void>

function sender(url: string): Send {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  atEnd(async () => agent.destroy())
  return (headers, expected) =>
    new Promise((resolve, reject) => {
      const sent = { 'content-type': 'application/json', 'content-length': String(BODY.length), ...headers }
      const request = http.request(url, { method: 'POST', agent, headers: sent }, (response) => {
        response.resume()
        response.on('end', () => {
          if (response.statusCode === expected) resolve()
          else reject(new Error(`${url} answered ${response.statusCode} instead of ${expected}`))
        })
      })
      request.on('error', reject)
      request.end(BODY)
    })
}
