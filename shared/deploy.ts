// A deploy's status and the one table of its transitions: live running, replay and every viewer's picture use it.

import type { ToldEvent } from './events.ts'

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

/**
 * Whether the agent could verify the request for itself. A hint could only be believed, so it chooses nothing: it makes the agent look at
 * an allowed repository again.
 */
export const TRUSTS = ['signed', 'hint'] as const
export type Trust = (typeof TRUSTS)[number]

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

const ID_ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const ID_CHARS = 16
export const DEPLOY_ID_PATTERN = /^[0-9a-hjkmnp-tv-z]{16}$/

/**
 * The id of the deploy that a signed request asks for: 80 bits of a digest over host, stack, trigger and the sender's own id.
 * The same request always gets the same id, on the hub as on the agent, so that a replay is found by whoever sees it.
 */
export async function deployId(...parts: readonly string[]): Promise<string> {
  const digest = new Uint8Array(
    await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(parts))),
  )
  return Array.from({ length: ID_CHARS }, (_, i) => ID_ALPHABET[(digest[i] ?? 0) & 31]).join('')
}
