// nginx's texts are carried one character a byte, since nginx assumes no encoding: so each byte survives a read, an edit and a write. Pure.

/** The text as a person reads it: the bytes as UTF-8; where they are none, each byte as a character. */
export function decoded(bytes: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(asBytes(bytes))
  } catch {
    return bytes
  }
}

/** The bytes themselves. */
export function asBytes(bytes: string): Uint8Array {
  return Buffer.from(bytes, 'latin1')
}
