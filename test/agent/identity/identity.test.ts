import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { keyPath, loadKey, loadOrCreateKey, openIdentity } from '../../../agent/identity/identity.ts'
import { signToken, verifyToken } from '../../../shared/tokens.ts'
import { tempDir } from '../../support/host.ts'

const OPTIONS = {
  host: 'vps-1',
  audience: 'https://r',
  actor: 'a',
  scopes: ['read'] as const,
  ttlSeconds: 60,
}

test('the key is made once, for the owner alone, and signs what its public half verifies', async () => {
  const dir = join(tempDir(), 'data')
  const made = await loadOrCreateKey(dir)
  expect(statSync(dir).mode & 0o777).toBe(0o700)
  expect(statSync(keyPath(dir)).mode & 0o777).toBe(0o600)
  expect(readdirSync(dir)).toEqual(['host-key.json'])
  expect(made.publicJwk).toEqual({ kty: 'OKP', crv: 'Ed25519', x: expect.any(String) })

  const again = await loadOrCreateKey(dir)
  expect(again.publicJwk).toEqual(made.publicJwk)
  const now = new Date()
  const token = await signToken(again.privateKey, { ...OPTIONS, now })
  const claims = await verifyToken(token, [made.publicJwk], { host: 'vps-1', audience: 'https://r', now })
  expect(claims.actor).toBe('a')
})

test('many that make it at once get the same key', async () => {
  const dir = tempDir()
  const keys = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateKey(dir)))
  expect(new Set(keys.map(({ publicJwk }) => publicJwk.x)).size).toBe(1)
  expect(readdirSync(dir)).toEqual(['host-key.json'])
})

test('an identity is read anew at each question', async () => {
  const dir = tempDir()
  const identity = openIdentity(dir)
  await expect(identity.signingKey()).rejects.toMatchObject({ code: 'key-unusable' })
  const { publicJwk } = await loadOrCreateKey(dir)
  const now = new Date()
  expect((await identity.signingKey()).publicJwk).toEqual(publicJwk)
  expect(await identity.publicKeys(now)).toEqual([publicJwk])
  expect(await identity.revoked(now)).toEqual([])
  writeFileSync(join(dir, 'revoked.json'), JSON.stringify([{ id: 'a', until: now.getTime() + 1 }]))
  expect(await identity.revoked(now)).toEqual(['a'])
  expect(await identity.revoked(new Date(now.getTime() + 1))).toEqual([])
})

test('without a key, the cure is to enroll, and none is made', async () => {
  const dir = tempDir()
  await expect(loadKey(dir)).rejects.toMatchObject({
    code: 'key-unusable',
    cure: expect.stringContaining('enroll'),
  })
  expect(existsSync(keyPath(dir))).toBe(false)
})

test.each([0o640, 0o604, 0o666])('a key file of mode %o is refused with the cure', async (mode) => {
  const dir = tempDir()
  await loadOrCreateKey(dir)
  chmodSync(keyPath(dir), mode)
  for (const load of [loadKey, loadOrCreateKey])
    await expect(load(dir)).rejects.toMatchObject({
      code: 'key-unusable',
      cure: expect.stringContaining('chmod 600'),
    })
})

test.each(['', '{', '{"kty":"RSA"}', '{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}'])(
  'a damaged key file (%s) is refused and kept',
  async (text) => {
    const dir = tempDir()
    writeFileSync(keyPath(dir), text, { mode: 0o600 })
    await expect(loadOrCreateKey(dir)).rejects.toMatchObject({ code: 'key-unusable' })
    expect(readFileSync(keyPath(dir), 'utf8')).toBe(text)
  },
)
