// After a crash: what becomes of a roll that was interrupted. The world decides, not the note of how far it had come: it begins again where
// nothing was touched, is finished where every instance runs the new version, and is undone otherwise.

import { AS_WRITTEN, describeStep, type Step } from '../../shared/plan.ts'
import { Problem, reportOf, type ProblemReport } from '../../shared/problems.ts'
import type { AnyRequest } from '../../shared/request.ts'
import type { StackConfig } from '../config/config.ts'
import type { Container } from '../ports.ts'
import type { Ports } from './ports.ts'
import type { RollState } from './context.ts'
import { restoreNames } from './image-name.ts'
import { Course, type CourseOptions } from './course.ts'
import { endedBy, endStuck, endSucceeded, endUndone, endUnknown } from './ending.ts'
import {
  begunSteps,
  readRecord,
  resumeRoll,
  writeRecord,
  type Progress,
  type RollRecord,
  type Changed,
} from './record.ts'
import { PREFLIGHT_MS_MAX, rollLocked, runAfter } from './roll.ts'
import type { RollContext } from './roll-context.ts'
import { within } from './run-steps.ts'
import { handlerOf } from './steps/index.ts'
import { checkVersion } from './steps/update.ts'
import { strategyOf } from './strategies/index.ts'
import { waitForEngine, revive } from './undo.ts'
import { findFaults } from './stuck/consistency.ts'

/** How often a roll is begun if it is interrupted before anything is touched. One that ends its agent each time must not be tried for ever. */
const ATTEMPTS_MAX = 2
/** How long another agent's roll of the same stack is waited for: as long as one may reasonably take. */
const LOCK_MS_MAX = 60 * 60_000
const LOCK_POLL_MS = 1_000

export async function recover(
  stack: StackConfig,
  request: AnyRequest,
  text: string | undefined,
  ports: Ports,
  context: RollContext,
): Promise<void> {
  const { clock } = ports
  const startedAt = clock.elapsed()
  try {
    const lock = await waitForLock(stack, ports, context)
    try {
      await recoverLocked(stack, request, text, ports, { context, startedAt })
    } finally {
      await lock.release()
    }
  } catch (error) {
    const record = text ?? writeRecord({ attempt: 0 })
    const [at, ms] = [clock.now(), clock.elapsed() - startedAt]
    endUnknown(context, { record, problem: INTERRUPTED, fault: reportOf(error), at, ms })
  }
}

const INTERRUPTED = new Problem('interrupted', 'the agent stopped during the roll').toJSON()

async function waitForLock(stack: StackConfig, { locks, clock }: Ports, { deploy }: RollContext) {
  return await within(clock, LOCK_MS_MAX, 'the wait for the stack’s lock', undefined, async (signal) => {
    for (;;) {
      try {
        return await locks.take(stack, `recovery of deploy ${deploy.id}`)
      } catch (error) {
        if (reportOf(error).code !== 'stack-busy') throw error
        signal.throwIfAborted()
      }
      await clock.sleep(LOCK_POLL_MS, signal)
    }
  })
}

// Throws what leaves the state of the stack unknown.
async function recoverLocked(
  stack: StackConfig,
  request: AnyRequest,
  text: string | undefined,
  ports: Ports,
  options: Omit<CourseOptions, 'attempt'>,
): Promise<void> {
  const { clock } = ports
  const { context } = options
  const record = text === undefined ? { attempt: 0 } : readRecord(text)
  const { progress, attempt } = record
  await within(clock, PREFLIGHT_MS_MAX, 'the end of what was left running', undefined, (signal) =>
    ports.runtimes.endOrphans(stack, signal),
  )
  if (!progress || isUntouched(progress)) return await again(stack, request, record, ports, options)
  const never = new AbortController().signal
  await waitForEngine(ports.engine, clock, never)
  const { state, changed } = await within(clock, PREFLIGHT_MS_MAX, 'recovery', undefined, (signal) =>
    resumeRoll(context.deploy.id, stack, progress, ports, signal),
  )
  await state.runtime.tidy()
  await state.proxy.tidy()
  const course = new Course(state, progress, { attempt, ...options })
  if (changed) return await leaveAlone(course, changed)
  if (!progress.undoing && (await isComplete(course))) return await forward(course)
  context.emit({ type: 'recovering', way: 'back' })
  await endUndone(course, progress.undoing?.problem ?? INTERRUPTED)
}

