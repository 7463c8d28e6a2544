// Judges how each member is, by the chosen probe and by Docker's healthcheck. Pure.

import { Problem } from '../../../shared/problems.ts'
import type { StackConfig } from '../../config/config.ts'
import type { Container, Remote } from '../../ports.ts'
import type { Member, Observed } from '../observe.ts'
import type { Answer, From } from './ask.ts'
import {
  describeRemote,
  familyOf,
  isGood,
  type Before,
  type Family,
  type Gates,
  type GateNote,
  type Probe,
} from './gates.ts'

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

export interface Heard {
  readonly member: Member
  readonly remote: Remote
  /** One answer for each candidate, in their order. After a question that gets no answer, no more are asked. */
  readonly answers: readonly Answer[]
}

export interface Asked extends Omit<Gates, 'doors'> {
  /** Set where no member was heard at all: each was silent, or could not be asked. */
  readonly unheard: 'silence' | 'unasked' | undefined
  /** Whether every member takes connections, but speaks no HTTP. */
  readonly speaksNoHttp: boolean
}

const HEALTHCHECK_UNUSABLE: GateNote = {
  code: 'healthcheck-unusable',
  message: 'Docker’s healthcheck calls every instance unhealthy, also what answers: it is not asked',
  cure: 'mend the healthcheck of the service; `docker inspect` shows what it says',
}

/** A member, its running containers, and their answers. */
interface Own {
  readonly member: Member
  readonly containers: readonly Container[]
  readonly heard: readonly Heard[]
}

export function judge(
  { stack, observed: { members, proxy } }: Seen,
  from: From,
  heard: readonly Heard[],
  probe: Probe,
  notes: readonly GateNote[],
): Asked {
  const families = familiesOf(heard, probe)
  const all = members.map((member): Own => ({
    member,
    containers: member.containers.filter(({ state }) => state === 'running'),
    heard: heard.filter((one) => one.member === member && families.includes(familyOf(one.remote.ip))),
  }))
  if (stack.health.by === 'docker') checkHealthcheck(stack, all)
  const isDockerAsked = probe.kind === 'none' || !isHealthcheckBroken(all, probe)
  return {
    probe,
    from,
    families,
    isDockerAsked,
    before: Object.fromEntries(
      all.map((own) => [own.member.service, beforeOf(own, probe, isDockerAsked, proxy.service)]),
    ),
    notes: isDockerAsked ? notes : [...notes, HEALTHCHECK_UNUSABLE],
    unheard: unheardOf(heard.flatMap(({ answers }) => answers)),
    speaksNoHttp: false,
  }
}

// The families by which any member answers well; failing that, by which any answers; failing that, those that were asked.
function familiesOf(heard: readonly Heard[], probe: Probe): readonly Family[] {
  const where = (is: (answer: Answer) => boolean) =>
    ([4, 6] as const).filter((family) =>
      heard.some(({ remote, answers }) => familyOf(remote.ip) === family && answers.every(is)),
    )
  const [good, answering] = [where((one) => isGood(probe, one)), where((one) => 'status' in one)]
  return [good, answering, where(() => true)].find(({ length }) => length > 0) ?? [4, 6]
}

function isAnswering(heard: readonly Heard[], probe: Probe): boolean {
  if (probe.kind === 'none') return true
  return heard.length > 0 && heard.every(({ answers }) => answers.every((one) => isGood(probe, one)))
}

// Where Docker calls every container unhealthy, and a member answers its probe all the same, the healthcheck itself is broken.
function isHealthcheckBroken(all: readonly Own[], probe: Probe): boolean {
  const checked = all.flatMap(({ containers }) => containers).filter(({ health }) => health !== undefined)
  if (checked.length === 0 || checked.some(({ health }) => health !== 'unhealthy')) return false
  return all.some(({ containers, heard }) => containers.length > 0 && isAnswering(heard, probe))
}

function beforeOf(
  { member, containers, heard }: Own,
  probe: Probe,
  isDockerAsked: boolean,
  proxyService: string,
): Before {
  if (containers.length === 0) {
    const said = member.containers[0]?.state ?? 'no container'
    return { state: 'gone', isAnswering: false, isHealthyByDocker: false, said }
  }
  const isSick = isDockerAsked && containers.some(({ health }) => health === 'unhealthy')
  const isWell = isAnswering(heard, probe)
  const said = heard.map(({ remote, answers }) => describeAnswer(remote, answers[0]))
  const byDocker = new Set(containers.flatMap(({ health }) => (health ? [`${health} by Docker`] : [])))
  return {
    state: isWell && !isSick ? 'well' : 'sick',
    isAnswering: probe.kind === 'none' ? !isSick : isWell,
    isHealthyByDocker: containers.every(({ health }) => health === 'healthy'),
    said: [...said, ...byDocker].join(', ') || `it has no address in a network that ${proxyService} is in`,
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

function checkHealthcheck(stack: StackConfig, all: readonly Own[]): void {
  const without = all.find(({ containers }) => containers.some(({ health }) => health === undefined))
  if (!without) return
  throw new Problem('gate-unusable', `service ${without.member.service} has no Docker healthcheck`, {
    cure: `add one to the service, or leave stacks.${stack.name}.health.docker out`,
  })
}
