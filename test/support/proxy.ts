// A network that misbehaves on command: a TCP proxy that can reset, delay, half-close, freeze and hold back what passes through it.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** `up`: what the client says; `down`: what the server answers. */
export type Way = 'up' | 'down'

export interface Proxy {
  readonly port: number
  /** Every connection there ever was, oldest first. */
  readonly passages: readonly Passage[]
  /** Each byte arrives this much later, in order. */
  delayMs: number
  /** New connections are reset. */
  isRefusing: boolean
  /** Those that are open now, oldest first. */
  open(): Passage[]
  stop(): Promise<void>
}

export interface Passage {
  readonly isOpen: boolean
  /** Bytes that one end has sent. */
  readonly sent: Readonly<Record<Way, number>>
  /** Those of them that the other end was given. */
  readonly passed: Readonly<Record<Way, number>>
  /** Both ends get a RST. */
  reset(): void
  /** The client gets a RST; the server hears nothing of it, and gets what is on its way `up` only when it is released. */
  loseClient(): void
  /** One end is told that the other says nothing more, while the other way stays open. */
  halfClose(way: Way): void
  /** What comes is taken and kept: nobody hears anything until it is released, not even of an end. */
  hold(way: Way): void
  release(way: Way): void
  /** Both ways held. */
  freeze(): void
  thaw(): void
}

export async function startProxy(targetPort: number): Promise<Proxy> {
  const passages: Connection[] = []
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (proxy.isRefusing) {
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    passages.push(
      new Connection(client, connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true }), proxy),
    )
  })
  const proxy = {
    port: 0,
    passages,
    delayMs: 0,
    isRefusing: false,
    open: () => passages.filter(({ isOpen }) => isOpen),
    stop: async () => {
      for (const passage of passages) passage.reset()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  proxy.port = (server.address() as AddressInfo).port
  return proxy
}

class Connection implements Passage {
  readonly #client: Socket
  readonly #server: Socket
  readonly #ways: Readonly<Record<Way, Pipe>>

  constructor(client: Socket, server: Socket, delay: { readonly delayMs: number }) {
    this.#client = client
    this.#server = server
    client.setNoDelay()
    server.setNoDelay()
    this.#ways = { up: new Pipe(client, server, delay), down: new Pipe(server, client, delay) }
  }

  get isOpen(): boolean {
    return !this.#client.destroyed && !this.#server.destroyed
  }

  get sent(): Record<Way, number> {
    return { up: this.#ways.up.sent, down: this.#ways.down.sent }
  }

  get passed(): Record<Way, number> {
    return { up: this.#ways.up.passed, down: this.#ways.down.passed }
  }

  reset(): void {
    this.#client.resetAndDestroy()
    this.#server.resetAndDestroy()
  }

  loseClient(): void {
    this.hold('up')
    this.#client.resetAndDestroy()
  }

  halfClose(way: Way): void {
    this.#ways[way].finish()
  }

  hold(way: Way): void {
    this.#ways[way].isHeld = true
  }

  release(way: Way): void {
    this.#ways[way].isHeld = false
    this.#ways[way].pass()
  }

  freeze(): void {
    this.hold('up')
    this.hold('down')
  }

  thaw(): void {
    this.release('up')
    this.release('down')
  }
}

/** One way of a connection: bytes and its end, passed on in order, each when it is due. */
class Pipe {
  isHeld = false
  sent = 0
  passed = 0
  readonly #to: Socket
  readonly #delay: { readonly delayMs: number }
  readonly #waiting: { readonly what: Buffer | 'end' | 'reset'; readonly dueAt: number }[] = []
  #timer: NodeJS.Timeout | undefined
  #isFinished = false

  constructor(from: Socket, to: Socket, delay: { readonly delayMs: number }) {
    this.#to = to
    this.#delay = delay
    from.on('data', (chunk: Buffer) => this.#take(chunk))
    from.on('end', () => this.#take('end'))
    from.on('error', () => this.#take('reset'))
    from.on('close', () => this.#take('end'))
  }

  /** Ends this way now; what still comes is thrown away. */
  finish(): void {
    this.#take('end')
    this.#isFinished = true
  }

  /** Passes on what is due, and sees to the rest when it will be. */
  pass(): void {
    clearTimeout(this.#timer)
    for (;;) {
      const [next] = this.#waiting
      if (!next || this.isHeld || this.#to.destroyed) return
      const waitMs = next.dueAt - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pass(), waitMs)
        return
      }
      this.#waiting.shift()
      if (next.what === 'end') this.#to.end()
      else if (next.what === 'reset') this.#to.resetAndDestroy()
      else if (!this.#to.writableEnded) {
        this.passed += next.what.length
        this.#to.write(next.what)
      }
    }
  }

  #take(what: Buffer | 'end' | 'reset'): void {
    if (typeof what !== 'string') this.sent += what.length
    if (this.#isFinished) return
    this.#waiting.push({ what, dueAt: performance.now() + this.#delay.delayMs })
    this.pass()
  }
}