/** Whether nothing was begun that would have to be undone. */
function isUntouched(progress: Progress): boolean {
  return !progress.undoing && begunSteps(progress).every(({ kind }) => handlerOf(kind).undone !== 'by-plan')
}

async function again(
  stack: StackConfig,
  request: AnyRequest,
  { attempt, about, progress }: RollRecord,
  ports: Ports,
  { context, startedAt }: Omit<CourseOptions, 'attempt'>,
): Promise<void> {
  const end = async (problem: ProblemReport) => {
    if (about) await restoreNamesOf(about, ports, context)
    context.emit(endedBy(problem, ports.clock.elapsed() - startedAt))
  }
  const begun = progress ? begunSteps(progress) : []
  const command = begun.at(-1)?.kind === 'command' ? progress : undefined
  const isBeforeDone = command?.isLastDone === true
  const isUnknown = command !== undefined && !isBeforeDone
  const onRetry = stack.before?.onRetry ?? 'fail'
  if (attempt + 1 >= ATTEMPTS_MAX)
    return await end({ ...INTERRUPTED, message: 'the agent stopped during the roll, again' })
  if (isUnknown && onRetry === 'fail')
    return await end({
      ...INTERRUPTED,
      message: 'the agent stopped while the command before the roll ran: nobody knows how far it came',
      cure: `see what it has done, then deploy again; \`before.on_retry\` of stack ${stack.name} may say run or skip`,
    })
  context.emit({ type: 'recovering', way: 'again' })
  if (command)
    context.emit({
      type: 'warning',
      problem: { code: 'command-retried', message: retryWords('before', isUnknown, onRetry) },
    })
  try {
    await rollLocked(stack, request, ports, context, {
      startedAt,
      attempt: attempt + 1,
      isBeforeDone: isBeforeDone || (isUnknown && onRetry === 'skip'),
    })
  } catch (error) {
    await end(reportOf(error))
  }
}

// The names alone may have moved, by a pull. That they could not be restored is told: nothing runs otherwise than before.
async function restoreNamesOf(
  { observed, order, steps }: NonNullable<RollRecord['about']>,
  { engine, clock }: Ports,
  { emit }: RollContext,
): Promise<void> {
  if (!steps.some(({ kind }) => kind === 'pull')) return
  try {
    await within(clock, PREFLIGHT_MS_MAX, 'the names of the images', undefined, (signal) =>
      restoreNames(engine, observed, order, signal),
    )
  } catch (error) {
    const message = `what the images are called may have changed by the pull: ${reportOf(error).message}`
    emit({ type: 'warning', problem: { code: 'image-moved', message } })
  }
}

function retryWords(when: 'before' | 'after', isUnknown: boolean, onRetry: 'run' | 'skip' | 'fail'): string {
  const command = `the command ${when} the roll`
  if (!isUnknown) return `${command} has run already, and does not run again`
  const was = `the agent stopped while ${command} ran: nobody knows how far it came`
  return onRetry === 'run' ? `${was}, and it runs once more` : `${was}, and it does not run again`
}

// Somebody has repaired the stack, or is about to. A stack that is whole is left as it is; any other ends stuck, for a person to go on.
async function leaveAlone(course: Course, changed: Changed): Promise<void> {
  const { state, record, progress } = course
  const { stack, ports } = state
  const problem = progress.undoing?.problem ?? INTERRUPTED
  try {
    // No container was touched yet, and nobody else wrote the proxy's file: so what the roll has written there is taken back, whoever edited the stack's.
    const isTouched =
      progress.undoing !== undefined || begunSteps(progress).some(({ kind }) => kind === 'update')
    if (!changed.proxy && !isTouched) await reloadNow(state)
    const wrong = await within(ports.clock, PREFLIGHT_MS_MAX, 'a look at the stack', undefined, (signal) =>
      findFaults(stack, ports, signal, record),
    )
    if (wrong.length > 0 || (await runsNew(course))) throw changed.proxy ?? changed.runtime
    // The proxy may not have loaded its file since that was put back. Where somebody else wrote the file, the reload was theirs to do.
    if (state.proxy.isAsWritten) await reloadNow(state)
  } catch (fault) {
    return await endStuck(course, problem, reportOf(fault))
  }
  const message = `${problem.message}; somebody has set the stack right since, and it was left as it is`
  course.context.emit(endedBy({ ...problem, message }, course.ms))
}

