// How a roll ends: with a release on record, undone, or stuck with a note of what a person must know.

import type { DeployEvent } from '../../shared/events.ts'
import { shortImage } from '../../shared/plan.ts'
import { reportOf, type ProblemReport } from '../../shared/problems.ts'
import type { Clock } from '../ports.ts'
import { containersOf, type RollState } from './context.ts'
import { damageOf } from './damage.ts'
import { recordRelease } from './new-release.ts'
import { takenBy, writeNote, writeRecord, type Progress } from './record.ts'
import type { RollContext } from './roll-context.ts'
import { within } from './run-steps.ts'
import { fullName } from './steps/pull.ts'
import { undo } from './undo.ts'

/** A look at what runs, and the images' names: a few questions to the engine. */
const RECORD_MS_MAX = 60_000

/** The final event of a roll that was undone, or never touched anything. */
export function endedBy(problem: ProblemReport, ms: number): DeployEvent {
  return problem.code === 'cancelled' ? { type: 'cancelled', ms } : { type: 'failed', ms, problem }
}

/** Records the release and ends the deploy. What cannot be recorded does not make the roll fail: it is there. */
export async function endSucceeded(
  state: RollState,
  progress: Progress,
  context: RollContext,
  ms: () => number,
  changed: boolean,
): Promise<void> {
  const { clock } = state.ports
  let release: number | undefined
  let of: number | undefined
  try {
    await within(clock, RECORD_MS_MAX, 'the record of the release', undefined, async (signal) => {
      release = changed ? await recordRelease(state, progress, context, signal) : undefined
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
    ms: ms(),
    changed,
    ...(await running(state)),
    ...(release === undefined ? {} : { release }),
    ...(of === undefined || of === release ? {} : { of }),
  })
}

/** Undoes what was begun and ends the deploy by the problem, or stuck. */
export async function endUndone(
  state: RollState,
  progress: Progress,
  attempt: number,
  problem: ProblemReport,
  context: RollContext,
  ms: () => number,
): Promise<void> {
  const { emit, remember } = context
  let newest: Progress = progress
  try {
    await undo(state, takenBy(progress), {
      emit,
      told: progress.told,
      onTaken: (taken, told) => {
        newest = { ...progress, goesBack: { taken: [...taken], problem }, told }
        try {
          remember(writeNote({ attempt, progress: newest }))
        } catch {
          // The note that is there names every step that was begun, and each may be repeated: going back goes before a newer note.
        }
      },
    })
    // One that was stuck and was interrupted before it could say so.
    if (context.stuck.read()?.deploy === context.deploy.id) context.stuck.clear()
    emit(endedBy(problem, ms()))
  } catch (error) {
    const record = writeRecord({ attempt, progress: newest })
    await endStuck(state, record, problem, reportOf(error), context, { clock: state.ports.clock, ms })
  }
}

/** Locks the stack, and says what a person must know. */
export async function endStuck(
  state: RollState | undefined,
  record: string,
  problem: ProblemReport,
  fault: ProblemReport,
  { emit, stuck, deploy }: RollContext,
  { clock, ms }: { clock: Clock; ms: () => number },
): Promise<void> {
  const damage = state && (await damageOf(state, stuck))
  try {
    stuck.write({ deploy: deploy.id, at: clock.now(), why: fault.message, record })
  } catch (error) {
    emit({
      type: 'warning',
      problem: {
        code: 'lock-not-kept',
        message: `the stack could not be locked, so the next deploy will be tried: ${reportOf(error).message}`,
      },
    })
  }
  emit({ type: 'stuck', ms: ms(), problem, undo: fault, ...(damage ? { damage } : {}) })
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
    // The roll has succeeded whatever can be said about it.
    return { services: {} }
  }
}
