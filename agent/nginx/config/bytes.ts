// nginx's texts are carried one character a byte, since nginx assumes no encoding: so each byte survives a read, an edit and a write. Pure.

/** What a person would read there: UTF-8, or where the bytes are none, each as it is. */
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
