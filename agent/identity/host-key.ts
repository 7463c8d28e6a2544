// A host's key pair as a file. Whoever holds it is the host, so it is the owner's alone.

import { randomUUID } from 'node:crypto'
import { link, mkdir, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from 'jose'
import { z } from 'zod'
import type { PublicKey } from '../../shared/api.ts'
import { Problem } from '../../shared/problems.ts'
import { syncFolder } from '../disk.ts'
import { readOwn, writeAside } from './own-file.ts'

export interface HostKey {
  readonly privateKey: CryptoKey
  /** What the relay gets to know. */
  readonly publicJwk: PublicKey & JWK
}

const keySchema = z.object({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string(), d: z.string() })

export function keyPath(dir: string): string {
  return join(dir, 'host-key.json')
}

/** The host's key, made at the first call. */
export async function loadOrCreateKey(dir: string): Promise<HostKey> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const known = await readPresentKey(dir)
  if (known) return known
  await createKey(keyPath(dir))
  return loadKey(dir)
}

/** The host's key. Throws `key-unusable` where there is none. */
export async function loadKey(dir: string): Promise<HostKey> {
  const key = await readPresentKey(dir)
  if (key) return key
  throw new Problem('key-unusable', `${keyPath(dir)} does not exist`, { cure: 'run `ropeway enroll`' })
}

function readPresentKey(dir: string): Promise<HostKey | undefined> {
  return readKey(keyPath(dir), 'restore it, or delete it and run `ropeway enroll`')
}

/** `cure` is for a file that does not hold a key. */
export async function readKey(path: string, cure: string): Promise<HostKey | undefined> {
  const holds = 'a key'
  const jwk = await readOwn({ path, schema: keySchema, holds, cure, isSecret: true })
  if (!jwk) return undefined
  const { kty, crv, x, d } = jwk
  const privateKey = await importJWK({ kty, crv, x, d }, 'EdDSA').catch((cause: unknown) => {
    throw new Problem('key-unusable', `${path} does not hold ${holds}`, { cause, cure })
  })
  if (privateKey instanceof Uint8Array) throw new Error('not a key pair')
  return { privateKey, publicJwk: { kty, crv, x } }
}

// Whole or not at all: written aside, made durable, then linked. Linking fails where another process was first; its key counts.
async function createKey(path: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await writeAside(aside, await makeKey(), 'wx')
    await link(aside, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  } finally {
    await unlink(aside)
  }
  await syncFolder(dirname(path))
}

/** A new pair, as its file holds it. */
export async function makeKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  return exportJWK(privateKey)
}
