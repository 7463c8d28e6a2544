// Who this host is: the key that signs, the keys and tokens that count. All in the data directory, which is read anew at each question:
// `ropeway rotate-key` and `ropeway revoke` reach a running agent that way.

import type { JWK } from 'jose'
import { loadKey, type HostKey } from './host-key.ts'
import { readRevoked } from './revocation.ts'
import { readFormerKeys } from './rotation.ts'

export { keyPath, loadKey, loadOrCreateKey, type HostKey } from './host-key.ts'

export interface Identity {
  /** The newest, which signs. */
  signingKey(): Promise<HostKey>
  /** Those that a token may be signed with, the newest first. */
  publicKeys(now: Date): Promise<readonly JWK[]>
  /** Ids of the tokens that count no more. */
  revoked(now: Date): Promise<readonly string[]>
}

/** Every method throws `key-unusable` for a damaged file: what cannot be read must not count as empty. */
export function openIdentity(dir: string): Identity {
  return {
    signingKey: () => loadKey(dir),
    publicKeys: async (now) => {
      // In this order: a key that becomes a former one in between is seen twice rather than not at all.
      const { publicJwk } = await loadKey(dir)
      const former = await readFormerKeys(dir, now)
      return [publicJwk, ...former.map((key) => key.publicKey).filter(({ x }) => x !== publicJwk.x)]
    },
    revoked: async (now) => (await readRevoked(dir, now)).map(({ id }) => id),
  }
}
