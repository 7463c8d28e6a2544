// What a roll is given beside the stack and the request: who asked, where its events and its record go, and when it is to stop.

import type { DeployEvent } from '../../shared/events.ts'
import type { Releases } from './releases/release.ts'
import type { StuckNotes } from './stuck/note.ts'

export interface RollContext {
  emit(event: DeployEvent): void
  /** Keeps durably what `recover` needs if this process dies: the note each time, the facts once. Throws where they cannot be kept. */
  remember(note: string, facts?: string): void
  /** Which deploy this is, and who asked. `isAutomatic`: a trigger, not a person in a chat or the holder of a token. */
  readonly deploy: { readonly id: string; readonly actor: string; readonly isAutomatic: boolean }
  readonly releases: Releases
  readonly stuck: StuckNotes
  /** Aborting it with a Problem ends the roll at the next safe point: what was done is undone, and the deploy ends by that Problem. */
  readonly signal: AbortSignal
}
