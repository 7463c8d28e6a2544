// A deploy's status and the one table of its transitions: live running, replay and every viewer's picture use it.

import type { ToldEvent } from './events.ts'
import type { Trust } from './request.ts'

export const STATUSES = [
  'queued',
  'running',
  'succeeded',
  'failed',
  'stuck',
  'superseded',
  'cancelled',
  'expired',
] as const
export type Status = (typeof STATUSES)[number]

/** Whether nothing comes after this status. */
export function isFinal(status: Status): boolean {
  return status !== 'queued' && status !== 'running'
}

/**
 * The status after an event. Events that say nothing about the status keep it, and so does every event of a type that is not known here.
 * Throws for an event that cannot follow: that is a bug in whoever emitted it.
 */
export function nextStatus(status: Status, event: ToldEvent): Status {
  if (isFinal(status)) throw new Error(`${event.type} after ${status}`)
  switch (event.type) {
    case 'accepted':
    case 'received':
    case 'warning':
    case 'gap':
      return status
    case 'started':
    case 'planned':
    case 'step-started':
    case 'step-progress':
    case 'step-finished':
    case 'step-failed':
    case 'recovering':
    case 'resuming':
    case 'undoing':
      return 'running'
    case 'succeeded':
    case 'failed':
    case 'stuck':
    case 'superseded':
    case 'cancelled':
    case 'expired':
      return event.type
    default:
      return status
  }
}

/** A deploy as the API shows it. Times are milliseconds since 1970. */
export interface Deploy {
  readonly id: string
  readonly host: string
  readonly stack: string
  readonly trigger: string
  readonly actor: string
  readonly trust: Trust
  readonly status: Status
  readonly acceptedAt: number
  readonly finishedAt: number | null
}
