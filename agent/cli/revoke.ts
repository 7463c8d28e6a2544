// `ropeway revoke TOKEN-OR-ID…`: ends tokens before their time, on this host first and whatever the relay does.

import { text } from 'node:stream/consumers'
import { decodeJwt } from 'jose'
import { z } from 'zod'
import { Problem } from '../../shared/problems.ts'
import { TOKEN_TTL_SECONDS_MAX } from '../../shared/tokens.ts'
import { revoke, type Access } from './api/api.ts'
import { loadKey, type HostKey } from '../identity/identity.ts'
import { addRevoked, readRevoked, type Revocation } from '../identity/revocation.ts'
import { hostToken, readConfig } from './access.ts'
import { EXIT, print, type ConfigOptions, type Io } from './io.ts'

export interface RevokeOptions extends ConfigOptions {
  readonly list?: boolean
}

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/
/** As signToken makes them. Anything else is a slip of whoever pasted it, and must not look revoked. */
const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export async function run(given: readonly string[], options: RevokeOptions, io: Io): Promise<number> {
  const { relay, host } = await readConfig(options, io)
  if (given.length === 0) {
    if (!options.list)
      throw new Problem('usage-invalid', 'there is no token to revoke', {
        cure: 'name tokens or their ids, or - to read them from standard input; --list shows what is revoked',
      })
    show(await readRevoked(options.data, new Date()), options, io)
    return EXIT.success
  }
  const now = new Date()
  const words = (await Promise.all(given.map((word) => (word === '-' ? readWords(io) : [word])))).flat()
  const tokens = words.map((word, index) => identify(word, { host, place: `token ${index + 1}`, now }))
  if (tokens.length === 0) throw new Problem('usage-invalid', 'standard input has no token')
  // Before anything is written: a host without a key has no tokens to revoke.
  const key = await loadKey(options.data)
  let revoked = await addRevoked(options.data, tokens, { now, signal: io.signal })
  const ids = tokens.map(({ id }) => id)
  if (!options.json) for (const id of ids) print(io, `${id} is revoked on this host`)
  const fault = await tellRelay({ relay, host }, key, options.data, io.signal)
  if (options.json) print(io, JSON.stringify({ revoked: ids, relay: fault ? 'not told' : 'told' }))
  if (fault)
    throw new Problem(fault.code, fault.message, {
      cause: fault,
      cure: `nothing more must be done for this host, whose agent refuses ${ids.length === 1 ? 'the token' : 'the tokens'} already; the relay learns of it when the agent next connects, or when this command is repeated${fault.cure === undefined ? '' : ` (${fault.cure})`}`,
    })
  if (!options.json) print(io, `${relay} knows it`)
  if (options.list) {
    revoked = await readRevoked(options.data, new Date())
    show(revoked, options, io)
  }
  return EXIT.success
}

// Another revocation may come in between, and the relay keeps the list that it gets last: whoever tells it last looks again after that.
async function tellRelay(
  access: Access,
  key: HostKey,
  dir: string,
  signal: AbortSignal,
): Promise<Problem | undefined> {
  try {
    let told: string | undefined
    for (;;) {
      const ids = (await readRevoked(dir, new Date())).map(({ id }) => id)
      if (ids.join() === told) return undefined
      await revoke(access, ids, await hostToken(key, access, { scopes: ['agent'] }), signal)
      told = ids.join()
    }
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
}

const payloadSchema = z.object({ iss: z.string(), jti: z.string().min(1).max(64), exp: z.number() })

// A token never appears in a message: messages are logged.
function identify(
  word: string,
  { host, place, now }: { host: string; place: string; now: Date },
): { id: string; expiresAt: number } {
  const latest = now.getTime() + TOKEN_TTL_SECONDS_MAX * 1000
  if (ID.test(word)) return { id: word, expiresAt: latest }
  const payload = TOKEN.test(word) ? payloadOf(word) : undefined
  if (!payload)
    throw new Problem('usage-invalid', `${place} is neither a token nor a token’s id`, {
      cure: 'pass it whole, as `ropeway token` printed it; `ropeway token --json` prints the id as well',
    })
  if (payload.iss !== host)
    throw new Problem(
      'usage-invalid',
      `${place} is one of host ${JSON.stringify(payload.iss)}, not of ${host}`,
      {
        cure: 'revoke it there',
      },
    )
  return { id: payload.jti, expiresAt: Math.min(payload.exp * 1000, latest) }
}

function payloadOf(token: string): z.infer<typeof payloadSchema> | undefined {
  try {
    return payloadSchema.safeParse(decodeJwt(token)).data
  } catch {
    return undefined
  }
}

async function readWords({ stdin }: Io): Promise<string[]> {
  return (await text(stdin)).split(/\s+/).filter((word) => word !== '')
}

function show(revoked: readonly Revocation[], { json }: RevokeOptions, io: Io): void {
  if (json) print(io, JSON.stringify({ revoked }))
  else if (revoked.length === 0) print(io, 'no token is revoked')
  else
    for (const { id, until } of revoked) print(io, `${id}  remembered until ${new Date(until).toISOString()}`)
}
