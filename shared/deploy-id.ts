// The id of a deploy, made of what was signed.

const ID_ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const ID_CHARS = 16
export const DEPLOY_ID_PATTERN = /^[0-9a-hjkmnp-tv-z]{16}$/

/**
 * The id of the deploy that a signed request asks for: 80 bits of a digest over host, stack, trigger and the sender's own id.
 * The same request always gets the same id, on the hub as on the agent, so that a replay is found by whoever sees it.
 */
export async function deployId(...parts: readonly string[]): Promise<string> {
  const digest = new Uint8Array(
    await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(parts))),
  )
  return Array.from({ length: ID_CHARS }, (_, i) => ID_ALPHABET[(digest[i] ?? 0) & 31]).join('')
}
