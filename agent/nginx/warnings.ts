// What a person should know of nginx's configuration before a roll, though it forbids none.

import type { Warning } from '../roll/proxy.ts'
import { usesPast } from './config/settings.ts'
import type { NginxSeen } from './seen.ts'

/** `soakMs`: how long the traffic is to be watched. */
export function* warningsOf({ settings, servers, upstream }: NginxSeen, soakMs: number): Generator<Warning> {
  if (!settings.keepaliveMinTimeoutMs)
    yield {
      code: 'no-keepalive-min-timeout',
      message: 'idle keepalive clients may lose a request at each reload',
      cure: 'set `keepalive_min_timeout 1s;` in the http block (nginx 1.27.4 or newer)',
    }
  const { workerShutdownTimeoutMs } = settings
  if (workerShutdownTimeoutMs !== undefined)
    yield {
      code: 'worker-shutdown-timeout',
      message: `each reload of a roll ends what runs longer than ${workerShutdownTimeoutMs / 1000} s, WebSockets too, at every instance: nginx has \`worker_shutdown_timeout\``,
      cure: 'raise it above the longest request, or take it out: a drain waits by itself',
    }
  // A soak that cannot see the traffic must not look like one that found it well.
  if (soakMs > 0 && 'unusable' in settings.accessLogs)
    yield {
      code: 'soak-without-traffic',
      message: `the soak cannot see how the instances answer in traffic: ${settings.accessLogs.unusable}`,
      cure: 'append `$upstream_addr $upstream_status` to the log_format, and use it in an `access_log` without `if` and `buffer`',
    }
  for (const [service, its] of Object.entries(servers)) {
    const uses = [...new Set(its.map(({ host }) => host))].flatMap((host) =>
      usesPast(settings, host, upstream.name),
    )
    if (uses.length > 0)
      yield {
        code: 'used-elsewhere',
        message: `nginx reaches ${service} past the upstream too (${uses.map(({ where }) => where).join(', ')}): those requests are not protected`,
        cure: `send them to upstream ${upstream.name}`,
      }
  }
}
