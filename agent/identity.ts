// The host's key: an Ed25519 pair in the data directory. Whoever holds it is the host, so its file is the owner's alone.

import { randomUUID } from 'node:crypto'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK } from 'jose'
import { z } from 'zod'
import { Problem } from '../shared/problems.ts'

export interface HostKey {
  readonly privateKey: CryptoKey
  /** What the relay gets to know. */
  readonly publicJwk: JWK
}

const keySchema = z.object({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string(), d: z.string() })

export function keyPath(dir: string): string {
  return join(dir, 'host-key.json')
}

/** The host's key, made at the first call. */
export async function loadOrCreateKey(dir: string): Promise<HostKey> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  return (await readKey(dir)) ?? (await createKey(dir))
}

/** The host's key. Throws `key-unusable` where there is none. */
export async function loadKey(dir: string): Promise<HostKey> {
  const key = await readKey(dir)
  if (key) return key
  throw new Problem('key-unusable', `${keyPath(dir)} does not exist`, { cure: 'run `ropeway enroll`' })
}

async function readKey(dir: string): Promise<HostKey | undefined> {
  const path = keyPath(dir)
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw new Problem('key-unusable', `${path} cannot be read: ${cause.code}`, { cause })
  })
  if (!file) return undefined
  try {
    // By the open file, so that what was checked is what is read.
    const { mode } = await file.stat()
    if ((mode & 0o077) !== 0)
      throw new Problem(
        'key-unusable',
        `${path} can be read by others (mode ${(mode & 0o777).toString(8)})`,
        {
          cure: `if nobody has read it, run \`chmod 600 ${path}\`, else delete it and enroll again`,
        },
      )
    return await parseKey(await file.readFile('utf8'))
  } catch (cause) {
    if (cause instanceof Problem) throw cause
    throw new Problem('key-unusable', `${path} does not hold a key`, {
      cause,
      cure: 'restore it, or delete it and run `ropeway enroll`',
    })
  } finally {
    await file.close()
  }
}

async function parseKey(text: string): Promise<HostKey> {
  const { kty, crv, x, d } = keySchema.parse(JSON.parse(text))
  const privateKey = await importJWK({ kty, crv, x, d }, 'EdDSA')
  if (privateKey instanceof Uint8Array) throw new Error('not a key pair')
  return { privateKey, publicJwk: { kty, crv, x } }
}

// Whole or not at all: written aside, made durable, then linked. Linking fails where another process was first; its key counts.
async function createKey(dir: string): Promise<HostKey> {
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const text = `${JSON.stringify(await exportJWK(privateKey))}\n`
  const aside = `${keyPath(dir)}.${randomUUID()}`
  const file = await open(aside, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
    await file.close()
    await link(aside, keyPath(dir)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  } finally {
    await unlink(aside)
  }
  const directory = await open(dir, 'r')
  await directory.sync().finally(() => directory.close())
  return loadKey(dir)
}
