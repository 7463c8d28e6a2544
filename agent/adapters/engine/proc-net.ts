// The kernel's table of TCP connections, as /proc/net/tcp and tcp6 show it (proc_net_tcp.txt in the kernel's documentation).

import type { Remote } from '../../ports.ts'

const ESTABLISHED = '01'

/** How many established connections there are to these addresses and ports, as seen from the table's own network namespace. */
export function countEstablished(table: string, remotes: readonly Remote[]): number {
  // A busy nginx has tens of thousands of lines, and all else waits meanwhile: so none of them is taken apart.
  const ends = new Set(
    remotes.flatMap(({ ip, port }) => asPrinted(ip).map((hex) => `${hex}:${inHex(port, 4)}`)),
  )
  return [...ends].reduce((sum, end) => sum + table.split(` ${end} ${ESTABLISHED} `).length - 1, 0)
}

// Each 32-bit word is printed in the host's byte order; every host that Docker's nginx images run on is little-endian. A socket of both
// families has an IPv4 address as `::ffff:a.b.c.d`.
function asPrinted(ip: string): string[] {
  if (ip.includes(':')) return [inWords(groupsOf(ip).flatMap((group) => [group >> 8, group & 0xff]))]
  const v4 = inWords(ip.split('.').map(Number))
  return [v4, `0000000000000000FFFF0000${v4}`]
}

function inWords(bytes: readonly number[]): string {
  const words = bytes.flatMap((_, at) => (at % 4 === 0 ? [bytes.slice(at, at + 4).toReversed()] : []))
  return words
    .flat()
    .map((byte) => inHex(byte, 2))
    .join('')
}

function groupsOf(ip: string): number[] {
  const [before = [], after = []] = ip.split('::').map((part) => part.split(':').filter(Boolean))
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  return [...before, ...zeros, ...after].map((group) => Number.parseInt(group, 16))
}

function inHex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0')
}
