// Who is on a socket. Memory is lost when the hub hibernates, so the runtime keeps all of it: sockets are found by their tags, and known by
// what is attached to them.

import { CLOSE, encodeFrame, type FromHub } from '../../shared/protocol.ts'
import { isAlive } from './decide.ts'

/** What is attached to the agent's socket. One connection of the host counts, that of the newest generation. */
export interface AgentSocket {
  readonly generation: number
  readonly connectedAt: number
  /** Whether it has said hello: before that it must get nothing, after that everything. */
  readonly isGreeted: boolean
}

const AGENT = 'agent'
const VIEWER = 'viewer'
const viewerTag = (deploy: string) => `viewer:${deploy}`
const tokenTag = (id: string) => `token:${id}`

// These codes must not be sent: the runtime fails on them asynchronously, where no catch helps. https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
const RESERVED_CODES: readonly number[] = [1005, 1006, 1015]

/** Accepts the agent's socket in the place of every earlier one. */
export function acceptAgent(ctx: DurableObjectState, socket: WebSocket, attachment: AgentSocket): void {
  for (const earlier of ctx.getWebSockets(AGENT)) closeQuietly(earlier, CLOSE.replaced, 'replaced')
  ctx.acceptWebSocket(socket, [AGENT])
  socket.serializeAttachment(attachment)
}

/** The agent that a socket belongs to; undefined for a viewer. */
export function agentOn(ctx: DurableObjectState, socket: WebSocket): AgentSocket | undefined {
  return ctx.getTags(socket).includes(AGENT) ? (socket.deserializeAttachment() as AgentSocket) : undefined
}

/** The agent's socket if somebody listens at its other end. Half-open ones are closed on the way. */
export function liveAgent(
  ctx: DurableObjectState,
  generation: number,
  now: number,
): { socket: WebSocket; agent: AgentSocket; seenAt: number } | undefined {
  for (const socket of ctx.getWebSockets(AGENT)) {
    const agent = socket.deserializeAttachment() as AgentSocket
    const isOpen = socket.readyState === WebSocket.READY_STATE_OPEN
    const pingedAt = ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime()
    if (!isOpen || agent.generation !== generation) continue
    if (isAlive({ isOpen, connectedAt: agent.connectedAt, pingedAt }, now))
      return { socket, agent, seenAt: Math.max(agent.connectedAt, pingedAt ?? 0) }
    closeQuietly(socket, CLOSE.goingAway, 'silent')
  }
  return undefined
}

/** `token` is the id of the token by which the viewer may watch. When it is revoked, the socket is closed. */
export function acceptViewer(
  ctx: DurableObjectState,
  socket: WebSocket,
  { deploy, token }: { deploy: string; token: string },
): void {
  ctx.acceptWebSocket(socket, [VIEWER, viewerTag(deploy), tokenTag(token)])
}

/** Sends to all who watch a deploy. One that cannot take it is dropped, and comes back with Last-Event-ID if it cares. */
export function sendToViewers(ctx: DurableObjectState, deploy: string, text: string): void {
  for (const socket of ctx.getWebSockets(viewerTag(deploy))) {
    try {
      socket.send(text)
    } catch {
      closeQuietly(socket, CLOSE.goingAway, 'cannot send')
    }
  }
}

export function closeViewers(ctx: DurableObjectState, deploy: string): void {
  for (const socket of ctx.getWebSockets(viewerTag(deploy))) closeQuietly(socket, 1000, 'final')
}

/** Closes the viewers' sockets of revoked tokens, or those of all tokens. */
export function dismissViewers(ctx: DurableObjectState, tokens: readonly string[] | 'all'): void {
  const dismissed =
    tokens === 'all' ? ctx.getWebSockets(VIEWER) : tokens.flatMap((id) => ctx.getWebSockets(tokenTag(id)))
  for (const socket of dismissed) closeQuietly(socket, CLOSE.unauthorized, 'unauthorized')
}

/** Sends a frame to the agent. If the socket is gone that is no error: what matters is stored, and sent again after the next hello. */
export function sendFrame(socket: WebSocket, frame: FromHub): void {
  try {
    socket.send(encodeFrame(frame))
  } catch {
    closeQuietly(socket, CLOSE.goingAway, 'cannot send')
  }
}

/** Closes a socket, or answers the peer's close. Without that answer the peer waits 10 s and sees 1006. */
export function closeQuietly(socket: WebSocket, code: number, reason: string): void {
  if (RESERVED_CODES.includes(code)) return
  try {
    // A close frame has room for 123 bytes of reason; one byte too many and nothing would be closed.
    socket.close(code, reason.replaceAll(/[^ -~]/g, '?').slice(0, 123))
  } catch {
    // It is closed already, which is all that was wanted.
  }
}
