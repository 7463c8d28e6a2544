// Standard Webhooks 1.0 (symmetric): HMAC-SHA256 over `id.timestamp.body`. Stricter than the reference libraries, which accept
// trailing junk and joined headers. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

import { SECRET_BYTES_MAX, SECRET_BYTES_MIN, SIGNATURE_AGE_SECONDS_MAX, SIGNATURES_MAX } from '../limits.ts'
import { Problem } from '../problems.ts'
import type { SignedRequest } from './index.ts'

const ID = /^[A-Za-z0-9_-]{1,128}$/
const TIMESTAMP = /^[1-9][0-9]{9}$/
// Duplicate headers reach us joined by `, `: no grammar here has a comma followed by a space, so they are refused, never "first wins".
const SIGNATURES = /^v1a?,[A-Za-z0-9+/]{43,86}={0,2}(?: v1a?,[A-Za-z0-9+/]{43,86}={0,2})*$/
const HMAC = { name: 'HMAC', hash: 'SHA-256' }

/**
 * The sender's own id of a request whose signature and time are right under any of the secrets. The agent passes a greater
 * `ageSecondsMax`, for a request may have waited in the hub; the hub's own word on when it came in would prove nothing.
 * Throws `unauthorized` for everything else; the message is for the host's log, never for the sender.
 */
export async function verifyStandardWebhook(
  { headers, body }: SignedRequest,
  secrets: readonly string[],
  nowMs: number,
  ageSecondsMax = SIGNATURE_AGE_SECONDS_MAX,
): Promise<string> {
  const id = headers['webhook-id'] ?? ''
  const timestamp = headers['webhook-timestamp'] ?? ''
  const signatures = headers['webhook-signature'] ?? ''
  if (!ID.test(id)) throw new Problem('unauthorized', 'webhook-id is missing or malformed')
  if (!TIMESTAMP.test(timestamp))
    throw new Problem('unauthorized', 'webhook-timestamp is missing or malformed')
  if (!SIGNATURES.test(signatures))
    throw new Problem('unauthorized', 'webhook-signature is missing or malformed')
  const offered = signatures.split(' ')
  if (offered.length > SIGNATURES_MAX)
    throw new Problem('unauthorized', 'webhook-signature has too many entries')

  const content = signedContent(id, timestamp, body)
  // Every secret and entry is tried, whatever came before: how long it takes says nothing.
  let isValid = false
  for (const secret of secrets) {
    const key = await crypto.subtle.importKey('raw', secretBytes(secret), HMAC, false, ['verify'])
    for (const entry of offered) {
      const signature = entry.startsWith('v1,') ? base64(entry.slice(3)) : undefined
      if (signature && (await crypto.subtle.verify('HMAC', key, signature, content))) isValid = true
    }
  }
  if (!isValid) throw new Problem('unauthorized', 'no signature matches')
  const ageSeconds = nowMs / 1000 - Number(timestamp)
  if (ageSeconds > ageSecondsMax || ageSeconds < -SIGNATURE_AGE_SECONDS_MAX)
    throw new Problem('unauthorized', `the request was signed ${Math.round(ageSeconds)} s ago by this clock`)
  return id
}

/** The three headers for a body, as a sender makes them. */
export async function signStandardWebhook(
  secret: string,
  request: { id: string; timestampSeconds: number; body: Uint8Array },
): Promise<Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>> {
  const timestamp = String(request.timestampSeconds)
  const key = await crypto.subtle.importKey('raw', secretBytes(secret), HMAC, false, ['sign'])
  const mac = await crypto.subtle.sign('HMAC', key, signedContent(request.id, timestamp, request.body))
  return {
    'webhook-id': request.id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${btoa(String.fromCharCode(...new Uint8Array(mac)))}`,
  }
}

/** Why a secret cannot be used, or undefined if it can. */
export function secretFault(secret: string): string | undefined {
  const bytes = base64(secret.replace(/^whsec_/, ''))
  if (!bytes) return 'is not `whsec_` and base64'
  if (bytes.length < SECRET_BYTES_MIN) return `has ${bytes.length} bytes, fewer than ${SECRET_BYTES_MIN}`
  if (bytes.length > SECRET_BYTES_MAX) return `has ${bytes.length} bytes, more than ${SECRET_BYTES_MAX}`
  if (bytes.every((byte) => byte === bytes[0])) return 'is one byte repeated'
  return undefined
}

function secretBytes(secret: string): Uint8Array<ArrayBuffer> {
  const bytes = base64(secret.replace(/^whsec_/, ''))
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

// Canonical base64 only: two texts for the same bytes would let a signature be rewritten.
function base64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const binary = atob(text)
    return btoa(binary) === text ? Uint8Array.from(binary, (char) => char.charCodeAt(0)) : undefined
  } catch {
    return undefined
  }
}
