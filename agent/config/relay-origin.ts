// The relay's address as a person writes it, made one origin. Tokens travel there, so plain http may not leave private networks.

import { isIPv4, isIPv6 } from 'node:net'

export function relayOrigin(text: string): { origin: string } | { fault: string } {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    return { fault: 'should be an address as https://ropeway.example.workers.dev' }
  if (
    url.pathname !== '/' ||
    url.search !== '' ||
    url.hash !== '' ||
    url.username !== '' ||
    url.password !== ''
  )
    return { fault: 'should be an origin alone, without path, query or credentials' }
  if (url.protocol === 'http:' && !isPrivate(url.hostname))
    return { fault: 'sends tokens in the clear over a public network: use https' }
  return { origin: url.origin }
}

// Loopback names, RFC 1918, RFC 6598 (overlay networks), link-local and unique local addresses.
function isPrivate(hostname: string): boolean {
  if (hostname === 'localhost' || hostname.endsWith('.localhost')) return true
  if (isIPv4(hostname)) {
    const [a = 0, b = 0] = hostname.split('.').map(Number)
    return (
      a === 127 ||
      a === 10 ||
      (a === 172 && b >= 16 && b <= 31) ||
      (a === 192 && b === 168) ||
      (a === 169 && b === 254) ||
      (a === 100 && b >= 64 && b <= 127)
    )
  }
  const v6 = hostname.replace(/^\[|\]$/g, '')
  return isIPv6(v6) && (v6 === '::1' || /^f[cd]/.test(v6) || /^fe[89ab]/.test(v6))
}
