// Watches a service in traffic for the soak time: it must stay up and healthy, and not answer worse than the others.

import type { Facts } from '../../../shared/events.ts'
import { Problem, reportOf } from '../../../shared/problems.ts'
import { parserOf, type Attempt, type ParseLine, type Unusable } from '../../nginx/log-format.ts'
import type { Container } from '../../ports.ts'
import { containersOf, remotesOf, type RollState } from '../context.ts'
import { describeProbe } from '../gates.ts'
import { countAttempts, judge, sumOf } from '../judge.ts'
import { openLog, type LogSource } from '../log-source.ts'
import { failIfAnyStopped, failIfStopped, logsOf, probeAll } from './await-healthy.ts'
import type { StepHandler } from './step.ts'

/** A crash shows as a refused connection first, and to the engine up to this much later. */
const CRASH_SEEN_MS_MAX = 500
/** The first look into the access log. Each reads it from the beginning of the soak: so later ones come ever less often, */
const LOOK_MS = 1000
/** after this part of the time that has passed: fourteen in half a minute, and seven more for each time it is five times as long. */
const LOOK_SHARE = 0.25
/** Beyond so many logs of one upstream, the first speak for the rest. */
const LOGS_MAX = 8

export const soak: StepHandler<'soak'> = {
  undone: 'nothing',
  deadlineMs: ({ ms }) => ms + 60_000,
  async do({ service, ms }, { roll, report, signal }) {
    const { clock } = roll.ports
    const startedAt = clock.now()
    const end = startedAt + ms
    const logs = await openLogs(roll, signal)
    let lookAt = startedAt + LOOK_MS
    while (clock.now() < end) {
      const all = await failIfAnyStopped(roll, roll.out, signal)
      await failIfUnhealthy(
        roll,
        service,
        all.filter((one) => one.service === service),
        signal,
      )
      if (clock.now() >= lookAt) {
        report(await lookIntoLogs(roll, service, all, logs, signal))
        lookAt = clock.now() + Math.max(LOOK_MS, LOOK_SHARE * (clock.now() - startedAt))
      }
      await clock.sleep(Math.min(roll.stack.health.intervalMs, Math.max(0, end - clock.now())), signal)
    }
    const all = await failIfAnyStopped(roll, roll.out, signal)
    return await lookIntoLogs(roll, service, all, logs, signal)
  },
}

async function failIfUnhealthy(
  roll: RollState,
  service: string,
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<void> {
  const { clock } = roll.ports
  const fault = await probeAll(roll, service, containers, signal)
  if (fault === undefined) return
  const seenBy = clock.now() + CRASH_SEEN_MS_MAX
  for (let isOver = false; !isOver; isOver = clock.now() >= seenBy) {
    await clock.sleep(roll.stack.health.intervalMs, signal)
    for (const container of await containersOf(roll, service, signal))
      await failIfStopped(roll, container, signal)
  }
  throw new Problem('container-unhealthy', `${service} became unhealthy in traffic: ${fault}`, {
    log: await logsOf(roll, containers[0], signal),
    cure: `see why ${describeProbe(roll.gates.probe)} is no longer answered as it should be`,
  })
}

interface OpenLog {
  readonly source: LogSource
  readonly parse: ParseLine
}

async function openLogs(roll: RollState, signal: AbortSignal): Promise<readonly OpenLog[] | Unusable> {
  const known = roll.observed.proxy.settings.accessLogs
  if ('unusable' in known) return known
  return await orWhy(signal, async () => {
    const open: OpenLog[] = []
    for (const { path, format } of known.logs.slice(0, LOGS_MAX)) {
      const source = await openLog(roll, path, signal)
      const parse = parserOf(format)
      if ('unusable' in source) return source
      if ('unusable' in parse) return parse
      open.push({ source, parse })
    }
    return open
  })
}

// Throws `instance-worse`; else what there is to say of it. Where nothing could be judged, `log` says why: it must not look like a pass.
async function lookIntoLogs(
  roll: RollState,
  service: string,
  all: readonly Container[],
  logs: readonly OpenLog[] | Unusable,
  signal: AbortSignal,
): Promise<Facts> {
  const attempts = 'unusable' in logs ? logs : await orWhy(signal, () => readAttempts(logs, signal))
  if ('unusable' in attempts) return { log: attempts.unusable }
  const counts = countAttempts(attempts)
  const countOf = (services: readonly string[]) =>
    sumOf(
      counts,
      services.flatMap((one) => addressesOf(roll, one, all)),
    )
  const instance = countOf([service])
  const others = countOf(
    roll.observed.instances
      .filter((one) => one.service !== service && one.isLive && !roll.out.has(one.service))
      .map((one) => one.service),
  )
  const { requests, errors } = instance
  const facts = { requests, errors, othersRequests: others.requests, othersErrors: others.errors }
  switch (judge(instance, others)) {
    case 'fine':
      return facts
    case 'too-few':
      return {
        ...facts,
        log: `too few requests to judge by: ${requests}, and ${others.requests} at the others`,
      }
    case 'worse':
      throw new Problem(
        'instance-worse',
        `${service} answers 5xx to ${errors} of ${requests} requests in traffic, the others to ${others.errors} of ${others.requests}`,
        {
          log: await logsOf(
            roll,
            all.find((one) => one.service === service),
            signal,
          ),
          cure: 'see in its log which requests fail',
        },
      )
  }
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

function addressesOf(roll: RollState, service: string, all: readonly Container[]): string[] {
  const containers = all.filter((one) => one.service === service)
  return remotesOf(roll, service, containers).map(
    ({ ip, port }) => `${ip.includes(':') ? `[${ip}]` : ip}:${port}`,
  )
}

// A log that cannot be read is no fault of the instance, and the engine's own are found by the next look at the containers.
async function orWhy<T>(signal: AbortSignal, work: () => Promise<T | Unusable>): Promise<T | Unusable> {
  try {
    return await work()
  } catch (error) {
    signal.throwIfAborted()
    return { unusable: `the access log cannot be read: ${reportOf(error).message}` }
  }
}
