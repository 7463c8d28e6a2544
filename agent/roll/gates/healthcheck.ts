// What Docker's own healthcheck of a container tells: where the app says that it is well, and by when Docker has made up its mind.

import { encoded } from './door.ts'
import type { Container } from '../../ports.ts'

/** A request that a healthcheck's command makes to its own container. */
export interface AskedByHealthcheck {
  readonly path: string
  readonly host: string
}

const OWN = String.raw`localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]|\[::\]`
/** `http://localhost:8000/up`, `localhost/up`; what ends a word of a shell or a string of a program ends the path. */
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

/** A look that is due takes a moment to be made and noted. */
const MARGIN_MS = 5_000

/**
 * How long after its start a container may be `starting` by Docker before it is one or the other, in milliseconds; 0 where it has no
 * healthcheck. `start_interval` is left out: engines before 25 do not know it.
 */
export function verdictMs({ healthcheck }: Container): number {
  if (!healthcheck) return 0
  const { intervalMs, timeoutMs, retries, startPeriodMs } = healthcheck
  return startPeriodMs + (intervalMs + timeoutMs) * retries + MARGIN_MS
}
