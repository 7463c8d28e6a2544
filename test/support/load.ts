// Load on a server of the test's own, from a process of its own. A request has failed unless a whole 2xx answer came back: nothing is
// retried. It stops when told to, or by itself at its limits.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { createInterface } from 'node:readline'

/** No test needs more; a forgotten load must end. */
const DURATION_MS_MAX = 600_000
const REQUESTS_MAX = 2_000_000
const FAILURES_KEPT_MAX = 2000

export interface LoadOptions {
  readonly ip: string
  readonly port: number
  /**
   * `keepalive`: so many connections, each asking as fast as it is answered. `idle`: so many connections, each silent for a while of
   * its own, up to `ms`, between an answer and its next request. `fresh`: so many at a time, each request on a connection of its own,
   * with such a while between them where there is an `ms`.
   * `posts`: so many a second, each taking `ms`.
   */
  readonly kind: 'keepalive' | 'idle' | 'fresh' | 'posts'
  readonly connections?: number
  readonly perSecond?: number
  readonly ms?: number
  /** What is asked for, and as whom; `/` and `localhost` where nothing is said. Not of `posts`. */
  readonly path?: string
  readonly host?: string
  /** Told to stop, it goes on until it has made so many requests. */
  readonly atLeast?: number
}

export interface LoadResult {
  requests: number
  failed: number
  failures: { begunAt: number; at: number; why: string }[]
  /**
   * By the answer's text: how often, and when first and last (milliseconds since 1970, when the answer came). `lastBegun` is when the
   * request of the last one was about to be sent.
   */
  answers: Record<string, { count: number; first: number; last: number; lastBegun: number }>
  durationMs: number
}

/** Does the work under a load, which ends with it whatever happens; what became of the requests, and what the work gave. */
export async function under<T>(options: LoadOptions, work: () => Promise<T>): Promise<[LoadResult, T]> {
  const load = await startLoad(options)
  try {
    const done = await work()
    return [await load.stop(), done]
  } finally {
    load.kill()
  }
}

