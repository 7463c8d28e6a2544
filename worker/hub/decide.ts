// What the hub decides, without the hub: what is stored and what came in go in, what to do comes out. Time is an argument.

import { isFinal, nextStatus, type Deploy, type Status } from '../../shared/deploy.ts'
import type { DeployEvent, LoggedEvent } from '../../shared/events.ts'
import { SILENCE_MS_MAX } from '../../shared/limits.ts'
import type { DeployFrame, Proof } from '../../shared/protocol.ts'
import type { Asked } from '../../shared/triggers/index.ts'

/** A deploy that is not over, as the agent must get it. */
export interface Unfinished {
  readonly deploy: Deploy
  readonly proof: Proof
}

/** How far the log of a deploy has come: the last `seq` that viewers see, and the agent's own count behind it. */
export interface Place {
  readonly status: Status
  readonly seq: number
  readonly agentSeq: number
}

export interface LogRow extends LoggedEvent {
  readonly agentSeq: number
}

export interface Asking {
  readonly host: string
  readonly stack: string
  readonly trigger: string
  readonly asked: Asked
}

/** What to store for a verified request: nothing when its deploy is known, for the same request always has the same id. */
export function accept(
  known: Deploy | undefined,
  { host, stack, trigger, asked }: Asking,
  now: number,
): { isNew: false; deploy: Deploy } | { isNew: true; deploy: Deploy; event: DeployEvent } {
  if (known) return { isNew: false, deploy: known }
  const { id, actor, request } = asked
  return {
    isNew: true,
    deploy: { id, host, stack, trigger, actor, status: 'queued', acceptedAt: now, finishedAt: null },
    event: { type: 'accepted', stack, trigger, actor, trust: 'signed', ...request },
  }
}

/** The frame that hands a deploy to the agent: what was signed, not what the hub made of it. */
export function deployFrame({ deploy, proof }: Unfinished): DeployFrame {
  const { id, stack, trigger, acceptedAt } = deploy
  return { type: 'deploy', id, stack, trigger, acceptedAt, proof }
}

/** What to do with the agent's events. `storedUpTo` is the agent's `seq` up to which it may forget them. */
export type Intake =
  | { readonly isGap: true; readonly expected: number }
  | {
      readonly isGap: false
      readonly rows: readonly LogRow[]
      readonly status: Status
      readonly storedUpTo: number
    }

/**
 * Which of the agent's events are new. The agent repeats what was not acknowledged, so those already stored are skipped; a hole
 * means that events were lost, which no repetition heals. Events of a deploy that is over, or that was never here, are acknowledged and dropped: otherwise
 * the agent would send them for ever.
 */
export function takeIn(place: Place | undefined, incoming: readonly LoggedEvent[]): Intake {
  let { status, seq, agentSeq } = place ?? { status: 'expired' as const, seq: 0, agentSeq: 0 }
  const rows: LogRow[] = []
  for (const { seq: theirs, at, event } of incoming) {
    if (isFinal(status)) {
      agentSeq = Math.max(agentSeq, theirs)
      continue
    }
    if (theirs <= agentSeq) continue
    if (theirs !== agentSeq + 1) return { isGap: true, expected: agentSeq + 1 }
    status = nextStatus(status, event)
    agentSeq = theirs
    seq += 1
    rows.push({ seq, at, event, agentSeq })
  }
  return { isGap: false, rows, status, storedUpTo: agentSeq }
}

/** Whether somebody still listens. A frozen peer's socket stays open, only its pings stop. */
export function isAlive(
  socket: { readonly isOpen: boolean; readonly connectedAt: number; readonly pingedAt: number | undefined },
  now: number,
): boolean {
  return socket.isOpen && now - Math.max(socket.connectedAt, socket.pingedAt ?? 0) < SILENCE_MS_MAX
}
