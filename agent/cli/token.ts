// `ropeway token`: prints one token, signed here; nobody else has to be asked.

import { decodeJwt } from 'jose'
import { Problem } from '../../shared/problems.ts'
import { SCOPES, signToken, TOKEN_TTL_SECONDS_MAX, type Scope } from '../../shared/tokens.ts'
import { stackOf } from '../config/config.ts'
import { parseLifetime } from '../config/values.ts'
import { loadKey } from '../identity/identity.ts'
import { readConfig, userName } from './access.ts'
import { EXIT, print, type ConfigOptions, type Io } from './io.ts'

export interface TokenOptions extends ConfigOptions {
  readonly scope: string
  readonly stack?: readonly string[]
  readonly ttl: string
  readonly actor?: string
}

/** `agent` is not for sale: with it, somebody could take the agent's place at the hub. */
const GRANTABLE = SCOPES.filter((scope) => scope !== 'agent')

export async function run(options: TokenOptions, io: Io): Promise<number> {
  const scopes = options.scope.split(',').map(scopeOf)
  const ttlSeconds = secondsOf(options.ttl)
  const actor = options.actor ?? `token:${userName()}`
  if (actor.length < 1 || actor.length > 200)
    throw new Problem('usage-invalid', '--actor should have up to 200 characters')
  const config = await readConfig(options, io)
  const stacks = options.stack?.flatMap((list) => list.split(',')).map((name) => stackOf(config, name).name)
  const { privateKey } = await loadKey(options.data)
  const token = await signToken(privateKey, {
    host: config.host,
    audience: config.relay,
    actor,
    scopes,
    stacks,
    ttlSeconds,
    now: new Date(),
  })
  // `revoke` takes the id as well: whoever keeps it need not keep the token.
  const { jti, exp } = decodeJwt(token)
  print(io, options.json ? JSON.stringify({ token, id: jti, expiresAt: Number(exp) * 1000 }) : token)
  return EXIT.success
}

function scopeOf(text: string): Scope {
  const scope = GRANTABLE.find((each) => each === text)
  if (scope) return scope
  throw new Problem('usage-invalid', `--scope ${text} is none of ${GRANTABLE.join(', ')}`)
}

function secondsOf(text: string): number {
  const ttl = (parseLifetime(text) ?? 0) / 1000
  if (Number.isInteger(ttl) && ttl >= 1 && ttl <= TOKEN_TTL_SECONDS_MAX) return ttl
  throw new Problem('usage-invalid', `--ttl ${text} is not a time as 15m, 1h or 30d, at most 366d`)
}
