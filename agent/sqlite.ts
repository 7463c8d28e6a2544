// What went wrong, of what node:sqlite throws.

const CODES = {
  busy: 5,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
} as const

/** https://www.sqlite.org/rescode.html */
export function isSqlite(error: unknown, ...kinds: readonly (keyof typeof CODES)[]): boolean {
  if (!(error instanceof Error && 'errcode' in error)) return false
  const code = Number(error.errcode) & 0xff // without the details in the higher bits
  return kinds.some((kind) => CODES[kind] === code)
}