/** Starts a load; resolves once its first request was answered. */
export async function startLoad(
  options: LoadOptions,
): Promise<{ stop(): Promise<LoadResult>; kill(): void }> {
  const child = spawn(process.execPath, [import.meta.filename, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const first = await lines.next()
  if (first.value !== 'started') throw new Error('the load did not start')
  return {
    async stop() {
      child.stdin.end()
      const { value } = await lines.next()
      if (child.exitCode === null) await once(child, 'exit')
      return JSON.parse(String(value)) as LoadResult
    },
    kill: () => void child.kill('SIGKILL'),
  }
}

async function main(options: LoadOptions): Promise<void> {
  const result: LoadResult = { requests: 0, failed: 0, failures: [], answers: {}, durationMs: 0 }
  const startedAt = Date.now()
  const isOver = () =>
    (stopped && result.requests >= (options.atLeast ?? 0)) ||
    Date.now() - startedAt > DURATION_MS_MAX ||
    result.requests >= REQUESTS_MAX
  let stopped = false
  process.stdin.resume().on('end', () => (stopped = true))

  const count = (text: string, begunAt: number) => {
    if (result.requests === 0) process.stdout.write('started\n')
    result.requests += 1
    const now = Date.now()
    const answer = (result.answers[text] ??= { count: 0, first: now, last: now, lastBegun: begunAt })
    answer.count += 1
    answer.last = now
    answer.lastBegun = Math.max(answer.lastBegun, begunAt)
  }
  const fail = (why: string, begunAt: number) => {
    if (result.requests === 0) process.stdout.write('started\n')
    result.requests += 1
    result.failed += 1
    if (result.failures.length < FAILURES_KEPT_MAX) result.failures.push({ begunAt, at: Date.now(), why })
  }

  if (options.kind !== 'posts')
    await Promise.all(
      Array.from({ length: options.connections ?? 20 }, (_, index) =>
        keepAsking(options, index, isOver, count, fail),
      ),
    )
  else await post(options, isOver, count, fail)
  result.durationMs = Date.now() - startedAt
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

/** Of an answer's text, or the reason of a failure, and when its request was about to be sent. */
type Count = (text: string, begunAt: number) => void

/** One connection at a time, a request when the last is answered. A new connection only after nginx said it closes the old. */
async function keepAsking(
  { ip, port, kind, connections = 20, ms = 0, path = '/', host = 'localhost' }: LoadOptions,
  index: number,
  isOver: () => boolean,
  count: Count,
  fail: Count,
): Promise<void> {
  const close = kind === 'fresh' ? 'Connection: close\r\n' : ''
  const request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${close}\r\n`
  const pauseMs = kind === 'keepalive' ? 0 : ((index + 1) * ms) / connections
  while (!isOver()) {
    await new Promise<void>((done) => {
      const socket = net.connect(port, ip).setNoDelay()
      let text = ''
      let begunAt = Date.now()
      let timer: NodeJS.Timeout | undefined
      let isAsking = false
      const ask = () => {
        isAsking = true
        begunAt = Date.now()
        text = ''
        socket.write(request)
      }
      socket.setEncoding('latin1')
      socket.on('connect', ask)
      socket.on('data', (chunk: string) => {
        text += chunk
        const answer = readAnswer(text)
        if (!answer) return
        isAsking = false
        if (answer.status >= 200 && answer.status < 300) count(answer.body.trim(), begunAt)
        else fail(`status ${answer.status}`, begunAt)
        if (isOver() || answer.closes) socket.end()
        else if (pauseMs > 0) timer = setTimeout(ask, pauseMs)
        else ask()
      })
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (isAsking || socket.connecting) fail(error.code ?? error.message, begunAt)
        isAsking = false
      })
      socket.on('close', () => {
        clearTimeout(timer)
        if (isAsking) fail('closed without an answer', begunAt)
        if (kind === 'fresh' && pauseMs > 0) setTimeout(done, pauseMs)
        else done()
      })
    })
  }
}

function readAnswer(text: string): { status: number; body: string; closes: boolean } | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = text.slice(0, end)
  const body = text.slice(end + 4)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  const isChunked = /\r\ntransfer-encoding: *chunked/i.test(head)
  if (isChunked ? !body.endsWith('0\r\n\r\n') : body.length < Number(length ?? 0)) return undefined
  return {
    status: Number(head.slice(9, 12)),
    body: isChunked ? body.replaceAll(/(^|\r\n)[0-9a-f]+\r\n/g, '').trim() : body,
    closes: /\r\nconnection: *close/i.test(head),
  }
}

/** An open loop: a request is sent when it is due, however many are still out. Connections are kept alive and used again. */
async function post(
  { ip, port, perSecond = 40, ms = 1500 }: LoadOptions,
  isOver: () => boolean,
  count: Count,
  fail: Count,
) {
  const agent = new http.Agent({ keepAlive: true })
  const startedAt = performance.now()
  const all: Promise<void>[] = []
  for (let n = 0; !isOver(); n += 1) {
    const due = startedAt + (n * 1000) / perSecond
    await new Promise((done) => setTimeout(done, Math.max(0, due - performance.now())))
    all.push(
      new Promise((done) => {
        const begunAt = Date.now()
        const request = http.request(
          { host: ip, port, path: `/?ms=${ms}`, method: 'POST', agent },
          (response) => {
            let text = ''
            response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
            response.on('end', () => {
              if (response.statusCode === 200) count(text.trim(), begunAt)
              else fail(`status ${response.statusCode}`, begunAt)
              done()
            })
            response.on('error', (error) => (fail(error.message, begunAt), done()))
          },
        )
        request.on(
          'error',
          (error: NodeJS.ErrnoException) => (fail(error.code ?? error.message, begunAt), done()),
        )
        request.end('x'.repeat(100))
      }),
    )
  }
  await Promise.all(all)
  agent.destroy()
}

if (process.argv[1] === import.meta.filename) await main(JSON.parse(process.argv[2] ?? '{}') as LoadOptions)
