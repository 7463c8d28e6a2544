// A file that was being written in place when the machine stopped: new bytes up to somewhere, old ones after it. Pure.

/**
 * Whether `text` is what a write of `to` over `from` leaves when it stops half way; each is one character a byte. A person's edit hardly ever
 * is: it would have to be the one text up to some byte, and the other from that very byte on.
 */
export function isTorn(text: string, from: string, to: string): boolean {
  const start = commonStart(text, to)
  return text.slice(start) === from.slice(start)
}

function commonStart(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) if (a[at] !== b[at]) return at
  return length
}
