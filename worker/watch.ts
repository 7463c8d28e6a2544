// Following a deploy: Server-Sent Events held by the Worker and fed by a WebSocket from the hub, which so can sleep between events.
// A stream held by the hub itself would keep it awake, and billed, for as long as anybody watches.

import type { LoggedEvent } from '../shared/events.ts'
import type { Hub } from './hub/hub.ts'
import type { Caller } from './hub/verify.ts'

/** A comment this often keeps proxies from cutting a quiet stream, and shows us that the viewer is gone. */
const KEEPALIVE_MS = 15_000

/** What a slow viewer may leave unread. Beyond it the stream ends, and the viewer comes back with Last-Event-ID. */
const UNREAD_BYTES_MAX = 4 * 1024 * 1024

export interface Watch {
  readonly deploy: string
  /** Events after this one. */
  readonly after: number
  /** The scope that lets the caller watch. */
  readonly scope: 'read' | 'deploy' | 'rollback'
}

export async function streamEvents(
  hub: DurableObjectStub<Hub>,
  { token, audience }: Caller,
  { deploy, after, scope }: Watch,
  signal: AbortSignal,
): Promise<Response> {
  const query = new URLSearchParams({ audience, deploy, after: String(after), scope })
  const upgraded = await hub.fetch(`https://hub/watch?${query}`, {
    headers: { upgrade: 'websocket', authorization: `Bearer ${token}` },
  })
  const socket = upgraded.webSocket
  if (!socket) return upgraded

  const encoder = new TextEncoder()
  let keepalive: ReturnType<typeof setInterval>
  let isOpen = true
  const leave = () => {
    if (!isOpen) return false
    isOpen = false
    clearInterval(keepalive)
    socket.close(1000)
    return true
  }
  const stream = new ReadableStream<Uint8Array>(
    {
      start(out) {
        const end = () => {
          if (leave()) out.close()
        }
        const write = (text: string) => {
          if (!isOpen) return
          out.enqueue(encoder.encode(text))
          if ((out.desiredSize ?? 0) < 0) end()
        }
        socket.addEventListener('message', ({ data }) => {
          const { seq } = JSON.parse(String(data)) as LoggedEvent
          write(`id: ${seq}\ndata: ${data}\n\n`)
        })
        socket.addEventListener('close', end)
        socket.addEventListener('error', end)
        keepalive = setInterval(() => write(': keepalive\n\n'), KEEPALIVE_MS)
        socket.accept()
      },
      cancel: () => void leave(),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: UNREAD_BYTES_MAX }),
  )
  signal.addEventListener('abort', leave)
  return new Response(stream, {
    headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' },
  })
}
