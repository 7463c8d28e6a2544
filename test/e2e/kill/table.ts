// The kill suite's figures: where the kills hit, what became of the deploys, how long it took to settle.

import type { LoggedEvent } from '../../../shared/events.ts'
import { median, printTable, seconds } from '../../bench/report.ts'
import { stepsOf } from '../../support/ropeway.ts'
import type { Round } from './lane.ts'

/** What the agent was at when it was killed, by its own events: `update`, `undo: drain`, … */
export function placeOf(events: readonly LoggedEvent[], killedAt: number): string {
  const told = events.filter(({ at, event }) => at <= killedAt && event.type !== 'accepted')
  const last = told.at(-1)?.event
  if (!last || last.type === 'received') return 'waiting'
  if (last.type === 'succeeded' || last.type === 'failed' || last.type === 'stuck') return 'after the end'
  const run = stepsOf(told).at(-1)
  if (!run) return 'preflight'
  const name = `${run.isUndo ? 'undo: ' : ''}${run.step.kind}`
  return last.type === 'step-started' || last.type === 'step-progress' ? name : `after ${name}`
}

export function printTables(rounds: readonly Round[]): void {
  const kills = rounds.flatMap(({ killed, events }) =>
    killed.map(({ at, how }) => ({
      place: placeOf(events, at),
      how,
      // What the next agent said first; none where the roll was not begun, or over.
      way: events.find((one) => one.at > at && one.event.type === 'recovering')?.event,
      final: events.at(-1)?.event.type ?? '',
    })),
  )
  const places = [...new Set(kills.map(({ place }) => place))].toSorted()
  const rows = places.map((place) => {
    const here = kills.filter((kill) => kill.place === place)
    const count = (isIt: (kill: (typeof kills)[number]) => boolean) => String(here.filter(isIt).length)
    const isWay = (way: string) => (kill: (typeof kills)[number]) =>
      kill.way?.type === 'recovering' && kill.way.way === way
    return [
      place,
      String(here.length),
      count(({ how }) => how === 'alone'),
      ...['again', 'forward', 'back'].map((way) => count(isWay(way))),
      ...['succeeded', 'failed'].map((type) => count(({ final }) => final === type)),
    ]
  })
  printTable(
    `${kills.length} kills in ${rounds.length} deploys`,
    ['killed in', 'kills', 'the agent alone', 'again', 'forward', 'back', 'succeeded', 'failed'],
    rows,
  )
  const settled = rounds.flatMap(({ settledMs }) => settledMs ?? [])
  const took = rounds.map(({ startedAt, endedAt }) => endedAt - startedAt)
  printTable(
    'from the start of the agent to a settled stack',
    ['deploys', 'p50', 'max', 'a whole round, p50'],
    [
      [
        String(settled.length),
        seconds(median(settled)),
        seconds(Math.max(...settled)),
        seconds(median(took)),
      ],
    ],
  )
}
