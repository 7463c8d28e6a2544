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

/** What is sent, for whoever compares hashes: SHA-256 comes before the comparison, so its time says nothing. */
export type KeyForm = 'hash' | 'secret'

/** Whether the relay gets the secret itself, which verifying a signature takes, or its hash (SHA-256, hex). */
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

// What is signed is never believed by the token beside it.
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
