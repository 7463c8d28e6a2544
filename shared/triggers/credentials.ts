// How a registry shows who it is, where it is not Standard Webhooks or an issuer's token: a secret of its own, or an HMAC of the body.

import { hexBytes, hmacKeyOf, utf8 } from '../mac.ts'
import { sha256Hex } from '../tokens.ts'
import type { Credential } from './registries/registry.ts'
import type { SignedRequest } from './verified.ts'
import { verifyStandardWebhook } from './standard-webhooks.ts'

/** A secret that signs: any text of printable ASCII. */
export const SIGNING_SECRET_PATTERN = /^[\x21-\x7e]{24,128}$/

const MAC_BYTES = 32
const BASIC = /^Basic ([A-Za-z0-9+/]{1,400}={0,2})$/i

/** What the relay keeps of a secret: the secret itself, or its SHA-256 in hex. */
type KeyForm = 'hash' | 'secret'

/** Which form the relay gets. A signature can only be verified with the secret itself; for all else its hash is enough. */
export function keyFormOf(credential: Credential, secret: string): KeyForm {
  if (credential === 'gitlab') return secret.startsWith('whsec_') ? 'secret' : 'hash'
  return typeof credential === 'object' ? 'secret' : 'hash'
}

/** The key of a trigger that a request was sent with, or undefined. `pathSecret` is the last part of the address, where there is one. */
export async function fittingKey(
  credential: Credential,
  keys: readonly string[],
  { headers, body }: SignedRequest,
  pathSecret: string | undefined,
  nowMs: number,
): Promise<string | undefined> {
  if ((credential === 'path') !== (pathSecret !== undefined)) return undefined
  if (credential === 'path') return await byHash(keys, pathSecret)
  if (credential === 'authorization') return await byHash(keys, secretIn(headers['authorization']))
  if (credential === 'gitlab') return await byGitlab(keys, { headers, body }, nowMs)
  if (credential === 'google') return undefined
  const { header, prefix } = credential
  const sent = headers[header] ?? ''
  return sent.startsWith(prefix) ? await byMac(keys, sent.slice(prefix.length), body) : undefined
}

/** The headers that a sender may show itself by. */
export function credentialHeaders(credential: Credential): readonly string[] {
  if (credential === 'path') return []
  if (credential === 'gitlab')
    return ['x-gitlab-token', 'webhook-id', 'webhook-timestamp', 'webhook-signature']
  return [typeof credential === 'object' ? credential.header : 'authorization']
}

// The hashes are compared, never the secrets: how long that takes tells nothing of the secret.
async function byHash(keys: readonly string[], secret = ''): Promise<string | undefined> {
  const hash = await sha256Hex(new TextEncoder().encode(secret))
  return keys.find((key) => key === hash)
}

/** Bare, as `Bearer`, or as the password of `Basic`. */
function secretIn(header = ''): string | undefined {
  const basic = BASIC.exec(header)?.[1]
  if (basic === undefined) return header.replace(/^Bearer /i, '')
  try {
    const pair = atob(basic)
    return pair.includes(':') ? pair.slice(pair.indexOf(':') + 1) : undefined
  } catch {
    return undefined
  }
}

// A request that has a signature is judged by that alone. The token beside it does not count.
async function byGitlab(
  keys: readonly string[],
  request: SignedRequest,
  nowMs: number,
): Promise<string | undefined> {
  if (request.headers['webhook-signature'] === undefined)
    return await byHash(keys, request.headers['x-gitlab-token'])
  const signing = keys.filter((key) => key.startsWith('whsec_'))
  const verified = await verifyStandardWebhook(
    request,
    { type: 'standard-webhooks', keys: signing },
    nowMs,
  ).catch(() => undefined)
  return verified?.key
}

async function byMac(keys: readonly string[], mac: string, body: Uint8Array): Promise<string | undefined> {
  const signature = hexBytes(mac, MAC_BYTES)
  return signature && (await hmacKeyOf(keys, utf8, signature, new Uint8Array(body)).catch(() => undefined))
}
