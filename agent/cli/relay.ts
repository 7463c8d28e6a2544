// `ropeway relay`: the Worker on this machine, in Miniflare, from the same bundle that Cloudflare gets.

import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { Problem } from '../../shared/problems.ts'
import { LIMIT_VARS, startRelay, type Limits } from '../relay/relay.ts'
import { relayOrigin } from '../config/relay-origin.ts'
import { enrollKeyOf } from './enroll-key.ts'
import { EXIT, print, type Io } from './io.ts'

export interface RelayOptions {
  readonly port: string
  readonly data: string
  readonly bind: string
  readonly url?: string
  readonly json?: boolean
}

export async function run(options: RelayOptions, io: Io): Promise<number> {
  const port = Number(options.port)
  if (!/^\d{1,5}$/.test(options.port) || port > 65_535)
    throw new Problem('usage-invalid', `--port should be a number up to 65535, not ${options.port}`)
  const relayUrl = options.url === undefined ? undefined : originOf(options.url)
  const enrollKey = enrollKeyOf(io.env)
  makePrivate(options.data)
  const relay = await startRelay({
    dataDir: options.data,
    port,
    host: options.bind,
    enrollKey,
    limits: limitsOf(io.env),
    ...(relayUrl === undefined ? {} : { relayUrl }),
  })
  const url = relayUrl ?? relay.url.replace(/\/$/, '')
  print(io, options.json ? JSON.stringify({ listening: url }) : `relay listening on ${url}`)
  if (!io.signal.aborted) await once(io.signal, 'abort')
  await relay.stop()
  return EXIT.success
}

function limitsOf(env: NodeJS.ProcessEnv): Limits {
  const given = Object.entries(LIMIT_VARS).flatMap(([limit, name]) => {
    const text = env[name]
    if (text === undefined) return []
    if (!/^[1-9]\d{0,8}$/.test(text))
      throw new Problem(
        'usage-invalid',
        `${name} should be a number of requests, not ${JSON.stringify(text)}`,
      )
    return [[limit, Number(text)]]
  })
  return Object.fromEntries(given) as Limits
}

// The hubs' files hold the triggers' secrets, and workerd, which makes them, goes by this process's mask.
function makePrivate(folder: string): void {
  process.umask(0o077)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new Problem('usage-invalid', `${folder} cannot be made: ${(cause as Error).message}`, {
      cause,
      cure: 'name another folder with --data',
    })
  }
}

function originOf(text: string): string {
  const origin = relayOrigin(text)
  if ('fault' in origin) throw new Problem('usage-invalid', `--url ${origin.fault}`)
  return origin.origin
}
