// The kernel's table of TCP connections, as /proc/net/tcp and tcp6 show it (proc_net_tcp.txt in the kernel's documentation).

const ESTABLISHED = '01'

/** How many established connections there are to a remote IPv4 address and port, as seen from the table's own network namespace. */
export function countEstablished(table: string, remote: { ip: string; port: number }): number {
  const port = remote.port.toString(16).toUpperCase().padStart(4, '0')
  // Each 32-bit word is printed in the host's byte order; every host that Docker's nginx images run on is little-endian.
  const v4 = remote.ip
    .split('.')
    .toReversed()
    .map((part) => Number(part).toString(16).toUpperCase().padStart(2, '0'))
    .join('')
  const wanted = new Set([`${v4}:${port}`, `0000000000000000FFFF0000${v4}:${port}`])
  return table.split('\n').filter((line) => {
    const [, , address, state] = line.trim().split(/\s+/)
    return state === ESTABLISHED && address !== undefined && wanted.has(address)
  }).length
}
