// The rehearsal of the gates: every question that the roll will ask is asked of what runs now, before anything moves.

import { Problem } from '../../../shared/problems.ts'
import type { Container, Remote } from '../../ports.ts'
import { addressesFrom } from '../observe.ts'
import type { Ports } from '../ports.ts'
import type { Proxy } from '../proxy.ts'
import type { Answer, Asker, From } from './ask.ts'
import { candidatesOf, choose } from './choose.ts'
import { judge, type Asked, type Heard, type Running, type Seen } from './members.ts'
import { isLoopback, type Door } from './door.ts'
import {
  askerFrom,
  askProbe,
  askThrough,
  GATEWAY_ERRORS,
  remotesAt,
  type Before,
  type Gates,
  type HttpProbe,
  type OpenDoor,
} from './gates.ts'

/** What is asked, and who asks. */
export interface Scene extends Seen {
  readonly proxy: Proxy
  readonly ports: Ports
}

/** How often a door is asked, to see whether a rate limit delays it or answers in the app's stead, by default with 503. */
const DOOR_ASKS = 3

/** How often a bad answer is asked for before its member counts as sick: an app that is busy may answer badly for a moment. */
const ASKS_MAX = 3

const ASK_AGAIN_MS = 500

/** A container that its restart policy started so short a time ago, and that does not answer, will stop again: Docker waits at most a minute. */
const LOOP_MS_MAX = 60_000

/** Asks every question. Throws `gate-unusable` where it cannot be known what a well member would answer. */
export async function rehearse(scene: Scene, signal: AbortSignal): Promise<Gates> {
  const asked = await askSteadily(scene, signal)
  const { unheard: _, speaksNoHttp, ...gates } = asked
  const doors = await openDoors(scene, gates.from, signal)
  if (speaksNoHttp && doors.length > 0) refuseNoHttp(scene)
  return { ...gates, before: withLooping(gates.before, scene), doors }
}

const badIn = ({ before }: Asked) =>
  Object.values(before).filter(({ state, isAnswering }) => state === 'sick' && !isAnswering).length

async function askSteadily(scene: Scene, signal: AbortSignal): Promise<Asked> {
  let best = await askFromSomewhere(scene, signal)
  for (let asks = 1; asks < ASKS_MAX && badIn(best) > 0; asks += 1) {
    await scene.ports.clock.sleep(ASK_AGAIN_MS, signal)
    const next = await askFromSomewhere(scene, signal)
    if (badIn(next) < badIn(best)) best = next
  }
  return best
}

async function askFromSomewhere(scene: Scene, signal: AbortSignal): Promise<Asked> {
  const members = runningOf(scene)
  const near = await askMembers('agent', scene, members, signal)
  // Where no member runs, asking the proxy itself tells whether the agent reaches containers.
  if (members.length === 0) return { ...near, from: await reachOf(scene, signal) }
  return near.unheard === undefined ? near : await askFromProxy(scene, members, signal)
}

async function reachOf({ proxy, ports }: Scene, signal: AbortSignal): Promise<From> {
  const door = proxy.seen.approach.doors.find(({ address }) => !isLoopback(address))
  if (!door) return 'agent'
  const answer = await askThrough({ ...door, from: 'agent' }, ports, proxy, signal)
  return 'fault' in answer && answer.kind === 'silence' ? 'proxy' : 'agent'
}

// A member that restarts again and again counts as gone, like one that has stopped for good: each time it has stopped, its name resolves to nothing.
function withLooping(before: Gates['before'], { observed, ports }: Scene): Gates['before'] {
  const now = ports.clock.now()
  const isLooping = ({ state, restarts, startedAt }: Container) =>
    state !== 'running' || (restarts > 0 && now - Date.parse(startedAt) < LOOP_MS_MAX)
  const looping = observed.members.flatMap(({ service, containers }): [string, Before][] => {
    const is = before[service]
    if (is?.state !== 'sick' || is.isAnswering || !containers.every(isLooping)) return []
    return [[service, { ...is, state: 'gone', said: `restarted again and again, and ${is.said}` }]]
  })
  return { ...before, ...Object.fromEntries(looping) }
}

