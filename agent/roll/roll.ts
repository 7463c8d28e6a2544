// A roll from its request to its final event: preflight, the plan's steps, and on any failure the way back. Never throws.

import type { DeployEvent } from '../../shared/events.ts'
import { planUndo, shortImage, type Step } from '../../shared/plan.ts'
import { Problem, reportOf, type ProblemReport } from '../../shared/problems.ts'
import type { DeployRequest } from '../../shared/request.ts'
import type { StackConfig } from '../config/config.ts'
import type { Container, Ports } from '../ports.ts'
import { beginRoll, containersOf, type RollState } from './context.ts'
import { isEnvThere, preflight } from './preflight.ts'
import { recordOf, resumeRoll } from './record.ts'
import { faultOf } from './steps/await-healthy.ts'
import { restoreTag } from './steps/update.ts'
import { runSteps, within } from './run-steps.ts'

/** Preflight asks docker, compose and nginx a few questions; one that takes this long hangs. */
const PREFLIGHT_MS_MAX = 60_000
/** The way back is bounded as a whole, above the deadlines of its steps: a host that takes longer needs a person. */
const UNDO_MS_MAX = 60 * 60_000

export interface RollContext {
  emit(event: DeployEvent): void
  /** Keeps, durably, what `recover` needs should this process die. */
  remember(record: string): void
  /** Aborting it with a Problem ends the roll: what was done is undone, and the deploy fails with that Problem. */
  readonly signal: AbortSignal
}

export async function roll(
  stack: StackConfig,
  request: DeployRequest,
  ports: Ports,
  context: RollContext,
): Promise<void> {
  const { emit, signal } = context
  const startedAt = ports.clock.now()
  const ms = () => ports.clock.now() - startedAt
  emit({ type: 'started' })
  let state: RollState
  let steps: readonly Step[]
  try {
    const found = await within(ports.clock, PREFLIGHT_MS_MAX, 'preflight', signal, (inTime) =>
      preflight(stack, request, ports, inTime),
    )
    for (const problem of found.warnings) emit({ type: 'warning', problem })
    state = beginRoll(stack, found, ports)
    steps = found.plan.steps
    emit({ type: 'planned', plan: found.plan })
  } catch (error) {
    emit({ type: 'failed', ms: ms(), problem: reportOf(error) })
    return
  }

  const begun: Step[] = []
  try {
    await runPlan(steps, state, begun, context)
    emit({
      type: 'succeeded',
      ms: ms(),
      changed: begun.some(({ kind }) => kind === 'update'),
      services: await running(state),
    })
  } catch (error) {
    await undo(state, begun, steps.length, reportOf(error), ms, context)
  }
}

// A pull shows what the tag means now. If that is what runs already, nothing else is touched.
async function runPlan(
  steps: readonly Step[],
  state: RollState,
  begun: Step[],
  context: RollContext,
): Promise<void> {
  const { emit, signal } = context
  const pulls = steps.filter(({ kind }) => kind === 'pull')
  await runSteps(pulls, state, begun, { from: 0, emit, signal })
  if (pulls.length > 0 && isAlreadyRunning(state)) return
  const onBegin = () => context.remember(recordOf(state, begun, steps.length))
  await runSteps(steps.slice(pulls.length), state, begun, { from: pulls.length, emit, signal, onBegin })
}

function isAlreadyRunning(state: RollState): boolean {
  const { model, instances } = state.observed
  return instances.every(
    (instance) =>
      instance.containers.every(({ imageId }) => imageId === state.image?.id) &&
      isEnvThere(instance, model, state.request),
  )
}

async function undo(
  state: RollState,
  begun: readonly Step[],
  told: number,
  problem: ProblemReport,
  ms: () => number,
  { emit, remember }: RollContext,
  left?: readonly Step[],
): Promise<void> {
  try {
    // The way back heeds no cancel: it ends, or it is stuck.
    await within(state.ports.clock, UNDO_MS_MAX, 'the way back', undefined, async (signal) => {
      const dead = await deadServices(state, signal)
      const steps = deadFirst(left ?? planUndo(begun), dead)
      emit({ type: 'undoing', steps })
      const onBegin = ({ length }: readonly Step[]) =>
        remember(recordOf(state, begun, told + steps.length, leftFrom(steps, length - 1)))
      await runSteps(steps, state, [], { from: told, emit, signal, onBegin })
      // The pull alone may have moved a name: a `docker compose up` by hand must find what ran before.
      if (state.image) for (const service of state.order) await restoreTag(state, service, signal)
    })
    emit({ type: 'failed', ms: ms(), problem })
  } catch (error) {
    emit({ type: 'stuck', ms: ms(), problem, undo: reportOf(error) })
  }
}

// A drain needs to know which workers its reload retired, so whoever resumes at a drain reloads once more.
function leftFrom(steps: readonly Step[], index: number): readonly Step[] {
  return steps.slice(index > 0 && steps[index]?.kind === 'drain' ? index - 1 : index)
}

// All of them at once, before anything looks at how they are: a switch, and a wait for another service, refuse while one is dead.
function deadFirst(steps: readonly Step[], dead: readonly string[]): Step[] {
  const isFirst = (kind: Step['kind']) => (step: Step) =>
    step.kind === kind && 'service' in step && dead.includes(step.service)
  const first = [...steps.filter(isFirst('update')), ...steps.filter(isFirst('await-healthy'))]
  return [...first, ...steps.filter((step) => !first.includes(step))]
}

// Stopped; or made by this roll and restarting, so that nginx finds its name only now and then; or sick by its own healthcheck.
async function deadServices(state: RollState, signal: AbortSignal): Promise<string[]> {
  const { ports, order, observed } = state
  const containers = await ports.engine.containers(observed.model.project, signal, order)
  const isUp = (one: Container) => faultOf(state, one) === undefined
  return order.filter((service) => !containers.some((one) => one.service === service && isUp(one)))
}

/**
 * After a crash: takes the stack back to what it was before the roll whose record this is. Every step is safe to repeat, so it does
 * not matter how far the last one had come.
 */
export async function recover(
  stack: StackConfig,
  record: string | undefined,
  ports: Ports,
  context: RollContext,
): Promise<void> {
  const startedAt = ports.clock.now()
  const ms = () => ports.clock.now() - startedAt
  const problem = new Problem('interrupted', 'the agent stopped during the roll').toJSON()
  const { emit, signal } = context
  if (record === undefined) {
    emit({ type: 'failed', ms: 0, problem })
    return
  }
  try {
    const { state, begun, told, left } = await within(
      ports.clock,
      PREFLIGHT_MS_MAX,
      'recovery',
      signal,
      (inTime) => resumeRoll(stack, record, ports, inTime),
    )
    await undo(state, begun, told, problem, ms, context, left)
  } catch (error) {
    emit({ type: 'stuck', ms: ms(), problem, undo: reportOf(error) })
  }
}

async function running(state: RollState): Promise<Record<string, string>> {
  return await within(
    state.ports.clock,
    PREFLIGHT_MS_MAX,
    'a look at what runs',
    undefined,
    async (signal) => {
      const entries = state.order.map(async (service) => {
        const [container] = await containersOf(state, service, signal)
        return [service, shortImage(container?.image ?? '')] as const
      })
      return Object.fromEntries(await Promise.all(entries))
    },
  )
}
