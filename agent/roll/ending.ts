// How a roll ends: with a release on record, undone, or stuck with a note of what a person must know.

import type { DeployEvent } from '../../shared/events.ts'
import { shortImage } from '../../shared/plan.ts'
import { reportOf, type ProblemReport } from '../../shared/problems.ts'
import { containersOf, type RollState } from './context.ts'
import { damageOf } from './stuck/damage.ts'
import { recordRelease } from './releases/new-release.ts'
import type { Course } from './course.ts'
import type { RollContext } from './roll-context.ts'
import { within } from './run-steps.ts'
import { fullName } from './steps/pull.ts'
import type { StuckNote } from './stuck/note.ts'
import { undo } from './undo.ts'

/** The limit of a look at what runs, and of recording a release: both ask the engine a few questions. */
const RECORD_MS_MAX = 60_000

/** The final event of a roll that was undone, or never touched anything. */
export function endedBy(problem: ProblemReport, ms: number): DeployEvent {
  return problem.code === 'cancelled' ? { type: 'cancelled', ms } : { type: 'failed', ms, problem }
}

/** Records the release, and ends the deploy. A release that cannot be recorded is a warning: the roll has succeeded. */
export async function endSucceeded(course: Course, changed: boolean): Promise<void> {
  const { state, context } = course
  let release: number | undefined
  let of: number | undefined
  try {
    await within(state.ports.clock, RECORD_MS_MAX, 'the record of the release', undefined, async (signal) => {
      release = changed ? await recordRelease(state, course.progress, context, signal) : undefined
      of = context.releases.list().find(({ number }) => number === release)?.of
    })
  } catch (error) {
    const { message } = reportOf(error)
    context.emit({
      type: 'warning',
      problem: { code: 'release-not-kept', message: `this release cannot be gone back to: ${message}` },
    })
  }
  context.emit({
    type: 'succeeded',
    ms: course.ms,
    changed,
    ...(await running(state)),
    ...(release === undefined ? {} : { release }),
    ...(of === undefined || of === release ? {} : { of }),
  })
}

/** Undoes what was begun and ends the deploy by the problem, or stuck. */
export async function endUndone(course: Course, problem: ProblemReport): Promise<void> {
  const { stuck, deploy, emit } = course.context
  try {
    await undo(course, problem)
    // The deploy may have been stuck, and interrupted before it could say so.
    if (stuck.read()?.deploy === deploy.id) stuck.clear()
    emit(endedBy(problem, course.ms))
  } catch (error) {
    await endStuck(course, problem, reportOf(error))
  }
}

/** Locks the stack, and says what a person must know. */
export async function endStuck(course: Course, problem: ProblemReport, fault: ProblemReport): Promise<void> {
  const { state, context, record } = course
  const damage = await damageOf(state, context.stuck)
  lock(context, { record, why: fault.message, at: state.ports.clock.now() })
  context.emit({ type: 'stuck', ms: course.ms, problem, undo: fault, damage })
}

/** Locks a stack of which nothing can be said: the roll's record cannot be read, or the world not looked at. */
export function endUnknown(
  context: RollContext,
  {
    record,
    problem,
    fault,
    at,
    ms,
  }: {
    readonly record: string
    readonly problem: ProblemReport
    readonly fault: ProblemReport
    /** Milliseconds since 1970. */
    readonly at: number
    readonly ms: number
  },
): void {
  lock(context, { record, why: fault.message, at })
  context.emit({ type: 'stuck', ms, problem, undo: fault })
}

function lock({ stuck, deploy, emit }: RollContext, note: Omit<StuckNote, 'deploy'>): void {
  try {
    stuck.write({ deploy: deploy.id, ...note })
  } catch (error) {
    emit({
      type: 'warning',
      problem: {
        code: 'lock-not-kept',
        message: `the stack could not be locked, so the next deploy will be tried: ${reportOf(error).message}`,
      },
    })
  }
}

async function running(state: RollState): Promise<{
  services: Record<string, string>
  images?: Record<string, string>
}> {
  const { clock, engine } = state.ports
  try {
    return await within(clock, RECORD_MS_MAX, 'a look at what runs', undefined, async (signal) => {
      const entries = state.observed.members.map(async ({ service }) => {
        const [container] = await containersOf(state, service, signal)
        const name = container && fullName(container, await engine.image(container.imageId, signal))
        return { service, short: shortImage(container?.image ?? ''), name }
      })
      const seen = await Promise.all(entries)
      return {
        services: Object.fromEntries(seen.map(({ service, short }) => [service, short])),
        images: Object.fromEntries(seen.flatMap(({ service, name }) => (name ? [[service, name]] : []))),
      }
    })
  } catch {
    // The roll has succeeded, even where nobody can tell what runs.
    return { services: {} }
  }
}
