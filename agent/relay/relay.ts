// The relay on a machine of yours: the Worker's own bundle in Miniflare, with the settings of wrangler.toml.
// The one place that makes a Miniflare, for `ropeway relay` as for the tests.

import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Miniflare } from 'miniflare'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { Problem } from '../../shared/problems.ts'

export interface RelayOptions {
  /** Where deploys and enrolments are kept. Undefined keeps them in memory, until the relay stops. */
  readonly dataDir: string | undefined
  /** 0: any free port. */
  readonly port: number
  readonly host?: string
  readonly enrollKey: string
  /** The origin under which others reach the relay, where a proxy stands before it. */
  readonly relayUrl?: string | undefined
  /** Limits in a minute, in the place of those in wrangler.toml. */
  readonly limits?: Limits
  /** Answers whatever the Worker calls, in the place of the network. For tests only: no setting reaches it. */
  readonly outbound?: (request: Request) => Promise<Response>
}

export interface Relay {
  readonly url: string
  /** Ends workerd too: a relay whose process is killed before this leaves workerd behind, holding port and files. */
  stop(): Promise<void>
  readonly miniflare: Miniflare
}

export interface Limits {
  /** From one address: its requests to one host, and its refused credentials at any host. */
  readonly requests?: number
  readonly failures?: number
  /** Verified requests. */
  readonly perTrigger?: number
  readonly perHost?: number
}

/** The Worker's own names for them, in wrangler.toml and in the environment of `ropeway relay`. */
export const LIMIT_VARS: Record<keyof Limits, string> = {
  requests: 'SOURCE_REQUESTS_PER_MINUTE',
  failures: 'SOURCE_FAILURES_PER_MINUTE',
  perTrigger: 'TRIGGER_REQUESTS_PER_MINUTE',
  perHost: 'HOST_REQUESTS_PER_MINUTE',
}

/** The part of wrangler.toml that Miniflare must be told. */
const wranglerSchema = z.object({
  name: z.string(),
  compatibility_date: z.string(),
  compatibility_flags: z.array(z.string()).default([]),
  vars: z.record(z.string(), z.string()).default({}),
  durable_objects: z.object({ bindings: z.array(z.object({ name: z.string(), class_name: z.string() })) }),
})

/** Starts the relay and waits until it listens. Whoever starts it must call `stop` on SIGINT and SIGTERM. */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  if (options.enrollKey === '')
    throw new Problem('usage-invalid', 'the relay has no enrolment key', {
      cure: 'set ROPEWAY_ENROLL_KEY to a long random text, as from `openssl rand -base64 32`',
    })
  if (options.relayUrl !== undefined && !/^https?:$/.test(URL.parse(options.relayUrl)?.protocol ?? ''))
    throw new Problem('usage-invalid', `${JSON.stringify(options.relayUrl)} is not the address of a relay`, {
      cure: 'give its origin, as https://ropeway.example.com',
    })
  const address = { host: options.host ?? '127.0.0.1', port: options.port }
  if (await isTaken(address)) throw portTaken(options.port)
  const { root, bundle } = findBundle()
  const config = wranglerSchema.parse(parse(readFileSync(join(root, 'wrangler.toml'), 'utf8')))
  const limits = Object.entries(options.limits ?? {}).map(([limit, perMinute]) => [
    LIMIT_VARS[limit as keyof Limits],
    String(perMinute),
  ])
  const { outbound } = options
  const miniflare = new Miniflare({
    // The name is part of the path below dataDir: without it, or with another, nothing stored would be found again.
    name: config.name,
    modules: true,
    // workerd reads no file above the folder it is told to start from, whatever the working directory is.
    modulesRoot: dirname(bundle),
    scriptPath: bundle,
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    bindings: {
      ...config.vars,
      ROPEWAY_ENROLL_KEY: options.enrollKey,
      ...(options.relayUrl === undefined ? {} : { RELAY_URL: options.relayUrl }),
      ...Object.fromEntries(limits),
    },
    durableObjects: Object.fromEntries(
      config.durable_objects.bindings.map(({ name, class_name }) => [
        name,
        { className: class_name, useSQLite: true },
      ]),
    ),
    ...address,
    ...(outbound === undefined ? {} : { outboundService: outbound }),
    // Request.cf would be fetched from Cloudflare at start, and nothing here reads it.
    cf: false,
    logRequests: false,
    ...(options.dataDir === undefined ? {} : { defaultPersistRoot: resolve(options.dataDir) }),
  })
  letOthersHandleSignals()
  try {
    const url = await miniflare.ready
    return { url: url.origin, stop: () => miniflare.dispose(), miniflare }
  } catch (cause) {
    await miniflare.dispose().catch(() => {})
    // Since it was looked at.
    if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_ADDRESS_IN_USE')
      throw portTaken(options.port)
    throw new Problem('internal', 'the relay could not be started', { cause })
  }
}

function portTaken(port: number): Problem {
  return new Problem('usage-invalid', `port ${port} is taken`, {
    cure: 'if a relay was killed here, its workerd still runs and must be ended first; else choose another port',
  })
}

// The port is looked at first: workerd would say with a stack trace that it is taken.
async function isTaken(address: { host: string; port: number }): Promise<boolean> {
  const server = createServer()
  try {
    await new Promise<void>((listening, reject) => {
      server.once('error', reject).listen(address, listening)
    })
    return false
  } catch (error) {
    if ((error as { code?: unknown }).code === 'EADDRINUSE') return true
    const why = error instanceof Error ? error.message : String(error)
    throw new Problem('usage-invalid', `the relay cannot listen on ${address.host}: ${why}`, { cause: error })
  } finally {
    server.close()
  }
}

// Both lie in the package's root, which is above agent/ in a checkout and above dist/agent/ once installed.
function findBundle(): { root: string; bundle: string } {
  let root = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(root, 'wrangler.toml'))) {
    if (root === dirname(root)) throw new Problem('internal', 'wrangler.toml is missing from the package')
    root = dirname(root)
  }
  const bundle = join(root, 'dist/worker/index.js')
  if (!existsSync(bundle))
    throw new Problem('usage-invalid', `the relay's bundle ${bundle} is missing`, {
      cure: 'run npm run build',
    })
  return { root, bundle }
}

// Miniflare exits the process on SIGINT and SIGTERM before anybody else could finish their work, so its listeners are removed. It cleans up at exit
// all the same. They are known by their names, since a second Miniflare shares the first one's.
function letOthersHandleSignals(): void {
  for (const [signal, name] of [
    ['SIGINT', 'onSignalInt'],
    ['SIGTERM', 'onSignalTerm'],
  ] as const)
    for (const listener of process.listeners(signal))
      if (listener.name === name) process.removeListener(signal, listener)
}
