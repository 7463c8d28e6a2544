// What nginx makes of the bytes, written without a look at agent/nginx: just enough for the configurations of these tests.

export interface ServerLine {
  readonly host: string
  readonly port: number
  readonly isDown: boolean
  readonly forgives: boolean
}

const PARAMETER = /^(down|backup|weight=\d+|max_fails=\d+|fail_timeout=\d+s?)$/

/** The servers of the upstream `apps`, or what nginx would say against it. */
export function readUpstream(text: string): ServerLine[] | string {
  const bare = text.replace(/#[^\n]*/g, '')
  if (bare.split('{').length !== bare.split('}').length) return 'unexpected end of file, expecting "}"'
  const body = /\bupstream\s+apps\s*\{([^}]*)\}/.exec(bare)?.[1]
  if (body === undefined) return 'host not found in upstream "apps"'
  if (!/;\s*$/.test(body)) return 'unexpected "}"'
  const servers: ServerLine[] = []
  for (const line of body.split(';').slice(0, -1)) {
    const [name, address = '', ...parameters] = line.trim().split(/\s+/)
    if (name !== 'server') continue
    const wrong = parameters.find((parameter) => !PARAMETER.test(parameter))
    if (wrong !== undefined) return `invalid parameter "${wrong}"`
    const [host = '', port = '80'] = address.split(':')
    servers.push({
      host,
      port: Number(port),
      isDown: parameters.includes('down'),
      forgives: parameters.includes('max_fails=0'),
    })
  }
  return servers.length > 0 ? servers : 'no servers are inside upstream'
}

export function keepaliveMinTimeout(text: string): number {
  const match = /^\s*keepalive_min_timeout\s+(\d+)(ms|s)?\s*;/m.exec(text)
  return match ? Number(match[1]) * (match[2] === 'ms' ? 1 : 1000) : 0
}
