// How a command gets at the relay: with the host's key beside its ropeway.yml, or, in a CI job, with a token and two names.

import { userInfo } from 'node:os'
import { NAME_PATTERN } from '../../shared/limits.ts'
import { Problem } from '../../shared/problems.ts'
import { signToken, type Scope } from '../../shared/tokens.ts'
import type { Access } from './api/api.ts'
import { findConfig, loadConfig, stackOf, type Config } from '../config/config.ts'
import { relayOrigin } from '../config/relay-origin.ts'
import { loadKey, type HostKey } from '../identity/identity.ts'
import type { Io, RemoteOptions } from './io.ts'

/** A token for what is done now: long enough for a slow start, then worthless. */
const COMMAND_TOKEN_SECONDS = 300

export interface TokenWish {
  readonly scopes: readonly Scope[]
  readonly stack?: string | undefined
  readonly bodySha256?: string
}

export interface Remote extends Access {
  /** A token for one request: a fresh one by the host's key, or the one that the environment gave. */
  token(wish: TokenWish): Promise<string>
  /** Refuses a stack that the host does not have, where that is known here. */
  checkStack(stack: string): void
}

export async function remote(options: RemoteOptions, io: Io): Promise<Remote> {
  const given = io.env['ROPEWAY_TOKEN']
  const relay = options.relay ?? io.env['ROPEWAY_RELAY']
  const host = options.host ?? io.env['ROPEWAY_HOST']
  if (given) {
    const config = relay === undefined || host === undefined ? await readConfig(options, io) : undefined
    const access = checked(relay ?? config?.relay ?? '', host ?? config?.host ?? '')
    return { ...access, token: async () => given, checkStack: checkName }
  }
  const config = await readConfig(options, io)
  for (const [name, value, own] of [
    ['relay', relay, config.relay],
    ['host', host, config.host],
  ] as const)
    if (value !== undefined && value !== own)
      throw new Problem('usage-invalid', `${config.path} has the ${name} ${own}, not ${value}`, {
        cure: 'another one needs a token in ROPEWAY_TOKEN',
      })
  const key = await loadKey(options.data)
  return {
    relay: config.relay,
    host: config.host,
    token: (wish) => hostToken(key, config, wish),
    checkStack: (stack) => void stackOf(config, stack),
  }
}

/** A token of the host's own, in the name of whoever is at the command line. */
export function hostToken(
  { privateKey }: HostKey,
  { relay, host }: Access,
  { scopes, stack, bodySha256 }: TokenWish,
): Promise<string> {
  return signToken(privateKey, {
    host,
    audience: relay,
    actor: `cli:${userName()}`,
    scopes,
    stacks: stack === undefined ? undefined : [stack],
    ...(bodySha256 === undefined ? {} : { bodySha256 }),
    ttlSeconds: COMMAND_TOKEN_SECONDS,
    now: new Date(),
  })
}

/** ropeway.yml without its triggers. */
export function readConfig(options: { readonly config?: string }, io: Io): Promise<Config> {
  return loadConfig(findConfig(options.config), io.env, { withSecrets: false })
}

// It becomes part of a URL.
function checkName(name: string): void {
  if (!NAME_PATTERN.test(name)) throw new Problem('usage-invalid', `${JSON.stringify(name)} is not a name`)
}

function checked(relay: string, host: string): Access {
  const origin = relayOrigin(relay)
  if ('fault' in origin) throw new Problem('usage-invalid', `the relay ${relay} ${origin.fault}`)
  checkName(host)
  return { relay: origin.origin, host }
}

export function userName(): string {
  try {
    return userInfo().username
  } catch {
    // A container's user may have no name.
    return String(process.getuid?.() ?? 'unknown')
  }
}
