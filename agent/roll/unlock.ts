// Before a roll of a stack that is stuck: what comes by itself is refused, what a person asks for first tries the way back once more.

import { Problem, reportOf } from '../../shared/problems.ts'
import type { StackConfig } from '../config/config.ts'
import type { Ports } from './ports.ts'
import { readRecord, resumeRoll, takenBy } from './record.ts'
import type { RollContext } from './roll-context.ts'
import { undo } from './undo.ts'
import { looksWhole } from './whole.ts'

/** Lets a deploy pass when the stack is not stuck, or is whole again. Throws `stack-locked`. */
export async function passLock(
  stack: StackConfig,
  ports: Ports,
  { stuck, deploy, emit }: RollContext,
  signal: AbortSignal,
): Promise<void> {
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
    if (resumed && !resumed.changed)
      await undo(
        resumed.state,
        takenBy(progress),
        // This deploy has no plan yet: until it has, these are its steps. Should the agent end here, the note is still there.
        { emit, told: 0, onTaken: () => {} },
      )
    const wrong = await looksWhole(stack, ports, signal, note.record)
    if (wrong.length > 0) throw new Problem('stack-locked', wrong.join('; '))
    stuck.clear()
  } catch (error) {
    throw new Problem('stack-locked', `${since}, and still is: ${reportOf(error).message}`, {
      cure: `repair it as that deploy says, then run \`ropeway resolve ${stack.name}\``,
      cause: error,
    })
  }
}
