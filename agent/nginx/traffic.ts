// What nginx notes of the requests that it sends to the upstream.

import { reportOf } from '../../shared/problems.ts'
import type { Attempt, Traffic, Unusable } from '../roll/proxy.ts'
import type { AccessLogs } from './config/access-log.ts'
import { parserOf, type ParseLine } from './config/log-format.ts'
import { openLog, type LogSource } from './log-source.ts'
import type { Place } from './place.ts'

/** How many logs of one upstream are read. The first ones speak for the rest. */
const LOGS_MAX = 8

interface OpenLog {
  readonly source: LogSource
  readonly parse: ParseLine
}

/** The traffic from now on. `now`: milliseconds since 1970. */
export async function openTraffic(
  place: Place,
  known: AccessLogs,
  now: number,
  signal: AbortSignal,
): Promise<Traffic | Unusable> {
  if ('unusable' in known) return known
  return await orUnusable(signal, async () => {
    const open: OpenLog[] = []
    for (const { path, format } of known.logs.slice(0, LOGS_MAX)) {
      const source = await openLog(place, path, now, signal)
      const parse = parserOf(format)
      if ('unusable' in source) return source
      if ('unusable' in parse) return parse
      open.push({ source, parse })
    }
    return { read: (inTime: AbortSignal) => orUnusable(inTime, () => readAttempts(open, inTime)) }
  })
}

async function readAttempts(
  logs: readonly OpenLog[],
  signal: AbortSignal,
): Promise<readonly Attempt[] | Unusable> {
  const attempts: Attempt[] = []
  for (const { source, parse } of logs) {
    const text = await source.read(signal)
    if (typeof text !== 'string') return text
    for (const line of text.split('\n')) attempts.push(...(parse(line) ?? []))
  }
  return attempts
}

// A log that cannot be read is no fault of the member. A failure of the engine is found by the next look at the containers.
async function orUnusable<T>(signal: AbortSignal, work: () => Promise<T | Unusable>): Promise<T | Unusable> {
  try {
    return await work()
  } catch (error) {
    signal.throwIfAborted()
    return { unusable: `the access log cannot be read: ${reportOf(error).message}` }
  }
}
