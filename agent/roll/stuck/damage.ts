// What a person finds where even the way back failed: who serves, which files differ, and the commands that would repair it.

import type { Damage } from '../../../shared/events.ts'
import { reportOf } from '../../../shared/problems.ts'
import type { Container } from '../../ports.ts'
import { goneBefore, remotesOf, type RollState } from '../context.ts'
import type { WrittenState } from '../proxy.ts'
import { quoted } from '../quoted.ts'
import { within } from '../run-steps.ts'
import { faultOf, probeAll } from '../steps/await-healthy.ts'
import { strategyOf } from '../strategies/index.ts'
import type { StuckNotes } from './note.ts'
import type { Texts } from '../runtime.ts'

/** The limit of a look at the services: a person waits for what it finds. */
const LOOK_MS_MAX = 30_000

export async function damageOf(state: RollState, stuck: StuckNotes): Promise<Damage> {
  const written = await filesOf(state)
  const files = written.map(({ path, state: is }) => ({ path, state: is }))
  const look = async (signal: AbortSignal) => await lookAtServices(state, written, signal)
  const services = await within(state.ports.clock, LOOK_MS_MAX, 'a look at the stack', undefined, look).catch(
    (error: unknown) =>
      state.order.map((service) => ({ service, why: reportOf(error).message, isAsBefore: false })),
  )
  const serving = services.filter(({ why }) => why === undefined).map(({ service }) => service)
  const notServing = services.flatMap(({ service, why }) => (why === undefined ? [] : [{ service, why }]))
  return {
    serving,
    notServing,
    files,
    repair: repairOf(
      state,
      written,
      services.filter(({ isAsBefore }) => !isAsBefore).map(({ service }) => service),
      stuck,
    ),
  }
}

async function lookAtServices(
  state: RollState,
  files: readonly WrittenState[],
  signal: AbortSignal,
): Promise<{ service: string; why: string | undefined; isAsBefore: boolean }[]> {
  const all = await state.ports.engine.containers(state.runtime.seen.project, signal)
  const { proxy } = state
  const isProxyUp = all.some(({ service, state: is }) => proxy.services.includes(service) && is === 'running')
  proxy.look(all)
  // The text that the proxy has loaded decides, not its file. Where that text is not known, it is in doubt who serves.
  const inDoubt = proxy.isLoaded ? undefined : 'it answers, but it is not known whether nginx has it in'
  const areFilesAsBefore = files.every((file) => file.state === 'as-before')
  return await Promise.all(
    state.observed.members.map(async ({ service, isLive, containers: before }) => {
      const now = all.filter((one) => one.service === service)
      const isAsBefore =
        areFilesAsBefore &&
        now.length > 0 &&
        now.every((one) => before.some(({ id }) => id === one.id) || isSame(one, before))
      const why = !isProxyUp
        ? 'nginx does not run'
        : !isLive
          ? 'it was down before the roll'
          : proxy.out.has(service)
            ? 'nginx has it down'
            : ((await whyNot(state, service, now, signal)) ?? inDoubt)
      return { service, why, isAsBefore }
    }),
  )
}

function isSame(one: Container, before: readonly Container[]): boolean {
  return before.some(({ imageId, configHash }) => imageId === one.imageId && configHash === one.configHash)
}

async function whyNot(
  state: RollState,
  service: string,
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<string | undefined> {
  if (containers.length === 0) return 'it has no container'
  const faulty = containers.find((one) => faultOf(state, one) !== undefined)
  if (faulty) return `${faulty.name} is ${faulty.state === 'running' ? 'sick' : faulty.state}`
  if (remotesOf(state, service, containers).length === 0) return 'nginx shares no network with it'
  return await probeAll(state, service, containers, signal)
}

async function filesOf(state: RollState): Promise<WrittenState[]> {
  const { proxy, runtime, facts } = state
  const [ofRuntime, ofProxy] = await Promise.all([
    runtime.files(),
    proxy.files(strategyOf(facts).routes(facts), goneBefore(state.gates)),
  ])
  return [...ofRuntime, ...ofProxy]
}

// The commands in an order that loses no more requests: files, then containers, then the proxy, which needs the containers' names.
function repairOf(
  { stack, proxy, runtime }: RollState,
  files: readonly WrittenState[],
  services: readonly string[],
  stuck: StuckNotes,
): string[] {
  const differing = files.filter(({ state }) => state !== 'as-before')
  const copies = keep(stuck, Object.fromEntries(differing.map(({ path, before }) => [path, before])))
  const putBack = differing.map(({ path, state }) => {
    const copy = copies?.[path]
    if (copy === undefined) return `# put ${path} back as it was before the roll`
    if (state === 'changed')
      return `diff ${quoted(copy)} ${quoted(path)} # somebody changed it: bring the two together`
    // Written into the file that is there, since a container may have that very file mounted.
    return `cat ${quoted(copy)} > ${quoted(path)}`
  })
  return [
    ...putBack,
    ...(services.length === 0 ? [] : [runtime.repair(services)]),
    proxy.repair,
    `ropeway resolve ${stack.name}`,
  ]
}

function keep(stuck: StuckNotes, files: Parameters<StuckNotes['keep']>[0]): Texts | undefined {
  try {
    return stuck.keep(files)
  } catch {
    // No copy could be kept, as on a full disk. The commands say what to do without one.
    return undefined
  }
}
