// The gates of a roll, rehearsed: every question that the roll will ask of the new version, and its way back of the old, is asked of what
// runs now, before anything moves. The answers are kept, and judge later: a good roll passes them, and nobody is asked for more than
// was there before.

import { Problem } from '../../shared/problems.ts'
import type { StackConfig } from '../config/config.ts'
import { isLoopback, type Door } from '../nginx/doors.ts'
import type { Container, Ports, Remote } from '../ports.ts'
import { askerFrom, DOOR_MS_MAX, type Answer, type Asker, type From, type Unanswered } from './ask.ts'
import { askedByHealthcheck } from './healthcheck.ts'
import { addressesFrom, type Instance, type Observed } from './observe.ts'

/** Plain data: the note of a roll keeps it. */
export interface Gates {
  readonly probe: Probe
  readonly from: From
  /** The IP families by which members answer; nginx may know addresses of a family that no app listens on. */
  readonly families: readonly Family[]
  /** Whether Docker's own healthcheck counts, where a container has one. */
  readonly isDockerAsked: boolean
  /** How each service was before the roll. */
  readonly before: Readonly<Record<string, Before>>
  readonly doors: readonly OpenDoor[]
  /** What a person should know of how well these gates can judge. */
  readonly notes: readonly GateNote[]
}

export type Family = 4 | 6

/** What a member is asked. `none`: Docker's healthcheck alone tells. */
export type Probe = HttpProbe | { readonly kind: 'tcp' } | { readonly kind: 'none' }

export interface HttpProbe {
  readonly kind: 'http'
  readonly tls: boolean
  readonly path: string
  readonly host: string
  /** Statuses that a well member answers. */
  readonly good: readonly StatusRange[]
}

export interface StatusRange {
  readonly min: number
  readonly max: number
}

/** `gone`: no container of it runs, so nginx could not be reloaded with its name. */
export interface Before {
  readonly state: 'well' | 'sick' | 'gone'
  /** Whether it answered its probe, whatever Docker's healthcheck says: then clients are served by it. */
  readonly isAnswering: boolean
  /** Whether Docker's healthcheck called each of its containers healthy. */
  readonly isHealthyByDocker: boolean
  readonly said: string
}

/** A door at which nginx answered before the roll, as it reached the upstream. */
export interface OpenDoor extends Door {
  readonly from: From
  readonly status: number
  /** Whether several requests in a row were not answered alike, as by a rate limit: then a 503 tells nothing, nor does a delay. */
  readonly isLimited: boolean
}

export interface GateNote {
  readonly code: string
  readonly message: string
  readonly cure: string
}

/** What a well member answers where nobody says otherwise. */
const GOOD: StatusRange = { min: 200, max: 399 }
/** Any answer of an app that is up: enough where nothing answered before, so that nobody can be worse off. */
const UP: StatusRange = { min: 200, max: 499 }
/** What an app answers to a Host that it does not serve: such an answer comes before the app itself, and tells nothing of it. */
const REFUSALS: readonly number[] = [400, 403, 421]
/** What nginx answers when it reaches no server. */
const GATEWAY_ERRORS: readonly number[] = [502, 503, 504]
/** So often is a door asked, to see whether a rate limit delays it or answers in nginx's stead, with 503 where nobody says otherwise. */
const DOOR_ASKS = 3
/** So many names of nginx's are tried with each path; where none of them suits, a key of ropeway.yml says it. */
const HOSTS_MAX = 3

/** One bad answer may be a moment's, as of an app that is busy: so often is it asked for before whoever gives it counts as sick. */
const ASKS_MAX = 3
const ASK_AGAIN_MS = 500
/** One that was started again by its restart policy so short a time ago, and does not answer, will stop again: Docker waits at most a minute. */
const LOOP_MS_MAX = 60_000

