// A stack's releases in words, for `history` and `rollback`.

import type { ReleaseState } from '../../shared/api.ts'
import { when } from './io.ts'

/** One line a release, in columns; a star marks the one that runs. */
export function releaseTable(releases: readonly ReleaseState[]): string[] {
  const rows = releases.map((release) => [
    `${release.isCurrent ? '*' : ' '} ${release.release}`,
    when(release.at),
    imagesOf(release),
    release.actor ?? 'nobody',
    why(release),
  ])
  const table = [['  release', 'since', 'images', 'by', 'why'], ...rows]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** What a person must know before the stack goes back to it, or from it. */
export function describeRelease(release: ReleaseState): string[] {
  const { release: number, at, actor, deploy, services } = release
  const by = deploy === null ? 'by no deploy' : `by ${actor}, deploy ${deploy}`
  const reason = why(release)
  const width = Math.max(0, ...Object.keys(services).map((name) => name.length))
  return [
    `release ${number}, since ${when(at)} ${by}${reason === '' ? '' : ` (${reason})`}`,
    ...Object.entries(services).map(([service, image]) => `  ${service.padEnd(width)}  ${image}`),
  ]
}

function why({ deploy, reason, of }: ReleaseState): string {
  const words = [of === undefined ? undefined : `release ${of} again`, reason?.replaceAll(/\s+/g, ' ')]
  return deploy === null ? 'ran before' : words.filter(Boolean).join(': ')
}

function imagesOf({ services }: ReleaseState): string {
  const images = [...new Set(Object.values(services))]
  if (images.length <= 1) return images[0] ?? 'unknown'
  return Object.entries(services)
    .map(([service, image]) => `${service} ${image}`)
    .join(', ')
}
