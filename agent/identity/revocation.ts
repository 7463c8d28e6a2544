// The tokens that the host does not honour any more: DIR/revoked.json, the list that the agent looks at for every request and that the
// relay gets a copy of.

import { join } from 'node:path'
import { z } from 'zod'
import { REQUEST_TTL_MS, TOKENS_REVOKED_MAX } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import { alone, readOwn, writeOwn } from './own-file.ts'

/** After a token's end: a request that it made may wait in the relay for so long, and then come with it. The rest is for clocks. */
const AFTERLIFE_MS = REQUEST_TTL_MS + 3600_000

const revocation = z.object({
  id: z.string(),
  /** When it need not be remembered any more: milliseconds since 1970. */
  until: z.number(),
})
export type Revocation = z.infer<typeof revocation>

function revokedPath(dir: string): string {
  return join(dir, 'revoked.json')
}

export async function readRevoked(dir: string, now: Date): Promise<readonly Revocation[]> {
  const revoked = await readOwn({
    path: revokedPath(dir),
    schema: z.array(revocation),
    holds: 'a list of revoked tokens',
    cure: 'restore it, or delete it and run `ropeway rotate-key --keep 0s`, which revokes all tokens',
  })
  return (revoked ?? []).filter(({ until }) => until > now.getTime())
}

/** Adds tokens by id and expiry (milliseconds since 1970). The whole list then. Throws, and adds none, when it would grow too long. */
export async function addRevoked(
  dir: string,
  tokens: readonly { readonly id: string; readonly expiresAt: number }[],
  { now, signal }: { now: Date; signal: AbortSignal },
): Promise<readonly Revocation[]> {
  return await alone(revokedPath(dir), signal, async () => {
    const untils = new Map((await readRevoked(dir, now)).map(({ id, until }) => [id, until]))
    for (const { id, expiresAt } of tokens) {
      const until = Math.max(untils.get(id) ?? 0, expiresAt + AFTERLIFE_MS)
      if (until > now.getTime()) untils.set(id, until)
    }
    if (untils.size > TOKENS_REVOKED_MAX)
      throw new Problem(
        'usage-invalid',
        `no more than ${TOKENS_REVOKED_MAX} tokens can be revoked one by one`,
        {
          cure: 'revoke all there are: `ropeway rotate-key --keep 0s`',
        },
      )
    const revoked = [...untils].map(([id, until]) => ({ id, until }))
    await writeOwn(revokedPath(dir), revoked)
    return revoked
  })
}
