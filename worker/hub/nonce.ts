// A random id, for a deploy whose sender gives it none.

const NONCE_BYTES = 16
/** In hex. */
export const NONCE_CHARS = 2 * NONCE_BYTES

export function makeNonce(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
