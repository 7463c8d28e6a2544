// Chooses the probe: the question whose answers tell a well member from a sick one. Pure.

import { Problem } from '../../../shared/problems.ts'
import type { StackConfig } from '../../config/config.ts'
import type { From, Unanswered } from './ask.ts'
import { describeProbe, isIn, type HttpProbe, type StatusRange } from './gates.ts'
import { askedByHealthcheck } from './healthcheck.ts'
import { judge, type Asked, type Heard, type Running, type Seen } from './members.ts'

/** The statuses of a well member, where ropeway.yml sets none. */
const GOOD: StatusRange = { min: 200, max: 399 }

/** The statuses of any app that is up. They will do where no member was well before, since then nobody can be worse off. */
const UP: StatusRange = { min: 200, max: 499 }

/** Statuses that an app answers to a Host that it does not serve. They come before the app itself, so they say nothing of how it is. */
const REFUSALS: readonly number[] = [400, 403, 421]

/** How many of the proxy's names are tried with each path. Where none of them suits, `health.host` in ropeway.yml sets the name. */
const HOSTS_MAX = 3

// The questions to try, the best first. Paths: that of ropeway.yml, else the healthcheck's own, then `/`. Hosts with each path: that of ropeway.yml,
// else those that the proxy serves or sends, then the healthcheck's, then `localhost`.
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

// Chooses the first candidate that any member answers well. Failing that, one that the app itself answers, to compare later answers with. Failing
// that too, Docker's healthcheck, where it calls any member healthy.
export function choose(
  seen: Seen,
  from: From,
  heard: readonly Heard[],
  candidates: readonly HttpProbe[],
): Asked {
  const well = candidates.findIndex(({ good }, index) =>
    statusesTo(heard, index).some((status) => isIn(good, status)),
  )
  const chosen = candidates[well]
  if (chosen) return judge(seen, from, answersTo(heard, well), chosen, [])
  return compare(seen, from, heard, candidates) ?? withoutAnswer(seen, from, heard, candidates)
}

function compare(
  seen: Seen,
  from: From,
  heard: readonly Heard[],
  candidates: readonly HttpProbe[],
): Asked | undefined {
  const { name, health } = seen.stack
  if (health.status !== undefined) return undefined
  const known = candidates.findIndex((_, index) => statusesTo(heard, index).some(isOwn))
  const compared = candidates[known]
  if (!compared) return undefined
  const [own = 0] = statusesTo(heard, known).filter(isOwn)
  const probe = { ...compared, good: [...compared.good, { min: own, max: own }] }
  return judge(seen, from, answersTo(heard, known), probe, [
    {
      code: 'health-by-comparison',
      message: `GET ${probe.path} answers ${own} now, so that counts as healthy too`,
      cure: `set stacks.${name}.health.path to a page that tells whether the app is well`,
    },
  ])
}

function withoutAnswer(
  seen: Seen,
  from: From,
  heard: readonly Heard[],
  candidates: readonly HttpProbe[],
): Asked {
  const { stack, observed } = seen
  const isStatusSet = stack.health.status !== undefined
  const answers = answersTo(heard, 0)
  const [first] = candidates
  if (!first) return judge(seen, from, answers, { kind: 'tcp' }, [])
  const isWellByDocker = observed.members.some(({ containers }) =>
    containers.some(({ state, health }) => state === 'running' && health === 'healthy'),
  )
  const statuses = statusesTo(heard, 0)
  const speaksNoHttp = areAll(heard, 'no-http')
  const cure = `set stacks.${stack.name}.health.path to a page that tells whether the app is well`
  if (!isStatusSet && (statuses.length > 0 || speaksNoHttp) && isWellByDocker)
    return judge(seen, from, answers, { kind: 'tcp' }, [
      {
        code: 'health-by-docker',
        message: `GET ${first.path} answers ${statuses[0] ?? 'no HTTP'} now, so Docker’s healthcheck and a connection count alone`,
        cure,
      },
    ])
  const refused = statuses.find((one) => REFUSALS.includes(one))
  if (!isStatusSet && refused !== undefined) refuseUnknown(stack, candidates, refused)
  // No member is well, but the new version must be. Where ropeway.yml sets no status to tell that by, any answer of an app that is up will do.
  const judged = judge(seen, from, answers, isStatusSet ? first : { ...first, good: [UP] }, [
    {
      code: 'nobody-well',
      message: `no instance answers ${describeProbe(first)} as a healthy one should`,
      cure: `see why, or ${cure}`,
    },
  ])
  return { ...judged, speaksNoHttp }
}

function statusesTo(heard: readonly Heard[], candidate: number): number[] {
  return heard.flatMap(({ answers }) => {
    const answer = answers[candidate]
    return answer && 'status' in answer ? [answer.status] : []
  })
}

/** The answers to one candidate. A member that was not asked it counts by its last answer. */
function answersTo(heard: readonly Heard[], candidate: number): Heard[] {
  return heard.map(({ answers, ...rest }) => {
    const answer = answers[candidate] ?? answers.at(-1)
    return { ...rest, answers: answer ? [answer] : [] }
  })
}

const areAll = (heard: readonly Heard[], kind: Unanswered['kind']) =>
  heard.length > 0 &&
  heard.every(({ answers }) => answers.every((one) => 'fault' in one && one.kind === kind))

/** Whether the app itself answers with this status, though not with a page. */
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
