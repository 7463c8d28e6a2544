// Which question tells a well member from a sick one, by what was answered to each, and how each member is by that question. Pure.

import { Problem } from '../../../shared/problems.ts'
import type { StackConfig } from '../../config/config.ts'
import type { Container, Remote } from '../../ports.ts'
import type { Member, Observed } from '../observe.ts'
import type { Answer, From, Unanswered } from './ask.ts'
import {
  describeProbe,
  describeRemote,
  familyOf,
  isGood,
  isIn,
  type Before,
  type Gates,
  type GateNote,
  type HttpProbe,
  type Probe,
  type StatusRange,
} from './gates.ts'
import { askedByHealthcheck } from './healthcheck.ts'

/** What is judged. */
export interface Seen {
  readonly stack: StackConfig
  readonly observed: Observed
}

/** A container of a member that runs, and where it is asked. */
export interface Running {
  readonly member: Member
  readonly container: Container
  readonly remotes: readonly Remote[]
}

/** What a well member answers where nobody says otherwise. */
const GOOD: StatusRange = { min: 200, max: 399 }

/** Any answer of an app that is up: enough where nothing answered before, so that nobody can be worse off. */
const UP: StatusRange = { min: 200, max: 499 }

/** What an app answers to a Host that it does not serve: such an answer comes before the app itself, and tells nothing of it. */
const REFUSALS: readonly number[] = [400, 403, 421]

/** So many names of the proxy's are tried with each path; where none of them suits, a key of ropeway.yml says it. */
const HOSTS_MAX = 3

export interface Heard {
  readonly member: Member
  readonly remote: Remote
  /** One a candidate, in their order. One that gave no answer at all is not asked further. */
  readonly answers: readonly Answer[]
}

export interface Asked extends Omit<Gates, 'doors'> {
  /** Set where no member was heard at all: each was silent, or could not be asked. */
  readonly unheard: 'silence' | 'unasked' | undefined
  /** Whether each takes connections, and speaks something else there. */
  readonly speaksNoHttp: boolean
}

// The path of ropeway.yml; else the healthcheck's own, then `/`. With each the Host of ropeway.yml; else what the proxy serves or sends, then
// what the healthcheck says.
export function candidatesOf({ stack, observed }: Seen, members: readonly Running[]): HttpProbe[] {
  const { path, host, status } = stack.health
  const own = members.map(({ container }) => askedByHealthcheck(container)).find((one) => one !== undefined)
  const paths = path === undefined ? [...(own ? [own.path] : []), '/'] : [path]
  const hosts =
    host === undefined
      ? [...observed.proxy.approach.hosts.slice(0, HOSTS_MAX), ...(own ? [own.host] : []), 'localhost']
      : [host]
  const tls = observed.proxy.approach.speaks === 'https'
  const good = [status ?? GOOD]
  return [...new Set(paths)].flatMap((each) =>
    [...new Set(hosts)].map((one): HttpProbe => ({ kind: 'http', tls, path: each, host: one, good })),
  )
}

// The first candidate that somebody answers well. Failing that, an answer that is the app's own is good enough to compare with; and where
// there is none, Docker's healthcheck, if it tells anybody well.
export function choose(
  seen: Seen,
  from: From,
  heard: readonly Heard[],
  candidates: readonly HttpProbe[],
): Asked {
  const { stack, observed } = seen
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
  if (chosen) return judge(seen, from, at(well), chosen, [])

  const known = status === undefined ? candidates.findIndex((_, index) => statusesOf(index).some(isOwn)) : -1
  const compared = candidates[known]
  if (compared) {
    const [own = 0] = statusesOf(known).filter(isOwn)
    const probe = { ...compared, good: [...compared.good, { min: own, max: own }] }
    return judge(seen, from, at(known), probe, [
      {
        code: 'health-by-comparison',
        message: `GET ${probe.path} answers ${own} now, so that counts as healthy too`,
        cure: `set stacks.${stack.name}.health.path to a page that tells whether the app is well`,
      },
    ])
  }
  const [first] = candidates
  if (!first) return judge(seen, from, at(0), { kind: 'tcp' }, [])
  const isWellByDocker = observed.members.some(({ containers }) =>
    containers.some(({ state, health }) => state === 'running' && health === 'healthy'),
  )
  const statuses = statusesOf(0)
  const speaksNoHttp = areAll(heard, 'no-http')
  if (status === undefined && (statuses.length > 0 || speaksNoHttp) && isWellByDocker)
    return judge(seen, from, at(0), { kind: 'tcp' }, [
      {
        code: 'health-by-docker',
        message: `GET ${first.path} answers ${statuses[0] ?? 'no HTTP'} now, so Docker’s healthcheck and a connection count alone`,
        cure: `set stacks.${stack.name}.health.path to a page that tells whether the app is well`,
      },
    ])
  const refused = statuses.find((one) => REFUSALS.includes(one))
  if (status === undefined && refused !== undefined) refuseUnknown(stack, candidates, refused)
  // Nobody is well. What is to come must be; where it is not known how that shows, it must at least answer.
  const judged = judge(seen, from, at(0), status === undefined ? { ...first, good: [UP] } : first, [
    {
      code: 'nobody-well',
      message: `no instance answers ${describeProbe(first)} as a healthy one should`,
      cure: `see why, or set stacks.${stack.name}.health.path to a page that tells whether the app is well`,
    },
  ])
  return { ...judged, speaksNoHttp }
}

const areAll = (heard: readonly Heard[], kind: Unanswered['kind']) =>
  heard.length > 0 &&
  heard.every(({ answers }) => answers.every((one) => 'fault' in one && one.kind === kind))

/** An answer of the app itself, though not of a page. */
const isOwn = (status: number) => status >= 400 && status < 500 && !REFUSALS.includes(status)

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

// How each service is, by the probe that was chosen.
export function judge(
  { stack, observed: { members, proxy } }: Seen,
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
  const running = members.map((member) => ({
    member,
    containers: member.containers.filter(({ state }) => state === 'running'),
    own: heard.filter((one) => one.member === member && families.includes(familyOf(one.remote.ip))),
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
  const before = running.map(({ member, containers, own }): [string, Before] => {
    if (containers.length === 0) {
      const [container] = member.containers
      return [
        member.service,
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
      member.service,
      {
        state: isAnswering && !sick ? 'well' : 'sick',
        isAnswering: probe.kind === 'none' ? !sick : isAnswering,
        isHealthyByDocker: containers.every(({ health }) => health === 'healthy'),
        said:
          [...said, ...byDocker].join(', ') || `it has no address in a network that ${proxy.service} is in`,
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

function describeAnswer(remote: Remote, answer: Answer | undefined): string {
  const at = describeRemote(remote)
  if (!answer) return `${at} was not asked`
  return 'fault' in answer ? `${at} gives ${answer.fault}` : `${at} answers ${answer.status}`
}

function checkHealthcheck(
  stack: StackConfig,
  running: readonly { member: Member; containers: readonly Container[] }[],
): void {
  const without = running.find(({ containers }) => containers.some(({ health }) => health === undefined))
  if (!without) return
  throw new Problem('gate-unusable', `service ${without.member.service} has no Docker healthcheck`, {
    cure: `add one to the service, or leave stacks.${stack.name}.health.docker out`,
  })
}
