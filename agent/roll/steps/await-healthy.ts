// The health gate: Docker's own healthcheck where there is one, and the probe N times in a row.

import { LOG_LINES_MAX } from '../../../shared/limits.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Container } from '../../ports.ts'
import { containersOf, idsOf, lookAround, missingIn, remotesOf, type RollState } from '../context.ts'
import { askerFrom, describeProbe, faultAt } from '../gates/gates.ts'
import { verdictMs } from '../gates/healthcheck.ts'
import type { StepHandler } from './step.ts'

/** The most that Docker's verdict is waited for, and that a start period adds to the probe's time: a healthcheck that is silent by then hangs. */
const VERDICT_MS_MAX = 15 * 60_000
/** The least time that the former version gets on the way back. It was well before, and to give up means to be stuck. */
const BACK_MS_MIN = 30_000
/** The pause while the probe fails. The app is only starting then: to ask often costs next to nothing, and ends the wait sooner. */
const START_POLL_MS = 20

export const awaitHealthy: StepHandler<'await-healthy'> = {
  undone: 'nothing',
  deadlineMs: (_step, { stack }) => Math.max(stack.health.timeoutMs, BACK_MS_MIN) + VERDICT_MS_MAX + 60_000,
  async do({ service }, { roll, report, signal }) {
    const { clock } = roll.ports
    const { health } = roll.stack
    const startedAt = clock.elapsed()
    if (!isExpectedWell(roll, service)) {
      await untilAnswering(roll, service, signal)
      return { asBefore: roll.gates.before[service]?.said ?? '' }
    }
    const others = new Set([...roll.proxy.out].filter((out) => out !== service))
    let inARow = 0
    let reported = ''
    for (;;) {
      const all = await failIfAnyStopped(roll, others, signal, service)
      const containers = all.filter((container) => container.service === service)
      // Docker may call a container that starts slowly unhealthy, and take that back. So that is waited out.
      const isSick = isDockerAsked(roll, service) && containers.some((one) => one.health === 'unhealthy')
      const fault = isSick
        ? 'unhealthy by its Docker healthcheck'
        : await probeAll(roll, service, containers, signal)
      inARow = fault === undefined ? inARow + 1 : 0
      const isSteady = inARow >= health.successes
      const starting = isDockerAsked(roll, service) && containers.find((one) => one.health === 'starting')
      if (isSteady && !starting) return { probes: inARow }
      // The probe has its own time. Once only Docker's verdict is missing, that may take as long as the healthcheck's own times allow.
      const waitedMs = clock.elapsed() - startedAt
      // A container that declares a start period has that time as well.
      const startMs = Math.max(0, ...containers.map((one) => one.healthcheck?.startPeriodMs ?? 0))
      const timeoutMs = Math.max(
        health.timeoutMs + Math.min(startMs, VERDICT_MS_MAX),
        roll.runtime.updated.has(service) ? 0 : BACK_MS_MIN,
      )
      const longestMs = starting && isSteady ? Math.min(verdictMs(starting), VERDICT_MS_MAX) : 0
      const waiting = fault ?? (starting ? 'starting' : 'it has not answered well often enough in a row')
      if (waitedMs >= Math.max(timeoutMs, longestMs))
        throw new Problem(
          'container-unhealthy',
          `${service} was not healthy within ${Math.max(timeoutMs, longestMs) / 1000} s: ${waiting}`,
          {
            log: await logsOf(roll, containers[0], signal),
            cure:
              fault === undefined && starting
                ? 'see with `docker inspect` what its Docker healthcheck says'
                : `see why ${describeProbe(roll.gates.probe)} is not answered as it should be, or set stacks.${roll.stack.name}.health`,
          },
        )
      const told = fault ?? (starting ? 'starting' : '')
      if (told !== '' && told !== reported) report({ waiting: told })
      reported = told
      await clock.sleep(inARow === 0 ? Math.min(START_POLL_MS, health.intervalMs) : health.intervalMs, signal)
    }
  },
}

// A service of which nothing ran before need not be well. But one that the way back has started is given its time: to be put back while it starts
// would cost requests that nobody has lost before.
async function untilAnswering(roll: RollState, service: string, signal: AbortSignal): Promise<void> {
  const { clock } = roll.ports
  const end = clock.elapsed() + BACK_MS_MIN
  while (roll.gates.before[service]?.state === 'gone' && clock.elapsed() < end) {
    const containers = await containersOf(roll, service, signal)
    const isUp =
      containers.length > 0 && containers.every((one) => one.state === 'running' && one.restarts === 0)
    if (!isUp || (await probeAll(roll, service, containers, signal)) === undefined) return
    await clock.sleep(roll.stack.health.intervalMs, signal)
  }
}

