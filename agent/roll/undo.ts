// The way back: what a roll has begun, reversed, through the same steps. It heeds no cancel: it ends with the stack as it was, or stuck.

import type { Step } from '../../shared/plan.ts'
import { reportOf, type ProblemReport } from '../../shared/problems.ts'
import type { Clock, Container, Engine } from '../ports.ts'
import type { Ports } from './ports.ts'
import { memberOf, lookAround, idsOf, missingIn, type RollState } from './context.ts'
import { faultOf } from './steps/await-healthy.ts'
import { restoreNames } from './image-name.ts'
import type { Course } from './course.ts'
import { begunSteps, servicesToUndo } from './record.ts'
import { within } from './run-steps.ts'
import { strategyOf } from './strategies/index.ts'

/** The way back is bounded as a whole, above the deadlines of its steps: a host that takes longer needs a person. */
const UNDO_MS_MAX = 60 * 60_000
/** How long an engine that restarts is waited for: it is back within a minute, with many containers within a few. */
const ENGINE_MS_MAX = 5 * 60_000
const ENGINE_POLL_MS = 500
/** A container that is started leaves the state `created` within this time, or hangs. */
const START_MS_MAX = 30_000
const START_POLL_MS = 100
/** How long the proxy is waited for: Docker waits up to a minute before it restarts a container that has ended again and again. */
const PROXY_MS_MAX = 90_000
/** The limit of a look at the stack: a few questions to the engine, and the wait for the proxy. A look that takes longer hangs. */
const LOOK_MS_MAX = 150_000
/** The longest pause between two tries of the way back: what it waits for takes minutes by then. */
const PAUSE_MS_MAX = 30_000
/** How often the way back may fail for other reasons than an absent engine: the stack may change under it, but not for ever. */
const TRIES_MAX = 7
/** Problems that may be gone a moment later: an engine that shuts down refuses some calls, and somebody may be changing a container. */
const PASSING: readonly string[] = [
  'compose-failed',
  'container-missing',
  'container-changed',
  'nginx-not-running',
]

/**
 * Takes back everything that a roll has done, because of `problem`. It starts from where the world stands. Only the note tells of a service that may
 * be at the wanted version although its files do not say so. Throws a Problem where it cannot be done.
 */
export async function undo(course: Course, problem: ProblemReport): Promise<void> {
  const { state } = course
  const { clock } = state.ports
  await within(clock, UNDO_MS_MAX, 'the way back', undefined, async (signal) => {
    const way = new WayBack(course, problem)
    let tries = 0
    let lostAt: number | undefined
    let pauseMs = ENGINE_POLL_MS
    for (;;) {
      try {
        await way.go(signal)
        // A pull may have moved an image's name, which is moved back: a `docker compose up` by hand must start what ran before.
        if (begunSteps(course.progress).some(({ kind }) => kind === 'pull'))
          await restoreNames(state.ports.engine, state.observed, state.order, signal)
        return
      } catch (error) {
        if (signal.aborted) throw error
        if (await isEngineAway(state.ports, signal, error)) {
          lostAt ??= clock.elapsed()
          if (clock.elapsed() - lostAt > ENGINE_MS_MAX) throw error
        } else {
          tries += 1
          if (tries === TRIES_MAX || !(await way.isWorthAnotherTry(error, signal))) throw error
        }
        // An engine that shuts down answers some calls and refuses others. The pause grows until the engine is gone, or back.
        await clock.sleep(pauseMs, signal)
        pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)
        state.proxy.forget()
      }
    }
  })
}

/** The tries of one way back. */
class WayBack {
  readonly #course: Course
  readonly #problem: ProblemReport
  /** The services that are still to be taken back. One is once it was healthy at its former version: recreated alone, it may not listen yet. */
  #services: readonly string[]
  /** Those of them that are still to be recreated. */
  #updates: readonly string[]
  #hasBegun = false

  constructor(course: Course, problem: ProblemReport) {
    this.#course = course
    this.#problem = problem
    this.#services = servicesToUndo(course.progress)
    this.#updates = this.#services
  }

  /** Plans from where the world stands, and goes. */
  async go(signal: AbortSignal): Promise<void> {
    const { state, context } = this.#course
    const { engine, clock } = state.ports
    this.#hasBegun = false
    await waitForEngine(engine, clock, signal)
    const steps = await within(clock, LOOK_MS_MAX, 'a look at the stack', signal, async (inTime) => {
      await prepare(state, inTime)
      const { facts, proxy, runtime } = state
      const updated = new Set([...this.#services, ...runtime.updated])
      const dead = await deadServices(state, inTime)
      const standing = { updated, out: proxy.out, isLoaded: proxy.isLoaded, dead }
      return strategyOf(facts).plan(facts, standing, 'former')
    })
    this.#hasBegun = true
    const from = this.#course.announce(steps)
    context.emit({ type: 'undoing', steps: [...steps], from })
    await this.#course.run(steps, from, { signal, deadline: signal }, (begun) => {
      const left = steps.slice(begun - 1)
      this.#services = servicesIn(left, ['update', 'await-healthy'])
      this.#updates = servicesIn(left, ['update'])
      this.#course.keepIfPossible({ undoing: { services: [...this.#services], problem: this.#problem } })
    })
  }

