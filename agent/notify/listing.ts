// What became of a stack's notices, for `ropeway notifications`: DATA/notifications/STACK.json. Beside the journal, which one process has
// to itself, and made from it anew: who loses this file loses nothing.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { Problem } from '../../shared/problems.ts'
import type { ListedNotice } from '../daemon/journal/notices.ts'

const listedSchema = z.object({
  destination: z.string(),
  deploy: z.string(),
  moment: z.string(),
  at: z.number(),
  tries: z.number(),
  nextAt: z.number(),
  fault: z.string().nullable(),
  outcome: z.enum(['sent', 'given-up']).nullable(),
  endedAt: z.number().nullable(),
}) satisfies z.ZodType<ListedNotice>

const listingSchema = z.object({
  /** When it was written; milliseconds since 1970. */
  at: z.number(),
  destinations: z.array(z.object({ name: z.string(), type: z.string(), on: z.array(z.string()).readonly() })),
  /** Newest first. */
  notices: z.array(listedSchema),
})
export type Listing = z.infer<typeof listingSchema>

const pathOf = (dir: string, stack: string) => join(dir, 'notifications', `${stack}.json`)

/** Whole or not at all, but not durably: it is a copy. */
export function writeListing(dir: string, stack: string, listing: Listing): void {
  const path = pathOf(dir, stack)
  mkdirSync(join(dir, 'notifications'), { recursive: true, mode: 0o700 })
  writeFileSync(`${path}.new`, `${JSON.stringify(listing)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** Undefined where no agent has told of the stack. Throws `journal-unusable`. */
export function readListing(dir: string, stack: string): Listing | undefined {
  const path = pathOf(dir, stack)
  try {
    return listingSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    const why = code === undefined ? 'does not hold a list of notices' : `cannot be read: ${code}`
    throw new Problem('journal-unusable', `${path} ${why}`, {
      cause,
      cure: 'run the command as the user that the agent runs as; the agent writes the file anew when it starts',
    })
  }
}
