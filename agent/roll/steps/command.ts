// Runs a command of the stack around its roll, in a one-off container of a service: `before` on the version that is to come, while
// nothing was touched yet; `after` on the one that runs by then.

import { describeStep, type Step } from '../../../shared/plan.ts'
import { Problem, reportOf } from '../../../shared/problems.ts'
import type { RollState } from '../context.ts'
import type { StepHandler } from './step.ts'

type Command = Extract<Step, { kind: 'command' }>

/** The limit of a command that has gone from ropeway.yml since its roll was planned: the same as where ropeway.yml sets none. */
const COMMAND_MS_MAX = 10 * 60_000
/** The engine kills and removes a container within seconds; the stack's roll must end even where it does not. */
const REMOVE_MS_MAX = 30_000

export const command: StepHandler<'command'> = {
  undone: 'never',
  deadlineMs: ({ when }, { stack }) => stack[when]?.timeoutMs ?? COMMAND_MS_MAX,
  async do(step, { roll, signal }) {
    const { when, service, command: words } = step
    const name = oneOffName(roll, when)
    // An agent that was killed may have left this container running. The command must not run twice at a time.
    await removeOneOff(roll, name, signal)
    const by = when === 'before' ? 'wanted' : 'present'
    const { exitCode, log } = await removedOnFailure(step, roll, name, () =>
      roll.runtime.runOnce(service, { command: words, name, by }, signal),
    )
    if (exitCode === 0) return { exitCode, ...lastLine(log) }
    throw new Problem(
      'command-failed',
      `\`${words.join(' ')}\` in ${service} ended with exit code ${exitCode}`,
      { log, cure: CURES[when] },
    )
  },
}

const CURES = {
  before: 'its output says why; nothing was touched, so mend the command and deploy again',
  after: 'its output says why; the new version runs, so mend what the command was to do by hand',
} as const

/** The name of the one-off container. It has the deploy and the moment in it, so that a leftover is known for what it is. */
export function oneOffName({ deployId }: Pick<RollState, 'deployId'>, when: Command['when']): string {
  return `ropeway-${deployId}-${when}`
}

// A deadline or a cancel ends compose, but not the container that compose has started.
async function removedOnFailure<T>(
  step: Command,
  roll: RollState,
  name: string,
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run()
  } catch (error) {
    try {
      await removeOneOff(roll, name, AbortSignal.timeout(REMOVE_MS_MAX))
    } catch {
      throw new Problem(
        'command-failed',
        `${reportOf(error).message}; the container ${name} of \`${describeStep(step)}\` could not be removed`,
        { cure: `end it with \`docker rm --force ${name}\``, cause: error },
      )
    }
    throw error
  }
}

async function removeOneOff({ ports }: RollState, name: string, signal: AbortSignal): Promise<void> {
  const left = await ports.engine.container(name, signal)
  if (left) await ports.engine.remove(left.id, signal)
}

function lastLine(log: readonly string[]): { output?: string } {
  const output = log.findLast((line) => line.trim() !== '')
  return output === undefined ? {} : { output }
}
