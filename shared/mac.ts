// HMAC-SHA256 over raw bytes, and the decoding of signatures. Only one spelling of a signature's bytes is accepted: if there were two, somebody
// could rewrite a signature that they cannot make.

import { Problem } from './problems.ts'

export const HMAC = { name: 'HMAC', hash: 'SHA-256' }

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(text))
}

/** The bytes of hex that is in lower case and has this length; undefined for any other text. */
export function hexBytes(text: string, length: number): Uint8Array<ArrayBuffer> | undefined {
  if (text.length !== length * 2 || !/^[0-9a-f]*$/.test(text)) return undefined
  return Uint8Array.from({ length }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16))
}

/**
 * The key that a signature was made with. Every key is tried even after one fits, so that the time taken does not tell which. Throws
 * `unauthorized` where none fits.
 */
export async function hmacKeyOf(
  keys: readonly string[],
  bytesOf: (key: string) => Uint8Array<ArrayBuffer>,
  signature: Uint8Array<ArrayBuffer>,
  content: Uint8Array<ArrayBuffer>,
): Promise<string> {
  let fitting: string | undefined
  for (const text of keys) {
    const key = await crypto.subtle.importKey('raw', bytesOf(text), HMAC, false, ['verify'])
    if (await crypto.subtle.verify('HMAC', key, signature, content)) fitting ??= text
  }
  if (fitting === undefined) throw new Problem('unauthorized', 'no signature matches')
  return fitting
}

/** The bytes of canonical base64. */
export function base64Bytes(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const binary = atob(text)
    return btoa(binary) === text ? Uint8Array.from(binary, (char) => char.charCodeAt(0)) : undefined
  } catch {
    return undefined
  }
}