  /**
   * Whether another try may succeed: before the first step where the problem may pass; later where a container was replaced, a service that is still
   * to be taken back has died, or the proxy could not run without one.
   */
  async isWorthAnotherTry(error: unknown, signal: AbortSignal): Promise<boolean> {
    const { code } = reportOf(error)
    if (!this.#hasBegun) return ['deadline', ...PASSING].includes(code)
    if (['container-changed', 'nginx-not-running'].includes(code)) return true
    const { state } = this.#course
    const dead = await within(state.ports.clock, LOOK_MS_MAX, 'a look at the stack', signal, (inTime) =>
      deadServices(state, inTime),
    ).catch((): string[] => [])
    return this.#updates.some((service) => dead.includes(service))
  }
}

function servicesIn(steps: readonly Step[], kinds: readonly Step['kind'][]): string[] {
  const found = steps.flatMap((step) =>
    kinds.includes(step.kind) && 'service' in step ? [step.service] : [],
  )
  return [...new Set(found)]
}

/** Waits until the engine answers. Throws `engine-unreachable` when it does not come back. */
export async function waitForEngine(engine: Engine, clock: Clock, signal: AbortSignal): Promise<void> {
  await within(clock, ENGINE_MS_MAX, 'the engine’s return', signal, async (inTime) => {
    for (;;) {
      try {
        return await engine.ping(inTime)
      } catch (error) {
        if (signal.aborted || !isUnreachable(error)) throw error
        if (inTime.aborted) throw error
      }
      await clock.sleep(ENGINE_POLL_MS, inTime)
    }
  })
}

function isUnreachable(error: unknown): boolean {
  return reportOf(error).code === 'engine-unreachable'
}

// A compose call that fails because of the engine says so in its own words only, so the engine is asked.
async function isEngineAway({ engine, clock }: Ports, signal: AbortSignal, error: unknown): Promise<boolean> {
  if (isUnreachable(error)) return true
  const ping = async (inTime: AbortSignal) => await engine.ping(inTime)
  return await within(clock, LOOK_MS_MAX, 'the engine’s answer', signal, ping).then(
    () => false,
    isUnreachable,
  )
}

// Provides what the steps rely on: no container must be a particular one, those of the old version that ran before run again, and the proxy runs.
// Where somebody has replaced a container, the proxy sends requests to its old address until it loads its route anew.
async function prepare(state: RollState, signal: AbortSignal): Promise<void> {
  if (await hasForeignContainer(state, signal)) state.proxy.forget()
  state.known = undefined
  await revive(state, 'back', signal)
}

async function hasForeignContainer(state: RollState, signal: AbortSignal): Promise<boolean> {
  const { known } = state
  if (!known) return false
  const all = await lookAround(state, signal)
  return [...known].some(([service, ids]) => {
    const now = all.filter((one) => one.service === service)
    return !state.proxy.out.has(service) && now.length > 0 && idsOf(now).join() !== ids.join()
  })
}

/**
 * Starts what was stopped since the roll began, as by an engine that was restarted. Members come first, since the proxy needs their names. On the way
 * back, a stopped container that this roll made counts as dead instead, and its update is taken back.
 */
export async function revive(state: RollState, way: 'forward' | 'back', signal: AbortSignal): Promise<void> {
  const { ports, observed, proxy, runtime } = state
  const start = async (containers: readonly Container[]) => {
    const isRunning = containers.some((one) => one.state === 'running')
    const stopped = containers.find((one) => one.state === 'exited' || one.state === 'created')
    if (!isRunning && stopped) await startAndSee(state, stopped, signal)
  }
  const all = await ports.engine.containers(runtime.seen.project, signal)
  const missing = missingIn(state)
  const isWanted = (one: Container) =>
    !missing.has(one.service) &&
    (way === 'forward' ||
      memberOf(state, one.service).containers.some(
        ({ id, state: was }) => id === one.id && was === 'running',
      ) ||
      !runtime.updated.has(one.service))
  for (const { service } of observed.members.toReversed())
    await start(all.filter((one) => one.service === service).filter(isWanted))
  const ofProxy = all.filter(({ service }) => proxy.services.includes(service))
  await start(ofProxy)
  if (ofProxy.length > 0) await proxyUp(state, signal)
}

// Waits for the proxy, which a restarting engine tries to start ever less often. While a member is missing the proxy cannot start at all.
async function proxyUp(state: RollState, signal: AbortSignal): Promise<void> {
  const { clock, engine } = state.ports
  const { proxy, runtime, observed } = state
  const end = clock.elapsed() + PROXY_MS_MAX
  for (;;) {
    const members = await lookAround(state, signal)
    const isMissing = ({ service }: { service: string }) =>
      !members.some((one) => one.service === service && one.state === 'running')
    const found = await engine.containers(runtime.seen.project, signal, proxy.services)
    if (found.some(({ state: is }) => is === 'running') || observed.members.some(isMissing)) return
    if (clock.elapsed() >= end) return
    await clock.sleep(START_POLL_MS, signal)
  }
}

async function startAndSee(state: RollState, { id }: Container, signal: AbortSignal): Promise<void> {
  const { engine, clock } = state.ports
  try {
    await engine.start(id, signal)
  } catch (error) {
    // Somebody has removed the container since it was listed. Its successor is looked at later.
    if (reportOf(error).code === 'container-missing') return
    throw error
  }
  await within(clock, START_MS_MAX, 'a container’s start', signal, async (inTime) => {
    while ((await engine.container(id, inTime))?.state === 'created') await clock.sleep(START_POLL_MS, inTime)
  })
}

// The services without a container that is up: it is stopped, or was made by this roll and restarts (its name resolves now and then) or is unhealthy.
async function deadServices(state: RollState, signal: AbortSignal): Promise<string[]> {
  const containers = await lookAround(state, signal)
  const isUp = (one: Container) => faultOf(state, one) === undefined
  return state.order.filter((service) => !containers.some((one) => one.service === service && isUp(one)))
}
