// Before a roll of a stuck stack: a trigger's request is refused; a person's first tries the way back once more.

import { Problem, reportOf } from '../../../shared/problems.ts'
import type { StackConfig } from '../../config/config.ts'
import type { Ports } from '../ports.ts'
import { Course } from '../course.ts'
import { readRecord, resumeRoll } from '../record.ts'
import type { RollContext } from '../roll-context.ts'
import { undo } from '../undo.ts'
import { findFaults } from './consistency.ts'

/** Lets a deploy pass when the stack is not stuck, or is whole again. Throws `stack-locked`. */
export async function retryUndoIfStuck(
  stack: StackConfig,
  ports: Ports,
  context: RollContext,
  signal: AbortSignal,
): Promise<void> {
  const { stuck, deploy, emit } = context
  const note = stuck.read()
  if (!note) return
  const since = `stack ${stack.name} is stuck since deploy ${note.deploy} (${new Date(note.at).toISOString()})`
  if (deploy.isAutomatic)
    throw new Problem('stack-locked', `${since}: ${note.why}`, {
      cure: `repair it as that deploy says, then run \`ropeway resolve ${stack.name}\`; \`ropeway deploy\` tries the way back once more`,
    })
  emit({
    type: 'warning',
    problem: { code: 'stack-locked', message: `${since}; the way back is tried again first` },
  })
  try {
    const { progress } = readRecord(note.record)
    const resumed = progress && (await resumeRoll(note.deploy, stack, progress, ports, signal))
    if (resumed && !resumed.changed) {
      // This deploy has no plan yet, so the way back's steps are its first. They are not recorded: the stuck deploy's record is still there.
      const own = { ...context, remember: () => {} }
      const options = { attempt: 0, context: own, startedAt: ports.clock.elapsed() }
      const former = { code: 'stack-locked' as const, message: note.why }
      await undo(new Course(resumed.state, { ...progress, nextStep: 0 }, options), former)
    }
    const wrong = await findFaults(stack, ports, signal, note.record)
    if (wrong.length > 0) throw new Problem('stack-locked', wrong.join('; '))
    stuck.clear()
  } catch (error) {
    throw new Problem('stack-locked', `${since}, and still is: ${reportOf(error).message}`, {
      cure: `repair it as that deploy says, then run \`ropeway resolve ${stack.name}\``,
      cause: error,
    })
  }
}
