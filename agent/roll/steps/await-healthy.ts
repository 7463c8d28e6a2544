// The health gate: Docker's own healthcheck where there is one, and the probe from where nginx stands, N times in a row.

import { LOG_LINES_MAX } from '../../../shared/limits.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Container } from '../../ports.ts'
import { idsOf, lookAround, probeHost, remotesOf, type RollState } from '../context.ts'
import type { StepHandler } from './index.ts'

/** One probe: a healthy app answers well within it, a wedged one must not hold the gate. */
const PROBE_MS_MAX = 2_000
/** Until the first answer the app is only starting: ask often, it costs next to nothing and ends the wait sooner. */
const START_POLL_MS = 20

export const awaitHealthy: StepHandler<'await-healthy'> = {
  deadlineMs: (_step, { stack }) => stack.health.timeoutMs + 60_000,
  async do({ service }, { roll, report, signal }) {
    const { clock } = roll.ports
    const { health } = roll.stack
    const deadline = clock.now() + health.timeoutMs
    const others = new Set([...roll.out].filter((out) => out !== service))
    let inARow = 0
    let reported = ''
    for (;;) {
      const all = await failIfAnyStopped(roll, others, signal)
      const containers = all.filter((container) => container.service === service)
      const fault = await probeAll(roll, service, containers, signal)
      inARow = fault === undefined ? inARow + 1 : 0
      const waiting = fault ?? containers.find((container) => container.health === 'starting')?.health
      if (inARow >= health.successes && waiting === undefined) return { probes: inARow }
      if (clock.now() >= deadline)
        throw new Problem(
          'container-unhealthy',
          `${service} was not healthy within ${health.timeoutMs / 1000} s: ${waiting}`,
          {
            log: await logsOf(roll, containers[0], signal),
            cure: `see why GET ${health.path} is not answered as it should be, or set stacks.${roll.stack.name}.health`,
          },
        )
      if (waiting !== undefined && waiting !== reported) report({ waiting })
      reported = waiting ?? ''
      await clock.sleep(inARow === 0 ? Math.min(START_POLL_MS, health.intervalMs) : health.intervalMs, signal)
    }
  },
}

/** Why one of the service's servers does not answer as it should, or undefined when all do. */
export async function probeAll(
  roll: RollState,
  service: string,
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const { health } = roll.stack
  const remotes = remotesOf(roll, service, containers)
  if (remotes.length === 0) return 'it has no address in a network that nginx is in'
  for (const remote of remotes) {
    const target = { ...remote, path: health.path, host: probeHost(roll) }
    const answer = await roll.ports.http.get(target, PROBE_MS_MAX, signal)
    if ('fault' in answer) return `${remote.ip}:${remote.port} gives ${answer.fault}`
    const { status } = answer
    if (status < health.status.min || status > health.status.max)
      return `GET ${health.path} at ${remote.ip}:${remote.port} answers ${status}`
  }
  return undefined
}

/** What is wrong with a container as seen: it has stopped; or, of one that this roll made, it restarts or its own check fails. */
export function faultOf(roll: RollState, seen: Container): 'stopped' | 'unhealthy' | undefined {
  const isOurs = roll.observed.containers.every(({ id }) => id !== seen.id)
  if (seen.state !== 'running' || (isOurs && seen.restarts > 0)) return 'stopped'
  return isOurs && seen.health === 'unhealthy' ? 'unhealthy' : undefined
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
 * As failIfStopped, for every instance that is in traffic: one that was rolled already may die while the next is. What is out may
 * be in any state: that it is sick is why the way back takes it out. Returns the containers of all instances.
 */
export async function failIfAnyStopped(
  roll: RollState,
  out: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<readonly Container[]> {
  const all = await lookAround(roll, signal)
  for (const container of all) if (!out.has(container.service)) await failIfStopped(roll, container, signal)
  for (const [service, ids] of roll.known ?? []) {
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
    // It has vanished, or the engine has: what the log was to explain goes before.
    return []
  }
}
