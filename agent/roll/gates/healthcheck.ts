// What a container's Docker healthcheck tells: where the app says that it is well, and how long Docker may take to decide.

import { encoded } from './door.ts'
import type { Container } from '../../ports.ts'

/** A request that a healthcheck's command makes to its own container. */
export interface AskedByHealthcheck {
  readonly path: string
  readonly host: string
}

const OWN = String.raw`localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\[::\]`
/** `http://localhost:8000/up`, `localhost/up`. The path ends where a shell's word or a program's string ends. */
const URL = new RegExp(String.raw`(?:https?://)?(?:${OWN})(?::\d+)?(?:/[^\s'"\`|;&)>\\]*)?`, 'i')
const HOST_HEADER = /\bHost:\s*([a-z0-9.:-]+)/i

/** What the healthcheck asks over HTTP, as far as its command shows it. */
export function askedByHealthcheck({ healthcheck, env }: Container): AskedByHealthcheck | undefined {
  const [kind, ...words] = healthcheck?.test ?? []
  if (kind !== 'CMD' && kind !== 'CMD-SHELL') return undefined
  const command = words
    .join(' ')
    .replaceAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}]*))?\}?/g, (_, name: string, otherwise?: string) => {
      return env[name] ?? otherwise ?? ''
    })
  const url = URL.exec(command)?.[0]
  if (url === undefined) return undefined
  const [, authority = '', path = ''] = /^(?:https?:\/\/)?([^/]*)(\/.*)?$/i.exec(url) ?? []
  return { path: path === '' ? '/' : encoded(path), host: HOST_HEADER.exec(command)?.[1] ?? authority }
}

/** Docker takes a moment to run a check that is due, and to note its result. */
const MARGIN_MS = 5_000

/**
 * How long after its start Docker may call a container `starting` before it decides, in milliseconds; 0 where there is no healthcheck.
 * `start_interval` is left out: engines before 25 do not know it.
 */
export function verdictMs({ healthcheck }: Container): number {
  if (!healthcheck) return 0
  const { intervalMs, timeoutMs, retries, startPeriodMs } = healthcheck
  return startPeriodMs + (intervalMs + timeoutMs) * retries + MARGIN_MS
}