// The agent hears nothing of any member, so the proxy asks. Where it has no program to ask with, Docker's healthcheck may tell.
async function askFromProxy(scene: Scene, members: readonly Running[], signal: AbortSignal): Promise<Asked> {
  const { stack, proxy } = scene
  const inside = await askMembers('proxy', scene, members, signal)
  if (inside.unheard !== 'unasked') return inside
  if (members.some(({ container }) => container.health === 'healthy'))
    return judge(scene, 'agent', [], { kind: 'none' }, [
      {
        code: 'health-by-docker',
        message: 'the agent reaches no instance, so Docker’s healthcheck counts alone',
        cure: `put curl into the image of service ${proxy.seen.service}, or run the agent where it reaches the containers`,
      },
    ])
  throw new Problem('gate-unusable', `no instance can be asked: the agent reaches none of their addresses`, {
    cure: `run the agent where it does, put curl into the image of service ${proxy.seen.service}, or set stacks.${stack.name}.health to { docker: true }`,
  })
}

function runningOf({ observed, proxy }: Scene): Running[] {
  return observed.members.flatMap((member) => {
    const running = member.containers.filter(({ state }) => state === 'running')
    return running.map((container) => ({
      member,
      container,
      remotes: remotesAt(member, addressesFrom(proxy.seen, container)),
    }))
  })
}

async function askMembers(
  from: From,
  scene: Scene,
  members: readonly Running[],
  signal: AbortSignal,
): Promise<Asked> {
  const asker = askerFrom(from, scene.ports, scene.proxy)
  const kind = scene.stack.health.by ?? (scene.proxy.seen.approach.speaks === 'tcp' ? 'tcp' : 'http')
  if (kind === 'docker') return judge(scene, from, [], { kind: 'none' }, [])
  if (kind === 'tcp') {
    const heard = await Promise.all(
      members.flatMap(({ member, remotes }) =>
        remotes.map(async (remote): Promise<Heard> => {
          return { member, remote, answers: [await askProbe(asker, { kind: 'tcp' }, remote, signal)] }
        }),
      ),
    )
    return judge(scene, from, heard, { kind: 'tcp' }, [])
  }
  const candidates = candidatesOf(scene, members)
  const heard = await Promise.all(
    members.flatMap(({ member, remotes }) =>
      remotes.map(async (remote): Promise<Heard> => {
        return { member, remote, answers: await askInTurn(asker, remote, candidates, signal) }
      }),
    ),
  )
  return choose(scene, from, heard, candidates)
}

async function askInTurn(
  asker: Asker,
  remote: Remote,
  candidates: readonly HttpProbe[],
  signal: AbortSignal,
): Promise<Answer[]> {
  const answers: Answer[] = []
  for (const candidate of candidates) {
    const answer = await askProbe(asker, candidate, remote, signal)
    answers.push(answer)
    if ('fault' in answer) break
  }
  return answers
}

// Each door is asked from where it can be reached. A door where the proxy reaches nobody now is left out: it could not judge later.
async function openDoors({ proxy, ports }: Scene, from: From, signal: AbortSignal): Promise<OpenDoor[]> {
  const found = proxy.seen.approach.doors.map(async (door): Promise<OpenDoor[]> => {
    const ways: readonly From[] =
      from === 'proxy' || isLoopback(door.address) ? ['proxy'] : ['agent', 'proxy']
    for (const way of ways) {
      const answers = await askDoor({ ...door, from: way }, ports, proxy, signal)
      const statuses = answers.flatMap((answer) => ('status' in answer ? [answer.status] : []))
      const status = statuses.find((one) => !GATEWAY_ERRORS.includes(one))
      const isLimited = statuses.length < DOOR_ASKS || new Set(statuses).size > 1
      if (status !== undefined) return [{ ...door, from: way, status, isLimited }]
      if (statuses.length > 0) return []
    }
    return []
  })
  return (await Promise.all(found)).flat()
}

// Asks a door several times in a row, until it gives no answer.
async function askDoor(
  door: Door & { readonly from: From },
  ports: Ports,
  proxy: Proxy,
  signal: AbortSignal,
): Promise<Answer[]> {
  const answers: Answer[] = []
  for (let asked = 0; asked < DOOR_ASKS; asked += 1) {
    const answer = await askThrough(door, ports, proxy, signal)
    answers.push(answer)
    if ('fault' in answer) break
  }
  return answers
}

// The proxy reaches the members, so the stack works. Only a probe over HTTP does not suit it.
function refuseNoHttp({ stack, proxy }: Scene): never {
  throw new Problem(
    'gate-unusable',
    `the servers of upstream ${proxy.seen.backend} serve nginx, but answer no plain ${proxy.seen.approach.speaks.toUpperCase()} request`,
    {
      cure: `set stacks.${stack.name}.health to { tcp: true }, or to { docker: true } where the service has a healthcheck`,
    },
  )
}