/** Why one of the service's servers does not answer as it should, or undefined when all do. */
export async function probeAll(
  roll: RollState,
  service: string,
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<string | undefined> {
  if (containers.length === 0) return 'it has no container'
  const asker = askerFrom(roll.gates.from, roll.ports, roll.proxy)
  return await faultAt(roll.gates, asker, remotesOf(roll, service, containers), signal)
}

/** Whether a service must answer its probe now. At the new version it must; else only if it did before the roll, whatever Docker called it. */
export function isExpectedWell({ runtime, gates }: RollState, service: string): boolean {
  return runtime.updated.has(service) || (gates.before[service]?.isAnswering ?? true)
}

// Docker's healthcheck counts for the former version only if it called that healthy before the roll.
function isDockerAsked({ runtime, gates }: RollState, service: string): boolean {
  return (
    gates.isDockerAsked &&
    (runtime.updated.has(service) || gates.before[service]?.isHealthyByDocker !== false)
  )
}

/**
 * What is wrong with a container as seen: it has stopped. A container that this roll made must not restart or be unhealthy by its healthcheck either.
 * What was so before the roll is no fault.
 */
export function faultOf(roll: RollState, seen: Container): 'stopped' | 'unhealthy' | undefined {
  const before = roll.observed.containers.find(({ id }) => id === seen.id)
  // Of an updated service even a container that had ended must run: the roll may have started it.
  const wasStopped =
    before !== undefined && before.state !== 'running' && !roll.runtime.updated.has(seen.service)
  if (missingIn(roll).has(seen.service) || wasStopped) return undefined
  if (seen.state !== 'running' || (!before && seen.restarts > 0)) return 'stopped'
  return !before && isDockerAsked(roll, seen.service) && seen.health === 'unhealthy' ? 'unhealthy' : undefined
}

/** Throws when something is wrong with the container, with its last log lines. */
export async function failIfStopped(roll: RollState, seen: Container, signal: AbortSignal): Promise<void> {
  const fault = faultOf(roll, seen)
  if (fault === undefined) return
  const log = await logsOf(roll, seen, signal)
  if (fault === 'stopped')
    throw new Problem('container-exited', `${seen.name} stopped with exit code ${seen.exitCode}`, {
      log,
      cure: 'its last log lines may say why',
    })
  throw new Problem('container-unhealthy', `${seen.name} is unhealthy by its Docker healthcheck`, { log })
}

/**
 * As failIfStopped, for every instance in traffic: one that was rolled already may die while the next is rolled. Services in `out` may be in any
 * state, and `awaited` may still be unhealthy. Throws `container-changed` too, where somebody else recreated or scaled a service. Returns all
 * members' containers.
 */
export async function failIfAnyStopped(
  roll: RollState,
  out: ReadonlySet<string>,
  signal: AbortSignal,
  awaited?: string,
): Promise<readonly Container[]> {
  const all = await lookAround(roll, signal)
  for (const container of all) {
    const isWaitedFor = container.service === awaited && faultOf(roll, container) === 'unhealthy'
    if (!out.has(container.service) && !isWaitedFor) await failIfStopped(roll, container, signal)
  }
  const missing = missingIn(roll)
  for (const [service, ids] of roll.known ?? []) {
    if (missing.has(service)) continue
    const now = idsOf(all.filter((one) => one.service === service))
    if (!out.has(service) && now.join() !== ids.join())
      throw new Problem(
        'container-changed',
        now.length === ids.length
          ? `somebody else recreated the container of ${service} during the roll`
          : `${service} has ${now.length} containers instead of ${ids.length}: somebody else scaled it during the roll`,
        { cure: 'let the deploy end first' },
      )
  }
  return all
}

export async function logsOf(
  roll: RollState,
  container: Container | undefined,
  signal: AbortSignal,
): Promise<string[]> {
  if (!container) return []
  try {
    return await roll.ports.engine.logs(container.id, LOG_LINES_MAX, signal)
  } catch {
    // The container has vanished, or the engine. The problem that this log was to explain is thrown by the caller.
    return []
  }
}
