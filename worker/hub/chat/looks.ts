// What `status` and `history` are answered: pure.

import type { ReleaseState } from '../../../shared/api.ts'
import type { Deploy } from '../../../shared/deploy.ts'

export function tellStatus(
  stack: string,
  agent: { readonly isThere: boolean; readonly seenAt: number | undefined },
  last: Deploy | undefined,
  now: number,
): string[] {
  const seen = agent.seenAt === undefined ? '' : `, last seen ${ago(agent.seenAt, now)}`
  return [
    `${stack}: its agent is ${agent.isThere ? 'there' : `away${seen}`}`,
    last
      ? `last deploy: ${last.status}, by ${last.actor}, ${ago(last.finishedAt ?? last.acceptedAt, now)}`
      : 'no deploy yet',
  ]
}

export function tellHistory(stack: string, releases: readonly ReleaseState[], now: number): string[] {
  if (releases.length === 0) return [`${stack}: no release yet, as far as the relay knows`]
  return releases.map(({ release, at, actor, services, isCurrent }) => {
    const runs = [...new Set(Object.values(services))].join(', ')
    return `${release}${isCurrent ? ' (runs now)' : ''}: ${runs}, by ${actor ?? 'nobody'}, ${ago(at, now)}`
  })
}

function ago(at: number, now: number): string {
  const minutes = Math.max(0, Math.round((now - at) / 60_000))
  if (minutes < 1) return 'just now'
  if (minutes < 120) return `${minutes} min ago`
  return minutes < 2 * 24 * 60
    ? `${Math.round(minutes / 60)} h ago`
    : `${Math.round(minutes / 24 / 60)} days ago`
}
