// A new key in the place of the host's present one, so that a crash at any point leaves a host that works, and a rotation that the next
// run finishes. The next key waits in its own file until the relay knows it; former keys are kept, without their secret halves, for as
// long as tokens that they signed shall count.

import { join } from 'node:path'
import { z } from 'zod'
import { publicKeySchema } from '../../shared/api.ts'
import { putInPlace } from '../disk.ts'
import { keyPath, loadKey, makeKey, readKey, type HostKey } from './host-key.ts'
import { alone, readOwn, writeOwn } from './own-file.ts'

const formerKey = z.object({
  publicKey: publicKeySchema,
  /** Milliseconds since 1970. */
  until: z.number(),
})
export type FormerKey = z.infer<typeof formerKey>

const formerPath = (dir: string) => join(dir, 'host-keys-old.json')
const nextPath = (dir: string) => join(dir, 'host-key-next.json')

export async function readFormerKeys(dir: string, now: Date): Promise<readonly FormerKey[]> {
  const keys = await readOwn({
    path: formerPath(dir),
    schema: z.array(formerKey),
    holds: 'a list of former keys',
    cure: 'restore it, or delete it: tokens that were signed before the last rotation then count no more',
  })
  return (keys ?? []).filter(({ until }) => until > now.getTime())
}

export interface RotationKeys {
  readonly present: HostKey
  readonly next: HostKey
  /** The former ones once the next is the present one. */
  readonly kept: readonly FormerKey[]
}

/** `register` tells the relay the next key, and must succeed as well if the relay has known it before. */
export async function rotate<T>(
  dir: string,
  { keepMs, signal }: { keepMs: number; signal: AbortSignal },
  register: (keys: RotationKeys) => Promise<T>,
): Promise<{ isResumed: boolean; kept: readonly FormerKey[]; answer: T }> {
  return await alone(keyPath(dir), signal, async () => {
    const present = await loadKey(dir)
    const before = await readNext(dir)
    if (!before) await writeOwn(nextPath(dir), await makeKey())
    const next = before ?? (await readNext(dir))
    if (!next) throw new Error('the next key is gone')
    const answer = await register({ present, next, kept: await keptKeys(dir, present, keepMs) })
    // Computed again: the relay counts their time from its answer, which came after the first computation. They are written before the new key is
    // put in place, so that no valid token is refused in between.
    const kept = await keptKeys(dir, present, keepMs)
    await writeOwn(formerPath(dir), kept)
    await putInPlace(nextPath(dir), keyPath(dir))
    return { isResumed: before !== undefined, kept, answer }
  })
}

// The relay has the same rule: no former key is valid for longer than the one that is replaced last.
async function keptKeys(dir: string, present: HostKey, keepMs: number): Promise<readonly FormerKey[]> {
  const now = Date.now()
  const until = now + keepMs
  const former = await readFormerKeys(dir, new Date(now))
  return [
    { publicKey: present.publicJwk, until },
    ...former
      .filter(({ publicKey }) => publicKey.x !== present.publicJwk.x)
      .map((key) => ({ ...key, until: Math.min(key.until, until) })),
  ].filter((key) => key.until > now)
}

/** Whether a rotation was interrupted. */
export async function isRotating(dir: string): Promise<boolean> {
  return (await readNext(dir)) !== undefined
}

function readNext(dir: string): Promise<HostKey | undefined> {
  return readKey(
    nextPath(dir),
    'delete it and run `ropeway rotate-key` again: the present key counts until it is replaced',
  )
}
