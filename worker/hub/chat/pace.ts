// When a deploy's message is shown again, pure. Often enough to watch a roll, seldom enough for every platform's limits, and always at the end.

import type { CallAnswer, MessagePlace, Platform } from '../../../shared/chat/platform.ts'

/** Between two edits of one message. Telegram takes 20 in a minute in one group, and nobody reads faster. */
export const EDIT_EVERY_MS = 4000
/** A call that fails is tried again after 2, 4, 8… s, at most 5 minutes apart. After some half an hour the message stays as it is. */
const TRIES_MAX = 12
const TRY_AGAIN_MS = 2000
const TRY_AGAIN_MS_MAX = 5 * 60_000

/** A deploy's message, as it is stored. */
export interface MessageState {
  readonly place: MessagePlace
  /** The event that it was last shown with; 0: never. */
  readonly seq: number
  readonly shownAt: number
  readonly tries: number
}

/** When a message that has news is due. The end waits for nothing. */
export function dueAt({ shownAt }: Pick<MessageState, 'shownAt'>, isFinal: boolean, now: number): number {
  return isFinal ? now : Math.max(now, shownAt + EDIT_EVERY_MS)
}

export type Next =
  /** Shown as of the event `seq`; due again at a time, or when there is news. */
  | {
      readonly place: MessagePlace
      readonly seq: number
      readonly shownAt: number
      readonly tries: number
      readonly dueAt: number | null
    }
  /** Nothing more is shown of it. */
  | { readonly end: string | undefined }

/**
 * What follows from an attempt to show a message as of event `seq`. Without an answer the platform could not be reached. `latest` is how far the
 * deploy has come meanwhile.
 */
export function afterCall(
  shown: MessageState,
  platform: Platform,
  attempt: { readonly seq: number; readonly isFinal: boolean; readonly answer: CallAnswer | undefined },
  latest: { readonly seq: number; readonly isFinal: boolean },
  now: number,
): Next {
  const { answer, seq } = attempt
  const outcome =
    answer && answer.status !== 429 && answer.status < 500 ? platform.shown(shown.place, answer) : undefined
  if (!outcome || 'again' in outcome) {
    if (shown.tries + 1 >= TRIES_MAX) return { end: 'the platform does not answer' }
    const waitMs = Math.min(TRY_AGAIN_MS_MAX, TRY_AGAIN_MS * 2 ** shown.tries)
    const asked = (answer?.retryAfterSeconds ?? 0) * 1000
    return { ...shown, tries: shown.tries + 1, dueAt: now + Math.max(waitMs, asked) }
  }
  if ('hopeless' in outcome) return { end: outcome.hopeless }
  const { place, isShown } = outcome
  if (!isShown) {
    if (shown.tries + 1 >= TRIES_MAX) return { end: 'the platform takes it nowhere' }
    return { ...shown, place, tries: shown.tries + 1, dueAt: now }
  }
  if (attempt.isFinal) return { end: undefined }
  const next = { place, seq, shownAt: now, tries: 0 }
  return { ...next, dueAt: latest.seq > seq ? dueAt(next, latest.isFinal, now) : null }
}
