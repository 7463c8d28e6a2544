// How requests come to a stack's members: in which protocol, by which names, and where a client has to knock. Pure.

/** A request that the proxy sends on to the members. */
export interface Door {
  /** Without the brackets of IPv6; `*` for every address. */
  readonly address: string
  readonly port: number
  readonly tls: boolean
  readonly host: string
  readonly path: string
}

/** Plain data: it outlives a crash of the agent as JSON. */
export interface Approach {
  /** `tcp`: no protocol that a probe speaks, as FastCGI, uWSGI, gRPC, or a plain stream. */
  readonly speaks: 'http' | 'https' | 'tcp'
  /** What the members may see as Host, the likeliest first. */
  readonly hosts: readonly string[]
  readonly doors: readonly Door[]
}

/** A path as a client sends it, with escapes: a location, or a healthcheck's command, has it without. */
export function encoded(path: string): string {
  return encodeURI(path).replaceAll('%25', '%')
}

export function isLoopback(address: string): boolean {
  return address === 'localhost' || address === '::1' || address.startsWith('127.')
}
