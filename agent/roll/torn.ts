// A file that was being written in place when the machine stopped: new bytes up to somewhere, old ones after it. Pure.

/** What is left of one character or two that the tear has cut: U+FFFD, or another one by chance. No letter of ours is among them. */
const CUT = /^[^\0-\x7f]{0,6}$/
const CUT_BYTES_MAX = 18

/**
 * Whether `text` is what a write of `to` over `from` leaves when it stops half way. A person's edit hardly ever is: it would have to be the
 * one text up to some byte, and the other from that very byte on.
 */
export function isTorn(text: string, from: string, to: string): boolean {
  const start = commonStart(text, to)
  // Beyond the old end there is nothing after what was written.
  if (bytes(to) > bytes(from) && bytes(text) > bytes(from) && CUT.test(text.slice(start))) return true
  const end = Math.min(commonEnd(text, from), text.length)
  const between = text.slice(start, Math.max(start, text.length - end))
  const difference = Math.abs(bytes(text) - bytes(from))
  return CUT.test(between) && difference <= (between === '' ? 0 : CUT_BYTES_MAX)
}

const bytes = (text: string) => new TextEncoder().encode(text).length

function commonStart(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) if (a[at] !== b[at]) return at
  return length
}

function commonEnd(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let at = 1; at <= length; at += 1) if (a.at(-at) !== b.at(-at)) return at - 1
  return length
}
