// What a person finds where even the way back failed: who serves, which files differ, and the commands that would repair it.

import type { Damage } from '../../shared/events.ts'
import { reportOf } from '../../shared/problems.ts'
import type { FileTexts } from '../compose/texts.ts'
import { asBytes } from '../nginx/bytes.ts'
import type { Container } from '../ports.ts'
import { composeTexts, missingIn, nginxTextWith, remotesOf, type RollState } from './context.ts'
import { within } from './run-steps.ts'
import { faultOf, probeAll } from './steps/await-healthy.ts'
import type { StuckNotes } from './stuck.ts'

/** Looking must not take longer than a person would wait for what was found. */
const LOOK_MS_MAX = 30_000

type FileState = Damage['files'][number]

export async function damageOf(state: RollState, stuck: StuckNotes): Promise<Damage> {
  const files = await filesOf(state)
  const look = async (signal: AbortSignal) => await lookAtServices(state, files, signal)
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
      files,
      services.filter(({ isAsBefore }) => !isAsBefore).map(({ service }) => service),
      stuck,
    ),
  }
}

async function lookAtServices(
  state: RollState,
  files: readonly FileState[],
  signal: AbortSignal,
): Promise<{ service: string; why: string | undefined; isAsBefore: boolean }[]> {
  const all = await state.ports.engine.containers(state.observed.model.project, signal)
  const proxy = all.find(
    ({ service, state: is }) => service === state.observed.proxy.container.service && is === 'running',
  )
  if (proxy) state.proxy = proxy
  // By what nginx has loaded, not by its file; and of that, nobody but nginx knows.
  const inDoubt = state.isLoaded ? undefined : 'it answers, but it is not known whether nginx has it in'
  const areFilesAsBefore = files.every((file) => file.state === 'as-before')
  return await Promise.all(
    state.observed.instances.map(async ({ service, isLive, containers: before }) => {
      const now = all.filter((one) => one.service === service)
      const isAsBefore =
        areFilesAsBefore &&
        now.length > 0 &&
        now.every((one) => before.some(({ id }) => id === one.id) || isSame(one, before))
      const why = !proxy
        ? 'nginx does not run'
        : !isLive
          ? 'it was down before the roll'
          : state.out.has(service)
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

async function filesOf(state: RollState): Promise<FileState[]> {
  const { file } = state.observed.proxy
  const before: FileTexts = { ...state.observed.composeTexts, [file.hostPath]: file.text }
  const wanted: FileTexts = composeTexts(state, new Set(state.order))
  const halfWay = [
    ...state.order.map((service): FileTexts => ({
      [file.hostPath]: nginxTextWith(state, new Set([service]), missingIn(state)),
    })),
    ...state.order.map((_, count) => composeTexts(state, new Set(state.order.slice(0, count)))),
  ]
  return await Promise.all(
    Object.keys(before).map(async (path): Promise<FileState> => {
      const encoding = path === file.hostPath ? 'bytes' : 'utf-8'
      const text = await state.ports.files.read(path, encoding).catch(() => undefined)
      if (text === undefined) return { path, state: 'unreadable' }
      if (text === before[path]) return { path, state: 'as-before' }
      if (text === wanted[path]) return { path, state: 'as-wanted' }
      return { path, state: halfWay.some((texts) => texts[path] === text) ? 'half-way' : 'changed' }
    }),
  )
}

// In the order that loses nobody more: files, then containers, then nginx, which needs the containers' names.
function repairOf(
  { observed, stack, proxy }: RollState,
  files: readonly FileState[],
  services: readonly string[],
  stuck: StuckNotes,
): string[] {
  const { file } = observed.proxy
  const differing = files.filter(({ state }) => state !== 'as-before').map(({ path }) => path)
  const contentOf = (path: string) =>
    path === file.hostPath ? asBytes(file.text) : (observed.composeTexts[path] ?? '')
  const copies = keep(stuck, Object.fromEntries(differing.map((path) => [path, contentOf(path)])))
  const putBack = files
    .filter(({ path }) => differing.includes(path))
    .map(({ path, state }) => {
      const copy = copies?.[path]
      if (copy === undefined) return `# put ${path} back as it was before the roll`
      if (state === 'changed')
        return `diff ${quoted(copy)} ${quoted(path)} # somebody changed it: bring the two together`
      // Into the file that is there: a container may have it mounted by itself.
      return `cat ${quoted(copy)} > ${quoted(path)}`
    })
  const compose = [
    'docker compose',
    ...stack.compose.map((path) => `-f ${quoted(path)}`),
    ...(stack.project === undefined ? [] : [`-p ${quoted(stack.project)}`]),
  ].join(' ')
  return [
    ...putBack,
    ...(services.length === 0
      ? []
      : [`${compose} up -d --no-deps --pull never ${services.map(quoted).join(' ')}`]),
    `docker exec ${quoted(proxy.name)} sh -c 'nginx -t && nginx -s reload'`,
    `ropeway resolve ${stack.name}`,
  ]
}

function keep(stuck: StuckNotes, files: Parameters<StuckNotes['keep']>[0]): FileTexts | undefined {
  try {
    return stuck.keep(files)
  } catch {
    // As on a full disk: the list says what to do all the same.
    return undefined
  }
}

/** As a shell takes it for one word. */
function quoted(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
