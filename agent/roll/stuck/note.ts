// A stack that is stuck: the note that locks it until a person, or a deploy that succeeds, has set it right.

import { z } from 'zod'
import type { Texts } from '../runtime.ts'

export const stuckNoteSchema = z.object({
  deploy: z.string(),
  /** Milliseconds since 1970. */
  at: z.number(),
  /** Why, in a sentence. */
  why: z.string(),
  /** The record of the roll (record.ts), from which the way back can be tried again. */
  record: z.string(),
})
export type StuckNote = z.infer<typeof stuckNoteSchema>

/** One stack's note, on the host's disk: read anew each time, for `ropeway resolve` may take it away while the agent runs. */
export interface StuckNotes {
  read(): StuckNote | undefined
  write(note: StuckNote): void
  clear(): void
  /** Keeps copies of files for a person to put back, texts as UTF-8. Returns the path of each copy by the path of its file. */
  keep(files: Readonly<Record<string, string | Uint8Array>>): Texts
}
