// What a deploy may come to, by what was asked for and what happened meanwhile: the allowed ends, and what must be true at each.

import type { ProblemCode } from '../../../shared/problems.ts'
import { isRollback, type AnyRequest, type DeployRequest } from '../../../shared/request.ts'
import type { Release } from '../../../agent/roll/releases/release.ts'
import type { FakeWorld } from '../fake-world.ts'
import type { FakeDeploy } from './deploy.ts'
import { versionOf } from './moments.ts'

type Versions = Readonly<Record<string, string>>

export interface Expectation {
  /** Undefined where chance decides. `failed`: by its code. */
  readonly end: 'succeeded' | ProblemCode | undefined
  /** What each service runs after success: the image's possible IDs, and the message. */
  readonly wanted: Readonly<Record<string, { ids: readonly string[]; message: string | null }>> | undefined
  /** How many commands were run by then. */
  readonly commandsBefore: number
  readonly versionsBefore: Versions
  readonly containersBefore: string
  readonly textsBefore: Readonly<Record<string, string>>
}

export function expectationOf(world: FakeWorld, request: AnyRequest, isAutomatic: boolean): Expectation {
  const { files, stack, proxyPath } = world
  const wanted = wantedVersion(world, request)
  return {
    end:
      world.stuck.read() && isAutomatic
        ? 'stack-locked'
        : typeof wanted === 'string'
          ? wanted
          : endOf(world, request, wanted),
    wanted: typeof wanted === 'string' ? undefined : wanted,
    commandsBefore: world.compose.commands.length,
    versionsBefore: versionsOf(world),
    containersBefore: containersOf(world),
    textsBefore: Object.fromEntries([proxyPath, ...stack.compose].map((path) => [path, files.text(path)])),
  }
}

/** How images end up, by their tag. */
const BAD = /:(exits|sick|flaps|hangs|never-listens)$/
const DOUBTFUL = /:(crashes|restarts)$/

function endOf(world: FakeWorld, request: AnyRequest, wanted: Expectation['wanted']): Expectation['end'] {
  if (world.stuck.read()) return undefined
  if (isRollback(request)) return 'succeeded'
  if (world.stack.before?.command[0] === 'false')
    return isThere(world, wanted) ? (request.force ? 'command-failed' : undefined) : 'command-failed'
  if (request.image !== undefined && DOUBTFUL.test(request.image)) return undefined
  if (request.image !== undefined && BAD.test(request.image))
    return request.image.endsWith('exits') ? 'container-exited' : 'container-unhealthy'
  return 'succeeded'
}

// As far as can be said without a pull.
function isThere(world: FakeWorld, wanted: Expectation['wanted']): boolean {
  return Object.entries(wanted ?? {}).every(([service, { ids, message }]) =>
    world.containers
      .ofService(service)
      .every((one) => ids.includes(one.imageId) && one.env['MESSAGE'] === message),
  )
}

function wantedVersion(world: FakeWorld, request: AnyRequest): Expectation['wanted'] | ProblemCode {
  if (isRollback(request)) {
    const release = releaseOf(world.releases.list(), request.release)
    if (!release) return 'release-unknown'
    return Object.fromEntries(
      Object.entries(release.services).map(([service, { imageId, env }]) => [
        service,
        { ids: [imageId], message: env['MESSAGE'] ?? null },
      ]),
    )
  }
  const builtAt = Date.parse(request.builtAt ?? '')
  if (world.releases.list().some((release) => (release.builtAt ?? -Infinity) > builtAt))
    return 'request-outdated'
  return byRequest(world, request)
}

function releaseOf(releases: readonly Release[], wanted: number | 'previous'): Release | undefined {
  if (wanted !== 'previous') return releases.find(({ number }) => number === wanted)
  const newest = releases.at(-1)
  return releases.findLast(({ number }) => newest !== undefined && number < newest.of)
}

function byRequest(world: FakeWorld, { image, env }: DeployRequest): Expectation['wanted'] | ProblemCode {
  const ids = image === undefined ? undefined : world.images.idsOf(image)
  if (ids?.length === 0) return 'image-not-found'
  const isToday = ids === undefined && env === undefined
  return Object.fromEntries(
    world.instances.map((service) => {
      const [one] = world.containers.ofService(service)
      const message = env?.['MESSAGE']?.replaceAll('{service}', service) ?? one?.env['MESSAGE'] ?? null
      // Today's tag again may mean another image by now.
      const today = isToday ? world.images.idsOf((one?.imageName ?? '').replace(/@.*/, '')) : []
      return [service, { ids: ids ?? [...(one ? [one.imageId] : []), ...today], message }]
    }),
  )
}

