// The least that a relay can do: a POST goes to the agent by WebSocket, and the agent's word comes back. No signature, no name, and
// nothing on a disk, unless a folder is given: then each of the two writes a line and waits for the disk before it goes on, as ours must.

import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import { serve } from './processes.ts'

let end = () => {}

serve(
  {
    async relay({ log }: { log?: string }) {
      const store = log === undefined ? () => {} : durable(log)
      const http = createServer((request, response) => {
        const chunks: Buffer[] = []
        request.on('data', (chunk: Buffer) => chunks.push(chunk))
        request.on('end', () => {
          const body = String(Buffer.concat(chunks))
          store(body)
          for (const socket of sockets.clients) socket.send(JSON.stringify({ type: 'deploy', body }))
          response.writeHead(202, { 'content-length': 0 }).end()
        })
      })
      const sockets = new WebSocketServer({ server: http, perMessageDeflate: false })
      sockets.on('connection', (socket) =>
        socket.on('message', (data) => {
          store(String(data))
          socket.send(JSON.stringify({ type: 'stored' }))
        }),
      )
      await new Promise<void>((listening) => http.listen(0, '127.0.0.1', listening))
      return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
    },

    /** Says `received` to each deploy, and writes a byte to stdout when the relay has stored that. */
    async agent({ url, log }: { url: string; log?: string }) {
      const store = log === undefined ? () => {} : durable(log)
      const socket = new WebSocket(url.replace(/^http/, 'ws'), { perMessageDeflate: false })
      socket.on('message', (data) => {
        const text = String(data)
        if ((JSON.parse(text) as { type: string }).type === 'stored') return void writeSync(1, 's')
        store(text)
        socket.send(JSON.stringify({ type: 'received' }))
      })
      await new Promise((open, fail) => socket.once('open', open).once('error', fail))
    },
  },
  async () => end(),
)

function durable(path: string): (line: string) => void {
  const fd = openSync(path, 'a')
  end = () => closeSync(fd)
  return (line) => {
    writeSync(fd, `${line}\n`)
    fdatasyncSync(fd)
  }
}
