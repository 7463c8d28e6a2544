// Standard Webhooks 1.0: HMAC-SHA256 (v1) or Ed25519 (v1a) over `id.timestamp.body`. Stricter than the reference libraries, which accept
// trailing junk and joined headers. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

import { SECRET_BYTES_MAX, SECRET_BYTES_MIN, SIGNATURE_AGE_SECONDS_MAX, SIGNATURES_MAX } from '../limits.ts'
import { base64Bytes, HMAC } from '../mac.ts'
import { Problem } from '../problems.ts'
import type { SignedRequest } from './verified.ts'

const ID = /^[A-Za-z0-9_-]{1,128}$/
const TIMESTAMP = /^[1-9][0-9]{9}$/
// Duplicate headers reach us joined by `, `: no grammar here has a comma followed by a space, so they are refused, never "first wins".
const SIGNATURES = /^v1a?,[A-Za-z0-9+/]{43,86}={0,2}(?: v1a?,[A-Za-z0-9+/]{43,86}={0,2})*$/

/** An Ed25519 public key: 32 bytes. */
const PUBLIC_KEY_BYTES = 32

/**
 * The sender's own id of a request whose signature and time are right under any of the trigger's keys, which key that was, and when the
 * request was signed. Throws `unauthorized` when no signature matches, `request-stale` when one does but its time is not now; the
 * messages are for the host, never for the sender.
 */
export async function verifyStandardWebhook(
  { headers, body }: SignedRequest,
  trigger: { readonly type: keyof typeof SCHEMES; readonly keys: readonly string[] },
  nowMs: number,
  { mayBeOld = false }: { mayBeOld?: boolean } = {},
): Promise<{ eventId: string; signedAt: number; key: string }> {
  const eventId = headers['webhook-id'] ?? ''
  const timestamp = headers['webhook-timestamp'] ?? ''
  const signatures = headers['webhook-signature'] ?? ''
  if (!ID.test(eventId)) throw new Problem('unauthorized', 'webhook-id is missing or malformed')
  if (!TIMESTAMP.test(timestamp))
    throw new Problem('unauthorized', 'webhook-timestamp is missing or malformed')
  if (!SIGNATURES.test(signatures))
    throw new Problem('unauthorized', 'webhook-signature is missing or malformed')
  const offered = signatures.split(' ')
  if (offered.length > SIGNATURES_MAX)
    throw new Problem('unauthorized', 'webhook-signature has too many entries')

  const { prefix, algorithm, format, bytesOf } = SCHEMES[trigger.type]
  const content = signedContent(eventId, timestamp, body)
  // Every key and entry is tried, whatever came before: how long it takes says nothing.
  let fitting: string | undefined
  for (const text of trigger.keys) {
    const key = await crypto.subtle.importKey(format, bytesOf(text), algorithm, false, ['verify'])
    for (const entry of offered) {
      const signature = entry.startsWith(prefix) ? base64Bytes(entry.slice(prefix.length)) : undefined
      if (signature && (await crypto.subtle.verify(algorithm, key, signature, content))) fitting ??= text
    }
  }
  if (fitting === undefined) throw new Problem('unauthorized', 'no signature matches')
  const ageSeconds = Math.round(nowMs / 1000 - Number(timestamp))
  if (!mayBeOld && ageSeconds > SIGNATURE_AGE_SECONDS_MAX)
    throw new Problem('request-stale', `the request was signed ${ageSeconds} s ago by this clock`)
  if (ageSeconds < -SIGNATURE_AGE_SECONDS_MAX)
    throw new Problem('request-stale', `the request was signed ${-ageSeconds} s in the future by this clock`)
  return { eventId, signedAt: Number(timestamp) * 1000, key: fitting }
}

// A trigger's type fixes the one scheme that counts: an entry of the other one is not even looked at.
const SCHEMES = {
  'standard-webhooks': { prefix: 'v1,', algorithm: HMAC, format: 'raw', bytesOf: secretBytes },
  'standard-webhooks-v1a': {
    prefix: 'v1a,',
    algorithm: { name: 'Ed25519' },
    format: 'raw',
    bytesOf: publicKeyBytes,
  },
} as const

/** The three headers for a body, as a sender makes them with `whsec_` and a secret, or `whsk_` and a private key. */
export async function signStandardWebhook(
  secret: string,
  request: { id: string; timestampSeconds: number; body: Uint8Array },
): Promise<Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>> {
  const timestamp = String(request.timestampSeconds)
  const content = signedContent(request.id, timestamp, request.body)
  const [version, signature] = secret.startsWith('whsk_')
    ? ['v1a', await signEd25519(secret, content)]
    : ['v1', await signHmac(secret, content)]
  return {
    'webhook-id': request.id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `${version},${btoa(String.fromCharCode(...new Uint8Array(signature)))}`,
  }
}

async function signHmac(secret: string, content: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const key = await crypto.subtle.importKey('raw', secretBytes(secret), HMAC, false, ['sign'])
  return crypto.subtle.sign('HMAC', key, content)
}

// The seed and the public key, 32 bytes each, as Svix writes them. JWK is the one form of a private key that every runtime imports.
async function signEd25519(secret: string, content: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const bytes = base64Bytes(secret.slice('whsk_'.length))
  if (bytes?.length !== 2 * PUBLIC_KEY_BYTES) throw new Error('not a whsk_ key')
  const d = base64url(bytes.subarray(0, PUBLIC_KEY_BYTES))
  const x = base64url(bytes.subarray(PUBLIC_KEY_BYTES))
  const jwk = { kty: 'OKP', crv: 'Ed25519', d, x }
  const key = await crypto.subtle.importKey('jwk', jwk, { name: 'Ed25519' }, false, ['sign'])
  return crypto.subtle.sign({ name: 'Ed25519' }, key, content)
}

/** Why a secret cannot be used, or undefined if it can. */
export function secretFault(secret: string): string | undefined {
  const bytes = base64Bytes(secret.replace(/^whsec_/, ''))
  if (!bytes) return 'is not `whsec_` and base64'
  if (bytes.length < SECRET_BYTES_MIN) return `has ${bytes.length} bytes, fewer than ${SECRET_BYTES_MIN}`
  if (bytes.length > SECRET_BYTES_MAX) return `has ${bytes.length} bytes, more than ${SECRET_BYTES_MAX}`
  if (bytes.every((byte) => byte === bytes[0])) return 'is one byte repeated'
  return undefined
}

/** Why a public key cannot be used, or undefined if it can. */
export function publicKeyFault(key: string): string | undefined {
  const bytes = key.startsWith('whpk_') ? base64Bytes(key.slice('whpk_'.length)) : undefined
  if (bytes?.length !== PUBLIC_KEY_BYTES) return 'is not `whpk_` and an Ed25519 public key in base64'
  // A point of small order among them: some verifiers take any signature for one of its.
  return bytes.every((byte) => byte === bytes[0]) ? 'is one byte repeated' : undefined
}

function publicKeyBytes(key: string): Uint8Array<ArrayBuffer> {
  const bytes = base64Bytes(key.slice('whpk_'.length))
  if (!bytes) throw new Error('a public key was not checked by publicKeyFault')
  return bytes
}

function secretBytes(secret: string): Uint8Array<ArrayBuffer> {
  const bytes = base64Bytes(secret.replace(/^whsec_/, ''))
  if (!bytes) throw new Error('a secret was not checked by secretFault')
  return bytes
}

function signedContent(id: string, timestamp: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(`${id}.${timestamp}.`)
  const content = new Uint8Array(head.length + body.length)
  content.set(head)
  content.set(body, head.length)
  return content
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}