async function reloadNow(state: RollState): Promise<void> {
  const step = { kind: 'switch', route: AS_WRITTEN } as const
  const { deadlineMs, do: reload } = handlerOf(step.kind)
  await within(state.ports.clock, deadlineMs(step, state), describeStep(step), undefined, async (signal) => {
    await reload(step, { roll: state, report: () => {}, signal })
  })
}

// Judged by the files and by what runs. Where containers are recreated although they run the wanted version already, only the note tells.
async function isComplete({ state, progress }: Course): Promise<boolean> {
  const { ports, runtime, order } = state
  const updates = progress.steps.filter((step) => step.kind === 'update')
  const begun = begunSteps(progress).filter((step) => step.kind === 'update')
  if (updates.length === 0 || (updates.some(({ force }) => force) && begun.length < updates.length))
    return false
  if (!runtime.isAllDefined) return false
  const [containers] = await within(
    ports.clock,
    PREFLIGHT_MS_MAX,
    'a look at what runs',
    undefined,
    (signal) =>
      Promise.all([ports.engine.containers(runtime.seen.project, signal, order), runtime.look(signal)]),
  )
  return updates.every(({ service, to }) => {
    const own = containers.filter((one) => one.service === service)
    // A container that ran the wanted version before the roll may not have been recreated by the new text yet.
    const isMade = own.length > 0 && runtime.areAsDefined(service, own)
    return isMade && own.every((one) => runs(state, one, to))
  })
}

// Whether an instance runs what the roll has brought, and that is not what it ran before.
async function runsNew({ state, progress: { steps } }: Course): Promise<boolean> {
  const { ports, runtime, order } = state
  const containers = await within(ports.clock, PREFLIGHT_MS_MAX, 'a look at what runs', undefined, (signal) =>
    ports.engine.containers(runtime.seen.project, signal, order),
  )
  return steps.some(
    (step) =>
      step.kind === 'update' &&
      containers.some(
        (one) =>
          one.service === step.service && runs(state, one, step.to) && !runs(state, one, step.from, true),
      ),
  )
}

function runs(
  state: RollState,
  container: Container,
  version: Extract<Step, { kind: 'update' }>['to'],
  isFormer = false,
): boolean {
  try {
    checkVersion(state, container, version, isFormer)
    return true
  } catch {
    return false
  }
}

async function forward(course: Course): Promise<void> {
  const { state, context, progress } = course
  const { emit, signal } = context
  const { clock } = state.ports
  const { facts, order, proxy, runtime } = state
  emit({ type: 'recovering', way: 'forward' })
  // Every service is updated. The runtime is told so, since its files do not always show it.
  await runtime.define(new Set(order))
  const standing = { updated: new Set(order), out: proxy.out, isLoaded: proxy.isLoaded, dead: [] }
  const steps = strategyOf(facts).plan(facts, standing, 'wanted')
  const after = afterOf(progress, state.stack, context)
  const from = course.announce([...steps, ...after])
  emit({ type: 'resuming', steps: [...steps, ...after], from })
  await within(clock, state.stack.deadlineMs, 'the roll', undefined, async (deadline) => {
    try {
      course.keep({})
      await within(clock, PREFLIGHT_MS_MAX, 'the start of what was stopped', undefined, (inTime) =>
        revive(state, 'forward', inTime),
      )
      await course.run(steps, from, { signal, deadline })
    } catch (error) {
      return await endUndone(course, reportOf(error))
    }
    const run = () =>
      course.run(after, from + steps.length, { signal, deadline }, (_count, isLastDone) =>
        course.keep({ begun: progress.steps.length, isLastDone }),
      )
    await runAfter(after, run, context)
    await endSucceeded(course, true)
  })
}

function afterOf(progress: Progress, { after }: StackConfig, { emit }: RollContext): Step[] {
  const steps = progress.steps.filter((step) => step.kind === 'command' && step.when === 'after')
  const isBegun = begunSteps(progress).some((step) => step.kind === 'command' && step.when === 'after')
  if (!isBegun) return steps
  const onRetry = after?.onRetry ?? 'fail'
  const isUnknown = !progress.isLastDone
  emit({
    type: 'warning',
    problem: { code: 'command-retried', message: retryWords('after', isUnknown, onRetry) },
  })
  return isUnknown && onRetry === 'run' ? steps : []
}