/** What is wrong with how a deploy has ended; nothing in the best case. */
export function judgeEnd(world: FakeWorld, deploy: FakeDeploy, expected: Expectation): string[] {
  const { people } = world
  const met = deploy.lives.flatMap((life, index) =>
    life.met.map((one) => ({ ...one, isBack: one.isBack || index > 0 })),
  )
  const isDisturbed = people.deeds > 0
  const isQuiet = met.length === 0 && !isDisturbed
  const { end } = deploy
  const wrong: string[] = []
  const fail = (text: string) => void wrong.push(text)
  if (!end) return ['there is no end']

  const code = end.type === 'failed' ? end.problem.code : end.type
  const isShort = code === 'deadline' && world.stack.deadlineMs < 60_000
  if (isQuiet && expected.end !== undefined && code !== expected.end && !isShort)
    fail(`nothing went wrong, and it ends ${code} instead of ${expected.end}`)
  if (end.type === 'failed' && end.problem.code === 'internal') fail('it ends by a bug')
  if (end.type === 'cancelled' && !met.some(({ fault }) => fault.kind === 'cancel'))
    fail('nobody has cancelled it')

  if (end.type === 'stuck') {
    const isHurt = met.some(({ fault, isBack }) => isBack && !/crash|cancel/.test(fault.kind))
    const wasLocked = expected.end === undefined
    if (!isDisturbed && !isHurt && !wasLocked) fail('it is stuck by nobody’s doing')
    if (end.undo.code === 'internal') fail('it is stuck by a bug')
    return wrong
  }
  judgeCommands(world, deploy, expected, fail)
  if (end.type === 'succeeded') judgeSuccess(world, deploy, expected, fail)
  else judgeUndone(world, expected, fail)
  const isEdited = people.edited.has(world.proxyPath)
  return [...wrong, ...world.inconsistencies(people.touched, isEdited)]
}

// One that was begun may have done its work: it does not run again unless that is said.
function judgeCommands(
  world: FakeWorld,
  { events }: FakeDeploy,
  { commandsBefore }: Expectation,
  fail: (text: string) => void,
): void {
  const isSaid = events.some(
    ({ type, ...event }) =>
      type === 'warning' && 'problem' in event && event.problem.code === 'command-retried',
  )
  const ran = world.compose.commands.slice(commandsBefore).map(({ command }) => command[0])
  for (const word of ['migrate', 'warm-up'])
    if (ran.filter((one) => one === word).length > 1 && !isSaid)
      fail(`${word} has run twice, and nobody says so`)
}

function judgeSuccess(
  world: FakeWorld,
  { end, lives }: FakeDeploy,
  { wanted, end: expectedEnd, containersBefore }: Expectation,
  fail: (text: string) => void,
): void {
  if (end?.type !== 'succeeded') return
  if (expectedEnd !== undefined && expectedEnd !== 'succeeded') fail(`it succeeds although ${expectedEnd}`)
  for (const [service, { ids, message }] of Object.entries(wanted ?? {}))
    for (const { imageId, env } of world.containers.ofService(service)) {
      if (!ids.includes(imageId) && !world.people.pushed.has(imageId))
        fail(`${service} runs another image than the wanted one`)
      if (message !== null && env['MESSAGE'] !== message)
        fail(`${service} runs with ${env['MESSAGE']} instead of ${message}`)
    }
  if (!end.changed && world.people.touched.size === 0 && containersOf(world) !== containersBefore)
    fail('it says that nothing was changed')
  const isRecordHurt = lives.some(({ met }) => met.some(({ fault }) => !/crash|cancel/.test(fault.kind)))
  const newest = world.releases.list().at(-1)
  if (end.changed && !isRecordHurt && (end.release === undefined || end.release !== newest?.number))
    fail(`it says that it is release ${end.release}, the newest is ${newest?.number}`)
  if (end.changed && end.release !== undefined)
    for (const [service, { imageId, env }] of Object.entries(newest?.services ?? {})) {
      const running = world.containers.ofService(service).map(versionOf)
      if (!running.includes(`${imageId} ${env['MESSAGE']}`))
        fail(`the release says that ${service} runs another version`)
    }
}

function judgeUndone(world: FakeWorld, { versionsBefore }: Expectation, fail: (text: string) => void): void {
  const now = versionsOf(world)
  for (const [service, version] of Object.entries(versionsBefore))
    if (now[service] !== version && !world.people.touched.has(service))
      fail(`${service} runs ${now[service]} after all was undone, not ${version}`)
  for (const path of world.stack.compose)
    if (world.files.text(path) !== world.moments.own(path))
      fail(`${path} is not as it was after all was undone`)
}

/** What is not true of the damage that a deploy ended with, at that very moment. */
export function wrongDamage(
  world: FakeWorld,
  { end, lives }: FakeDeploy,
  { textsBefore }: Expectation,
): string[] {
  if (end?.type !== 'stuck' || !end.damage) return []
  const { serving, notServing, files, repair } = end.damage
  const generation = world.nginx.newest()
  const wrong: string[] = []
  const isBlind = lives.some(({ met }) => met.some(({ call }) => call.method === 'files.read'))
  for (const service of serving) {
    const answers = world.containers.ofService(service).some(({ isListening }) => isListening)
    const isIn = generation.servers.some(({ host, isDown }) => host === service && !isDown)
    if (!answers || !isIn) wrong.push(`it says that ${service} serves`)
  }
  const told = [...serving, ...notServing.map(({ service }) => service)]
  if (told.toSorted().join() !== [...world.instances].toSorted().join())
    wrong.push(`it says something of ${told.join()} only`)
  for (const { path, state } of files) {
    const isAsBefore = world.files.text(path) === textsBefore[path]
    const isTrue = state === 'unreadable' ? isBlind : (state === 'as-before') === isAsBefore
    if (!isTrue && !world.people.edited.has(path)) wrong.push(`it says that ${path} is ${state}`)
  }
  if (repair.length === 0) wrong.push('it says nothing about how to repair it')
  return wrong
}

function versionsOf(world: FakeWorld): Versions {
  return Object.fromEntries(
    world.instances.map((service) => [
      service,
      world.containers.ofService(service).map(versionOf).join(' + '),
    ]),
  )
}

function containersOf(world: FakeWorld): string {
  return world.instances.flatMap((service) => world.containers.ofService(service).map(({ id }) => id)).join()
}
