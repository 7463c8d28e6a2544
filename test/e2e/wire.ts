// A wire between the relay and everybody else, that a test can cut and mend.

import { once } from 'node:events'
import net from 'node:net'

export interface Wire {
  readonly port: number
  /** Every connection breaks at once, without a word from either side; new ones are refused the same way until `mend`. */
  cut(): void
  mend(): void
  close(): Promise<void>
}

export async function startWire(relayPort: number): Promise<Wire> {
  const sockets = new Set<net.Socket>()
  let isCut = false
  const server = net.createServer((near) => {
    const far = net.connect(relayPort, '127.0.0.1')
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {}) // 'close' follows
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
    if (isCut) near.resetAndDestroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    cut() {
      isCut = true
      for (const socket of sockets) socket.resetAndDestroy()
    },
    mend: () => void (isCut = false),
    async close() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}
