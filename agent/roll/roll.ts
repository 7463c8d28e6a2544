// A roll from its request to its final event: the stack's lock, preflight, the plan's steps, and on any failure the way back. Never throws.

import type { Step } from '../../shared/plan.ts'
import { Problem, reportOf } from '../../shared/problems.ts'
import { isRollback, type AnyRequest } from '../../shared/request.ts'
import type { StackConfig } from '../config/config.ts'
import type { Ports } from './ports.ts'
import { beginRoll, type RollState } from './context.ts'
import { endedBy, endSucceeded, endUndone } from './ending.ts'
import { preflight, type Preflight } from './preflight.ts'
import { Course, type Limits } from './course.ts'
import { writeNote } from './record.ts'
import type { RollContext } from './roll-context.ts'
import { within } from './run-steps.ts'
import { retryUndoIfStuck } from './stuck/unlock.ts'
import { isEnvThere, isRunning, wantedVersion } from './wanted.ts'

/** The limit of preflight, which asks docker, compose and nginx a few questions. If it takes this long, one of them hangs. */
export const PREFLIGHT_MS_MAX = 60_000

export async function roll(
  stack: StackConfig,
  request: AnyRequest,
  ports: Ports,
  context: RollContext,
): Promise<void> {
  const startedAt = ports.clock.elapsed()
  context.emit({ type: 'started' })
  try {
    const lock = await ports.locks.take(stack, `deploy ${context.deploy.id} by ${context.deploy.actor}`)
    try {
      await rollLocked(stack, request, ports, context, { startedAt, attempt: 0 })
    } finally {
      await lock.release()
    }
  } catch (error) {
    context.emit(endedBy(reportOf(error), ports.clock.elapsed() - startedAt))
  }
}

export interface Attempt {
  readonly startedAt: number
  /** How often it was begun before. */
  readonly attempt: number
  /** Whether the command before the roll is left out: it has run, or nobody knows and the host's `on_retry` says to skip it. */
  readonly isBeforeDone?: boolean
}

/** Rolls, while the caller holds the stack's lock. Throws what keeps the roll from beginning: then nothing was touched. */
export async function rollLocked(
  stack: StackConfig,
  request: AnyRequest,
  ports: Ports,
  context: RollContext,
  { startedAt, attempt, isBeforeDone = false }: Attempt,
): Promise<void> {
  const { clock } = ports
  context.remember(writeNote({ attempt }))
  await within(clock, stack.deadlineMs, 'the roll', undefined, async (deadline) => {
    const inTime = AbortSignal.any([context.signal, deadline])
    await retryUndoIfStuck(stack, ports, context, inTime)
    const found = await within(clock, PREFLIGHT_MS_MAX, 'preflight', inTime, (signal) =>
      preflight(stack, request, ports, { releases: context.releases.list(), isBeforeDone }, signal),
    )
    for (const problem of found.warnings) context.emit({ type: 'warning', problem })
    const state = beginRoll(context.deploy.id, stack, found, ports)
    const course = new Course(state, beginning(found, request), { attempt, context, startedAt })
    course.announce(found.plan.steps)
    context.emit({ type: 'planned', plan: found.plan })
    if (found.plan.steps.length > 0) course.keepFacts()
    let isChanged: boolean
    try {
      const isForced = !isRollback(request) && request.force === true
      isChanged = await forward(course, found.plan.steps, { signal: context.signal, deadline }, isForced)
    } catch (error) {
      return await endUndone(course, reportOf(error))
    }
    await endSucceeded(course, isChanged)
  })
}

function beginning(found: Preflight, request: AnyRequest): ConstructorParameters<typeof Course>[1] {
  const { observed, gates, wanted, facts, plan, rollbackTarget } = found
  const builtAt = isRollback(request) ? rollbackTarget?.builtAt : Date.parse(request.builtAt ?? '')
  return {
    observed,
    gates,
    wanted: { ...wanted },
    facts,
    order: [...plan.instances],
    steps: [...plan.steps],
    begun: 0,
    isLastDone: false,
    nextStep: 0,
    ...(rollbackTarget ? { rollbackTarget: rollbackTarget.number } : {}),
    ...(builtAt ? { builtAt } : {}),
    ...(request.reason === undefined ? {} : { reason: request.reason }),
  }
}

/** Runs the plan, and returns whether anything was changed. A pull shows what a tag means now: if that runs already, nothing else is touched. */
async function forward(
  course: Course,
  steps: readonly Step[],
  limits: Limits,
  isForced: boolean,
): Promise<boolean> {
  const pulls = steps.filter(({ kind }) => kind === 'pull')
  const after = steps.filter((step) => step.kind === 'command' && step.when === 'after')
  const main = steps.slice(pulls.length, steps.length - after.length)
  const run = async (part: readonly Step[], from: number) =>
    await course.run(part, from, limits, (count, isLastDone) =>
      course.keep({ begun: from + count, isLastDone }),
    )
  await run(pulls, 0)
  if (steps.length === 0 || (pulls.length > 0 && !isForced && isAlreadyRunning(course.state))) return false
  await run(main, pulls.length)
  await runAfter(after, () => run(after, pulls.length + main.length), course.context)
  return true
}

function isAlreadyRunning({ observed, wanted, images, runtime }: RollState): boolean {
  return observed.members.every((member) => {
    const own = wantedVersion(wanted, member.service)
    const id = own.image === undefined ? undefined : images.get(own.image)?.id
    return (
      isRunning(member) &&
      member.containers.every(({ imageId }) => id === undefined || imageId === id) &&
      isEnvThere(member, runtime.seen, own)
    )
  })
}

/** Runs the command after a roll. The new version serves already, so a failure is a warning, and nothing is undone. */
export async function runAfter(
  after: readonly Step[],
  run: () => Promise<void>,
  { emit }: Pick<RollContext, 'emit'>,
): Promise<void> {
  if (after.length === 0) return
  try {
    await run()
  } catch (error) {
    const { code, message, cure } = error instanceof Problem ? error : reportOf(error)
    emit({
      type: 'warning',
      problem: { code, message: `after the roll: ${message}`, ...(cure === undefined ? {} : { cure }) },
    })
  }
}
