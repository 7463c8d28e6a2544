// What the platforms' verifiers share: keys that are sent along, and bodies that mean one thing only.

import { z } from 'zod'
import { HMAC, utf8 } from '../mac.ts'
import { Problem, faultsOf } from '../problems.ts'
import { sha256Hex } from '../tokens.ts'

/** A form of ours has a dozen fields. */
const FORM_FIELDS_MAX = 64

/** Seconds since 1970, in exactly ten digits. With any length, a digit could be moved from the signed body to the time before it. */
export const TIMESTAMP = /^[1-9][0-9]{9}$/

export function concat(head: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = utf8(head)
  const all = new Uint8Array(bytes.length + body.length)
  all.set(bytes)
  all.set(body, bytes.length)
  return all
}

/** HMAC-SHA256 in hex. */
export async function hmacHex(key: string, content: string): Promise<string> {
  const made = await crypto.subtle.importKey('raw', utf8(key), HMAC, false, ['sign'])
  const bytes = new Uint8Array(await crypto.subtle.sign('HMAC', made, utf8(content)))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** The key that was sent along. Digests are compared, so how long it takes tells nothing of the key. */
export async function sameKeyOf(keys: readonly string[], sent: string): Promise<string> {
  const hash = await sha256Hex(utf8(sent))
  let fitting: string | undefined
  for (const key of keys) if ((await sha256Hex(utf8(key))) === hash) fitting ??= key
  if (fitting === undefined) throw new Problem('unauthorized', 'the secret is another')
  return fitting
}

export function bodyText(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch (cause) {
    throw new Problem('request-invalid', 'the body is not UTF-8', { cause })
  }
}

/** The fields of a form. A name that is there twice is refused, since one reader would take the first and another the last. */
export function formOf(body: Uint8Array): ReadonlyMap<string, string> {
  const fields = [...new URLSearchParams(bodyText(body))]
  const form = new Map(fields)
  if (fields.length > FORM_FIELDS_MAX) throw new Problem('request-invalid', 'the form has too many fields')
  if (form.size !== fields.length) throw new Problem('request-invalid', 'the form names a field twice')
  return form
}

/** JSON as a platform sends it: what we do not know of it is left alone. */
export function jsonOf<T>(text: string, schema: z.ZodType<T>): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new Problem('request-invalid', 'the body is not JSON', { cause })
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new Problem('request-invalid', faultsOf(parsed.error))
}
