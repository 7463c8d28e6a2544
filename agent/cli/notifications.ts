// `ropeway notifications STACK`: who was told last, what waits, and what was given up. It reads what the agent has written beside its journal.

import { Problem } from '../../shared/problems.ts'
import { stackOf } from '../config/config.ts'
import type { ListedNotice } from '../daemon/journal/notices.ts'
import { readListing, type Listing } from '../notify/listing.ts'
import { readConfig } from './access.ts'
import { EXIT, print, when, type ConfigOptions, type Io } from './io.ts'

/** A screenful for each destination, of what waits and of what was given up. */
const SHOWN_MAX = 10

export async function run(name: string, options: ConfigOptions, io: Io): Promise<number> {
  stackOf(await readConfig(options, io), name)
  const listing = readListing(options.data, name)
  if (!listing)
    throw new Problem('not-found', `no agent has run with ${options.data} that notifies anybody of ${name}`, {
      cure: `see that stacks.${name}.notify in ropeway.yml has a destination, and start the agent`,
    })
  if (options.json) print(io, JSON.stringify({ stack: name, ...listing }))
  else print(io, linesOf(name, listing).join('\n'))
  return EXIT.success
}

export function linesOf(name: string, { at, destinations, notices }: Listing): string[] {
  const known = new Set(destinations.map((each) => each.name))
  const gone = [...new Set(notices.map(({ destination }) => destination))].filter((each) => !known.has(each))
  return [
    destinations.length === 0 ? `nobody is notified of ${name}` : `notified of ${name}, as of ${when(at)}:`,
    ...destinations.flatMap((each) => [
      `${each.name} (${each.type}): ${each.on.join(', ')}`,
      ...stateOf(notices.filter(({ destination }) => destination === each.name)),
    ]),
    ...gone.flatMap((each) => [
      `${each}, which ropeway.yml has no more`,
      ...stateOf(notices.filter(({ destination }) => destination === each)),
    ]),
  ]
}

function stateOf(notices: readonly ListedNotice[]): string[] {
  const last = notices.find(({ outcome }) => outcome === 'sent')
  const waiting = notices.filter(({ outcome }) => outcome === null).toReversed()
  const givenUp = notices.filter(({ outcome }) => outcome === 'given-up')
  return [
    last ? `  last sent: ${nameOf(last)}, ${when(last.endedAt ?? last.at)}` : '  nothing sent yet',
    ...shown(waiting, (each) => `waits: ${nameOf(each)}${whyNot(each)}`),
    ...shown(
      givenUp,
      (each) => `given up ${when(each.endedAt ?? each.at)}: ${nameOf(each)}${whyGivenUp(each)}`,
    ),
  ]
}

function shown(notices: readonly ListedNotice[], lineOf: (notice: ListedNotice) => string): string[] {
  const more = notices.length - SHOWN_MAX
  return [
    ...notices.slice(0, SHOWN_MAX).map((each) => `  ${lineOf(each)}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ]
}

function nameOf({ deploy, moment }: ListedNotice): string {
  return `${moment} of deploy ${deploy}`
}

function whyNot({ tries, fault, nextAt }: ListedNotice): string {
  return tries === 0 ? '' : `: try ${tries} failed (${fault}), the next is at ${when(nextAt)}`
}

function whyGivenUp({ tries, fault }: ListedNotice): string {
  return `, after ${tries === 1 ? '1 try' : `${tries} tries`}: ${fault}`
}
