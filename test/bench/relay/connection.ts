// One kept HTTP connection, a request at a time, written by hand: Node's own client would take more of the CPU than is left beside the relay.

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface HttpAnswer {
  readonly status: number
  readonly body: string
}

/** workerd closes a connection on which nothing was asked for five seconds. */
const IDLE_MS_MAX = 2000

export class Connection {
  readonly #url: URL
  #socket: Socket | undefined
  #usedAt = -Infinity
  #read = ''
  #waiting: PromiseWithResolvers<HttpAnswer> | undefined

  private constructor(url: URL) {
    this.#url = url
  }

  static async open(url: string): Promise<Connection> {
    const connection = new Connection(new URL(url))
    await connection.#connect()
    return connection
  }

  async send(request: Buffer): Promise<HttpAnswer> {
    if (performance.now() - this.#usedAt > IDLE_MS_MAX) await this.#connect()
    this.#waiting = Promise.withResolvers()
    this.#socket?.write(request)
    const answer = await this.#waiting.promise
    this.#usedAt = performance.now()
    return answer
  }

  async #connect(): Promise<void> {
    this.#socket?.destroy()
    const socket = connect(Number(this.#url.port), this.#url.hostname)
    this.#socket = socket
    socket.setNoDelay()
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => this.#take(text))
    socket.on('error', (error) => this.#fail(socket, new Error(`a request failed: ${error.message}`)))
    socket.on('close', () => this.#fail(socket, new Error('the relay closed the connection')))
    await once(socket, 'connect')
    this.#usedAt = performance.now()
  }

  // The next request gets a new one.
  #fail(socket: Socket, error: Error): void {
    if (socket !== this.#socket) return
    this.#usedAt = -Infinity
    this.#read = ''
    this.#waiting?.reject(error)
  }

  close(): void {
    this.#socket?.destroy()
  }

  #take(text: string): void {
    this.#read += text
    const end = this.#read.indexOf('\r\n\r\n')
    if (end < 0) return
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#read.slice(0, end))?.[1]
    if (length === undefined)
      return this.#waiting?.reject(new Error(`no length: ${this.#read.slice(0, end)}`))
    if (this.#read.length < end + 4 + Number(length)) return
    const answer = { status: Number(this.#read.slice(9, 12)), body: this.#read.slice(end + 4) }
    this.#read = ''
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve(answer)
  }
}

/** The bytes of a request, made before anything is measured. */
export function requestBytes(
  method: 'GET' | 'POST',
  url: string,
  headers: Readonly<Record<string, string>>,
  body = '',
): Buffer {
  const { host, pathname, search } = new URL(url)
  const lines = Object.entries({ host, 'content-length': String(Buffer.byteLength(body)), ...headers })
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return Buffer.from(`${method} ${pathname}${search} HTTP/1.1\r\n${head}\r\n${body}`)
}

/** Sends all over so many connections, each taking the next as soon as it has its answer. */
export async function sendAll<T>(
  url: string,
  connections: number,
  items: Iterable<T>,
  send: (connection: Connection, item: T) => Promise<void>,
): Promise<void> {
  const next = items[Symbol.iterator]()
  const opened = await Promise.all(Array.from({ length: connections }, () => Connection.open(url)))
  try {
    await Promise.all(
      opened.map(async (connection) => {
        for (let item = next.next(); !item.done; item = next.next()) await send(connection, item.value)
      }),
    )
  } finally {
    for (const connection of opened) connection.close()
  }
}
