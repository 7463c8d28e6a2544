// A roll from its request to its final event: the stack's lock, preflight, the plan's steps, and on any failure the way back. Never throws.

import type { Step } from '../../shared/plan.ts'
import { Problem, reportOf } from '../../shared/problems.ts'
import { isRollback, type AnyRequest } from '../../shared/request.ts'
import type { StackConfig } from '../config/config.ts'
import type { Ports } from './ports.ts'
import { beginRoll, type RollState } from './context.ts'
import { endedBy, endSucceeded, endUndone } from './ending.ts'
import { preflight, type Preflight } from './preflight.ts'
import { progressOf, writeFacts, writeNote, type Progress } from './record.ts'
import type { RollContext } from './roll-context.ts'
import { runSteps, within } from './run-steps.ts'
import { passLock } from './unlock.ts'
import { isEnvThere, isRunning, wantedOf } from './wanted.ts'

/** Preflight asks docker, compose and nginx a few questions; one that takes this long hangs. */
export const PREFLIGHT_MS_MAX = 60_000

export async function roll(
  stack: StackConfig,
  request: AnyRequest,
  ports: Ports,
  context: RollContext,
): Promise<void> {
  const startedAt = ports.clock.now()
  context.emit({ type: 'started' })
  try {
    const lock = await ports.locks.take(stack, `deploy ${context.deploy.id} by ${context.deploy.actor}`)
    try {
      await rollLocked(stack, request, ports, context, { startedAt, attempt: 0 })
    } finally {
      await lock.release()
    }
  } catch (error) {
    context.emit(endedBy(reportOf(error), ports.clock.now() - startedAt))
  }
}

export interface Attempt {
  readonly startedAt: number
  /** How often it was begun before. */
  readonly attempt: number
  /** The command before the roll is not to run: it did, or nobody knows and the host says to go on. */
  readonly isBeforeDone?: boolean
}

/** The roll of whoever holds the stack's lock. Throws what keeps it from beginning: then nothing was touched. */
export async function rollLocked(
  stack: StackConfig,
  request: AnyRequest,
  ports: Ports,
  context: RollContext,
  { startedAt, attempt, isBeforeDone = false }: Attempt,
): Promise<void> {
  const { clock } = ports
  const ms = () => clock.now() - startedAt
  context.remember(writeNote({ attempt }))
  await within(clock, stack.deadlineMs, 'the roll', undefined, async (deadline) => {
    const inTime = AbortSignal.any([context.signal, deadline])
    await passLock(stack, ports, context, inTime)
    const found = await within(clock, PREFLIGHT_MS_MAX, 'preflight', inTime, (signal) =>
      preflight(stack, request, ports, { releases: context.releases.list(), isBeforeDone }, signal),
    )
    for (const problem of found.warnings) context.emit({ type: 'warning', problem })
    const run = new Run(found, request, ports, context, { stack, attempt, deadline })
    context.emit({ type: 'planned', plan: found.plan })
    if (found.plan.steps.length > 0) context.remember(writeNote({ attempt }), writeFacts(run.progress()))
    let isChanged: boolean
    try {
      isChanged = await run.forward()
    } catch (error) {
      return await endUndone(run.state, run.progress(), attempt, reportOf(error), context, ms)
    }
    await endSucceeded(run.state, run.progress(), context, ms, isChanged)
  })
}

/** One roll on its way: its state, and how far it has come. */
class Run {
  readonly state: RollState
  readonly #steps: readonly Step[]
  readonly #rest: Pick<Progress, 'goesBackTo' | 'builtAt' | 'reason'>
  readonly #context: RollContext
  readonly #attempt: number
  readonly #deadline: AbortSignal
  readonly #isForced: boolean
  #begun = 0
  #isLastDone = false

  constructor(
    found: Preflight,
    request: AnyRequest,
    ports: Ports,
    context: RollContext,
    { stack, attempt, deadline }: { stack: StackConfig; attempt: number; deadline: AbortSignal },
  ) {
    this.state = beginRoll(context.deploy.id, stack, found, ports)
    this.#steps = found.plan.steps
    this.#context = context
    this.#attempt = attempt
    this.#deadline = deadline
    this.#isForced = !isRollback(request) && request.force === true
    const builtAt = isRollback(request) ? found.goesBackTo?.builtAt : Date.parse(request.builtAt ?? '')
    this.#rest = {
      ...(found.goesBackTo ? { goesBackTo: found.goesBackTo.number } : {}),
      ...(builtAt ? { builtAt } : {}),
      ...(request.reason === undefined ? {} : { reason: request.reason }),
    }
  }

  progress(): Progress {
    return progressOf(this.state, {
      ...this.#rest,
      steps: [...this.#steps],
      begun: this.#begun,
      isLastDone: this.#isLastDone,
      told: this.#steps.length,
    })
  }

  /** Runs the plan; whether anything was changed. A pull shows what a tag means now: if that is what runs already, nothing else is touched. */
  async forward(): Promise<boolean> {
    const pulls = this.#steps.filter(({ kind }) => kind === 'pull')
    await this.#run(pulls, 0)
    if (this.#steps.length === 0 || (pulls.length > 0 && !this.#isForced && this.#isAlreadyRunning()))
      return false
    const after = this.#steps.filter((step) => step.kind === 'command' && step.when === 'after')
    const main = this.#steps.slice(pulls.length, this.#steps.length - after.length)
    await this.#run(main, pulls.length)
    await runAfter(after, () => this.#run(after, pulls.length + main.length), this.#context)
    return true
  }

  async #run(steps: readonly Step[], from: number): Promise<void> {
    const { emit, signal, remember } = this.#context
    await runSteps(steps, this.state, {
      from,
      emit,
      signal,
      deadline: this.#deadline,
      onProgress: (count, isLastDone) => {
        const before = [this.#begun, this.#isLastDone] as const
        ;[this.#begun, this.#isLastDone] = [from + count, isLastDone]
        try {
          remember(writeNote({ attempt: this.#attempt, progress: this.progress() }))
        } catch (error) {
          // A step that is not noted is not begun.
          if (!isLastDone) [this.#begun, this.#isLastDone] = before
          throw error
        }
      },
    })
  }

  #isAlreadyRunning(): boolean {
    const { observed, wanted, images, runtime } = this.state
    return observed.members.every((member) => {
      const own = wantedOf(wanted, member.service)
      const id = own.image === undefined ? undefined : images.get(own.image)?.id
      return (
        isRunning(member) &&
        member.containers.every(({ imageId }) => id === undefined || imageId === id) &&
        isEnvThere(member, runtime.seen, own)
      )
    })
  }
}

/** The command after a roll: the new version serves already, so its failure is told, and undoes nothing. */
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