/** Asks all of it. Throws `gate-unusable` where it cannot be known what a well member would answer. */
export async function rehearse(
  stack: StackConfig,
  observed: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<Gates> {
  const asked = await askSteadily(stack, observed, ports, signal)
  const { unheard: _, speaksNoHttp, ...gates } = asked
  const doors = await openDoors(observed, gates.from, ports, signal)
  if (speaksNoHttp && doors.length > 0) refuseNoHttp(stack, observed)
  return { ...gates, before: withLooping(gates.before, observed, ports.clock.now()), doors }
}

async function askSteadily(
  stack: StackConfig,
  observed: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<Asked> {
  const badIn = ({ before }: Asked) =>
    Object.values(before).filter(({ state, isAnswering }) => state === 'sick' && !isAnswering).length
  let best = await askFromSomewhere(stack, observed, ports, signal)
  for (let asks = 1; asks < ASKS_MAX && badIn(best) > 0; asks += 1) {
    await ports.clock.sleep(ASK_AGAIN_MS, signal)
    const next = await askFromSomewhere(stack, observed, ports, signal)
    if (badIn(next) < badIn(best)) best = next
  }
  return best
}

async function askFromSomewhere(
  stack: StackConfig,
  observed: Observed,
  ports: Ports,
  signal: AbortSignal,
): Promise<Asked> {
  const members = membersOf(observed)
  const near = await askMembers('agent', stack, observed, members, ports, signal)
  // Where nobody runs, nginx's own container tells whether the agent reaches any.
  if (members.length === 0) return { ...near, from: await reachOf(observed, ports, signal) }
  return near.unheard === undefined ? near : await askFromNginx(stack, observed, members, ports, signal)
}

async function reachOf({ proxy }: Observed, ports: Ports, signal: AbortSignal): Promise<From> {
  const door = proxy.approach.doors.find(({ address }) => !isLoopback(address))
  if (!door) return 'agent'
  const answer = await askThrough({ ...door, from: 'agent' }, ports, proxy.container, signal)
  return 'fault' in answer && answer.kind === 'silence' ? 'nginx' : 'agent'
}

// Its name resolves to nothing each time that it has stopped, so it is as one that has stopped for good.
function withLooping(before: Gates['before'], { instances }: Observed, now: number): Gates['before'] {
  const isLooping = ({ state, restarts, startedAt }: Container) =>
    state !== 'running' || (restarts > 0 && now - Date.parse(startedAt) < LOOP_MS_MAX)
  const looping = instances.flatMap(({ service, containers }): [string, Before][] => {
    const is = before[service]
    if (is?.state !== 'sick' || is.isAnswering || !containers.every(isLooping)) return []
    return [[service, { ...is, state: 'gone', said: `restarted again and again, and ${is.said}` }]]
  })
  return { ...before, ...Object.fromEntries(looping) }
}

// The agent hears nothing of any member. nginx does, or they are silent to it too; where it has no program to ask with, Docker may know.
async function askFromNginx(
  stack: StackConfig,
  observed: Observed,
  members: readonly Member[],
  ports: Ports,
  signal: AbortSignal,
): Promise<Asked> {
  const { proxy } = observed
  const inside = await askMembers('nginx', stack, observed, members, ports, signal)
  if (inside.unheard !== 'unasked') return inside
  if (members.some(({ container }) => container.health === 'healthy'))
    return judge(stack, observed, 'agent', [], { kind: 'none' }, [
      {
        code: 'health-by-docker',
        message: 'the agent reaches no instance, so Docker’s healthcheck counts alone',
        cure: `put curl into the image of service ${proxy.container.service}, or run the agent where it reaches the containers`,
      },
    ])
  throw new Problem('gate-unusable', `no instance can be asked: the agent reaches none of their addresses`, {
    cure: `run the agent where it does, put curl into the image of service ${proxy.container.service}, or set stacks.${stack.name}.health to { docker: true }`,
  })
}

interface Member {
  readonly instance: Instance
  readonly container: Container
  readonly remotes: readonly Remote[]
}

function membersOf({ instances, proxy }: Observed): Member[] {
  return instances.flatMap((instance) => {
    const running = instance.containers.filter(({ state }) => state === 'running')
    return running.map((container) => ({
      instance,
      container,
      remotes: remotesAt(instance, addressesFrom(proxy.container, container)),
    }))
  })
}

export function remotesAt({ servers }: Pick<Instance, 'servers'>, ips: readonly string[]): Remote[] {
  const ports = new Set(servers.map(({ port }) => port))
  return ips.flatMap((ip) => [...ports].map((port) => ({ ip, port })))
}

const familyOf = (ip: string): Family => (ip.includes(':') ? 6 : 4)

interface Asked extends Omit<Gates, 'doors'> {
  /** Set where no member was heard at all: each was silent, or could not be asked. */
  readonly unheard: 'silence' | 'unasked' | undefined
  /** Whether each takes connections, and speaks something else there. */
  readonly speaksNoHttp: boolean
}

async function askMembers(
  from: From,
  stack: StackConfig,
  observed: Observed,
  members: readonly Member[],
  ports: Ports,
  signal: AbortSignal,
): Promise<Asked> {
  const asker = askerFrom(from, ports, observed.proxy.container)
  const kind = stack.health.by ?? (observed.proxy.approach.speaks === 'tcp' ? 'tcp' : 'http')
  if (kind === 'docker') return judge(stack, observed, from, [], { kind: 'none' }, [])
  if (kind === 'tcp') {
    const heard = await Promise.all(
      members.flatMap(({ instance, remotes }) =>
        remotes.map(async (remote): Promise<Heard> => {
          return { instance, remote, answers: [await askProbe(asker, { kind: 'tcp' }, remote, signal)] }
        }),
      ),
    )
    return judge(stack, observed, from, heard, { kind: 'tcp' }, [])
  }
  const candidates = candidatesOf(stack, observed, members)
  const heard = await Promise.all(
    members.flatMap(({ instance, remotes }) =>
      remotes.map(async (remote): Promise<Heard> => {
        return { instance, remote, answers: await askInTurn(asker, remote, candidates, signal) }
      }),
    ),
  )
  return choose(stack, observed, from, heard, candidates)
}

/** Stands for a connection that was taken, where there is no status. */
const CONNECTED: Answer = { status: 200 }

interface Heard {
  readonly instance: Instance
  readonly remote: Remote
  /** One a candidate, in their order. One that gave no answer at all is not asked further. */
  readonly answers: readonly Answer[]
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

// The path of ropeway.yml; else the healthcheck's own, then `/`. With each the Host of ropeway.yml; else what nginx serves or sends, then
// what the healthcheck says.
function candidatesOf(stack: StackConfig, { proxy }: Observed, members: readonly Member[]): HttpProbe[] {
  const { path, host, status } = stack.health
  const own = members.map(({ container }) => askedByHealthcheck(container)).find((one) => one !== undefined)
  const paths = path === undefined ? [...(own ? [own.path] : []), '/'] : [path]
  const hosts =
    host === undefined
      ? [...proxy.approach.hosts.slice(0, HOSTS_MAX), ...(own ? [own.host] : []), 'localhost']
      : [host]
  const tls = proxy.approach.speaks === 'https'
  const good = [status ?? GOOD]
  return [...new Set(paths)].flatMap((each) =>
    [...new Set(hosts)].map((one): HttpProbe => ({ kind: 'http', tls, path: each, host: one, good })),
  )
}

// The first candidate that somebody answers well. Failing that, an answer that is the app's own is good enough to compare with; and where
// there is none, Docker's healthcheck, if it tells anybody well.
function choose(
  stack: StackConfig,
  observed: Observed,
  from: From,
  heard: readonly Heard[],
  candidates: readonly HttpProbe[],
): Asked {
  const { status } = stack.health
  const statusesOf = (index: number) =>
    heard.flatMap(({ answers }) => {
      const answer = answers[index]
      return answer && 'status' in answer ? [answer.status] : []
    })
  const at = (index: number) =>
    heard.map(({ answers, ...rest }) => {
      const answer = answers[index] ?? answers.at(-1)
      return { ...rest, answers: answer ? [answer] : [] }
    })
  const well = candidates.findIndex(({ good }, index) => statusesOf(index).some((one) => isIn(good, one)))
  const chosen = candidates[well]
  if (chosen) return judge(stack, observed, from, at(well), chosen, [])

  const known = status === undefined ? candidates.findIndex((_, index) => statusesOf(index).some(isOwn)) : -1
  const compared = candidates[known]
  if (compared) {
    const [own = 0] = statusesOf(known).filter(isOwn)
    const probe = { ...compared, good: [...compared.good, { min: own, max: own }] }
    return judge(stack, observed, from, at(known), probe, [
      {
        code: 'health-by-comparison',
        message: `GET ${probe.path} answers ${own} now, so that counts as healthy too`,
        cure: `set stacks.${stack.name}.health.path to a page that tells whether the app is well`,
      },
    ])
  }
  const [first] = candidates
  if (!first) return judge(stack, observed, from, at(0), { kind: 'tcp' }, [])
  const isWellByDocker = observed.instances.some(({ containers }) =>
    containers.some(({ state, health }) => state === 'running' && health === 'healthy'),
  )
  const statuses = statusesOf(0)
  const speaksNoHttp = areAll(heard, 'no-http')
  if (status === undefined && (statuses.length > 0 || speaksNoHttp) && isWellByDocker)
    return judge(stack, observed, from, at(0), { kind: 'tcp' }, [
      {
        code: 'health-by-docker',
        message: `GET ${first.path} answers ${statuses[0] ?? 'no HTTP'} now, so Docker’s healthcheck and a connection count alone`,
        cure: `set stacks.${stack.name}.health.path to a page that tells whether the app is well`,
      },
    ])
  const refused = statuses.find((one) => REFUSALS.includes(one))
  if (status === undefined && refused !== undefined) refuseUnknown(stack, candidates, refused)
  // Nobody is well. What is to come must be; where it is not known how that shows, it must at least answer.
  const judged = judge(
    stack,
    observed,
    from,
    at(0),
    status === undefined ? { ...first, good: [UP] } : first,
    [
      {
        code: 'nobody-well',
        message: `no instance answers ${describeProbe(first)} as a healthy one should`,
        cure: `see why, or set stacks.${stack.name}.health.path to a page that tells whether the app is well`,
      },
    ],
  )
  return { ...judged, speaksNoHttp }
}

const areAll = (heard: readonly Heard[], kind: Unanswered['kind']) =>
  heard.length > 0 &&
  heard.every(({ answers }) => answers.every((one) => 'fault' in one && one.kind === kind))

/** An answer of the app itself, though not of a page. */
const isOwn = (status: number) => status >= 400 && status < 500 && !REFUSALS.includes(status)

const isIn = (ranges: readonly StatusRange[], status: number) =>
  ranges.some(({ min, max }) => status >= min && status <= max)

/** Asks one address what the gate asks. */
async function askProbe(asker: Asker, probe: Probe, remote: Remote, signal: AbortSignal): Promise<Answer> {
  if (probe.kind === 'http') return await asker.http({ ...remote, ...probe }, signal)
  if (probe.kind === 'tcp') return (await asker.tcp(remote, signal)) ?? CONNECTED
  return CONNECTED
}

/** Whether nginx reaches nobody at a door, by what it answers there. */
export function isGatewayError({ isLimited }: Pick<OpenDoor, 'isLimited'>, answer: Answer): boolean {
  if ('fault' in answer) return !isLimited
  return GATEWAY_ERRORS.includes(answer.status) && !(isLimited && answer.status === 503)
}

/** What the first of a member's addresses answers that a well member would not, or undefined. */
export async function faultAt(
  { probe, families }: Pick<Gates, 'probe' | 'families'>,
  asker: Asker,
  remotes: readonly Remote[],
  signal: AbortSignal,
): Promise<string | undefined> {
  if (probe.kind === 'none') return undefined
  const asked = remotes.filter(({ ip }) => families.includes(familyOf(ip)))
  if (asked.length === 0) return 'it has no address in a network that nginx is in'
  for (const remote of asked) {
    const answer = await askProbe(asker, probe, remote, signal)
    if (isGood(probe, answer)) continue
    if ('fault' in answer) return `${describeRemote(remote)} gives ${answer.fault}`
    return `GET ${probe.kind === 'http' ? probe.path : ''} at ${describeRemote(remote)} answers ${answer.status}`
  }
  return undefined
}

/** Whether an answer is that of a well member. */
function isGood(probe: Probe, answer: Answer): boolean {
  return 'status' in answer && (probe.kind !== 'http' || isIn(probe.good, answer.status))
}

// How each service is, by the probe that was chosen.
function judge(
  stack: StackConfig,
  { instances, proxy }: Observed,
  from: From,
  heard: readonly Heard[],
  probe: Probe,
  notes: readonly GateNote[],
): Asked {
  const familiesWhere = (is: (answer: Answer) => boolean) =>
    ([4, 6] as const).filter((family) =>
      heard.some(({ remote, answers }) => familyOf(remote.ip) === family && answers.every(is)),
    )
  const [good, answering] = [
    familiesWhere((one) => isGood(probe, one)),
    familiesWhere((one) => 'status' in one),
  ]
  const families = [good, answering, familiesWhere(() => true)].find(({ length }) => length > 0) ?? [4, 6]
  const running = instances.map((instance) => ({
    instance,
    containers: instance.containers.filter(({ state }) => state === 'running'),
    own: heard.filter((one) => one.instance === instance && families.includes(familyOf(one.remote.ip))),
  }))
  const answers = (own: readonly Heard[]) =>
    probe.kind === 'none' ||
    (own.length > 0 && own.every((one) => one.answers.every((is) => isGood(probe, is))))
  const looked = running.flatMap(({ containers }) => containers).filter(({ health }) => health !== undefined)
  const isDockerSick = looked.length > 0 && looked.every(({ health }) => health === 'unhealthy')
  // Where Docker calls all of them unhealthy and one answers, it is the healthcheck that does not work.
  const isDockerAsked =
    !isDockerSick ||
    probe.kind === 'none' ||
    !running.some(({ containers, own }) => containers.length > 0 && answers(own))
  if (stack.health.by === 'docker') checkHealthcheck(stack, running)
  const before = running.map(({ instance, containers, own }): [string, Before] => {
    if (containers.length === 0) {
      const [container] = instance.containers
      return [
        instance.service,
        {
          state: 'gone',
          isAnswering: false,
          isHealthyByDocker: false,
          said: container?.state ?? 'no container',
        },
      ]
    }
    const sick = containers.find(({ health }) => isDockerAsked && health === 'unhealthy')
    const isAnswering = answers(own)
    const said = own.map(({ remote, answers: all }) => describeAnswer(remote, all[0]))
    const byDocker = [...new Set(containers.flatMap(({ health }) => (health ? [`${health} by Docker`] : [])))]
    return [
      instance.service,
      {
        state: isAnswering && !sick ? 'well' : 'sick',
        isAnswering: probe.kind === 'none' ? !sick : isAnswering,
        isHealthyByDocker: containers.every(({ health }) => health === 'healthy'),
        said:
          [...said, ...byDocker].join(', ') ||
          `it has no address in a network that ${proxy.container.service} is in`,
      },
    ]
  })
  return {
    probe,
    from,
    families,
    isDockerAsked,
    before: Object.fromEntries(before),
    notes: isDockerAsked
      ? notes
      : [
          ...notes,
          {
            code: 'healthcheck-unusable',
            message:
              'Docker’s healthcheck calls every instance unhealthy, also what answers: it is not asked',
            cure: 'mend the healthcheck of the service; `docker inspect` shows what it says',
          },
        ],
    unheard: unheardOf(heard.flatMap(({ answers: all }) => all)),
    speaksNoHttp: false,
  }
}

function unheardOf(answers: readonly Answer[]): Asked['unheard'] {
  const kinds = answers.flatMap((one) =>
    'fault' in one && (one.kind === 'silence' || one.kind === 'unasked') ? [one.kind] : [],
  )
  return kinds.length === answers.length ? kinds[0] : undefined
}

function describeRemote({ ip, port }: Remote): string {
  return `${ip.includes(':') ? `[${ip}]` : ip}:${port}`
}

function describeAnswer(remote: Remote, answer: Answer | undefined): string {
  const at = describeRemote(remote)
  if (!answer) return `${at} was not asked`
  return 'fault' in answer ? `${at} gives ${answer.fault}` : `${at} answers ${answer.status}`
}

/** The question, for a person. */
export function describeProbe(probe: Probe): string {
  if (probe.kind === 'none') return 'Docker’s healthcheck'
  if (probe.kind === 'tcp') return 'a TCP connection'
  return `GET ${probe.tls ? 'https:' : ''}${probe.path} (Host: ${probe.host})`
}

function checkHealthcheck(
  stack: StackConfig,
  running: readonly { instance: Instance; containers: readonly Container[] }[],
): void {
  const without = running.find(({ containers }) => containers.some(({ health }) => health === undefined))
  if (!without) return
  throw new Problem('gate-unusable', `service ${without.instance.service} has no Docker healthcheck`, {
    cure: `add one to the service, or leave stacks.${stack.name}.health.docker out`,
  })
}

function refuseUnknown(stack: StackConfig, candidates: readonly HttpProbe[], status: number): never {
  const hosts = [...new Set(candidates.map(({ host }) => host))].join(', ')
  throw new Problem(
    'gate-unusable',
    `every instance answers ${status} to GET ${candidates[0]?.path} with Host ${hosts}: a new version could not be told from a broken one`,
    {
      cure: `set stacks.${stack.name}.health.host to a name that the app serves, health.path and health.status to what a healthy instance answers, or health to { tcp: true }`,
    },
  )
}

// nginx reaches it, so it works as it is.
function refuseNoHttp(stack: StackConfig, { proxy }: Observed): never {
  throw new Problem(
    'gate-unusable',
    `the servers of upstream ${proxy.upstream.name} serve nginx, but answer no plain ${proxy.approach.speaks.toUpperCase()} request`,
    {
      cure: `set stacks.${stack.name}.health to { tcp: true }, or to { docker: true } where the service has a healthcheck`,
    },
  )
}

// Each is asked from where it can be reached. One where nginx reaches nobody now cannot tell later whether it does.
async function openDoors(
  { proxy }: Observed,
  from: From,
  ports: Ports,
  signal: AbortSignal,
): Promise<OpenDoor[]> {
  const found = proxy.approach.doors.map(async (door): Promise<OpenDoor[]> => {
    const ways: readonly From[] =
      from === 'nginx' || isLoopback(door.address) ? ['nginx'] : ['agent', 'nginx']
    for (const way of ways) {
      const answers = await askDoor({ ...door, from: way }, ports, proxy.container, signal)
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

// In a row; one that gives no answer is not asked again.
async function askDoor(
  door: Door & { readonly from: From },
  ports: Ports,
  proxy: Container,
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

/** Asks nginx at a door, at the address that its container has by now. */
export async function askThrough(
  door: Door & { readonly from: From },
  ports: Ports,
  proxy: Container,
  signal: AbortSignal,
): Promise<Answer> {
  const ip = ipOf(door.address, door.from, proxy)
  if (ip === undefined) return { fault: 'it has no address' }
  return await askerFrom(door.from, ports, proxy).http({ ...door, ip }, signal, DOOR_MS_MAX)
}

const EVERY: readonly string[] = ['*', '0.0.0.0', '::']

function ipOf(address: string, from: From, proxy: Container): string | undefined {
  if (!EVERY.includes(address)) return address === 'localhost' ? '127.0.0.1' : address
  if (from === 'nginx') return address === '::' ? '::1' : '127.0.0.1'
  const own = addressesFrom(proxy, proxy)
  return own.find((ip) => (address === '::') === ip.includes(':')) ?? own[0]
}
