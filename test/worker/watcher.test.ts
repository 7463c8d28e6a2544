// Whoever asks by a hook and waits for the end watches by a session of its own, for it has no token: what that lets it see.

import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { SESSION_SECONDS } from '../../shared/limits.ts'
import { allows } from '../../shared/tokens.ts'
import { makeSession, verifySession, watcherClaims } from '../../worker/hub/session.ts'

const where = { host: 'vps-1', audience: 'https://relay.example' }
const key = randomBytes(32)
const now = new Date('2026-11-23T12:00:00Z')
const later = (seconds: number) => new Date(now.getTime() + seconds * 1000)

test('whoever watches by a hook reads the hook’s own stack, and no other, for as long as a session', async () => {
  const made = watcherClaims('hello', 'watcher-1', now)
  const { token } = await makeSession(key, { ...where, claims: made, now })
  const claims = await verifySession(token, key, { ...where, now })
  expect(claims).toEqual({
    actor: 'hook',
    id: 'watcher-1',
    issuedAt: now.getTime(),
    expiresAt: later(SESSION_SECONDS).getTime(),
    scopes: ['read'],
    stacks: ['hello'],
    bodySha256: undefined,
  })
  expect([allows(claims, 'read', 'hello'), allows(claims, 'read', 'other')]).toEqual([true, false])
  expect(
    (['deploy', 'rollback', 'agent'] as const).filter((scope) => allows(claims, scope, 'hello')),
  ).toEqual([])
  await verifySession(token, key, { ...where, now: later(SESSION_SECONDS - 1) })
  await expect(verifySession(token, key, { ...where, now: later(SESSION_SECONDS) })).rejects.toMatchObject({
    code: 'unauthorized',
  })
})
