// What is wrong with a stack once a deploy is over: every sentence is a broken promise. Pure.

import { isFinal, nextStatus } from '../../../shared/deploy.ts'
import type { LoggedEvent } from '../../../shared/events.ts'
import type { Seen } from './look.ts'
import { answerOf, composeOf as seedComposeOf, SERVICES, type Version } from './version.ts'

/** A worker's age is known to 10 ms twice over; a reload follows its write later than that, and a forgotten one never. */
const CLOCK_MS = 30

export interface Promised {
  readonly nginx: string
  readonly files: readonly string[]
  readonly before: Version
  readonly wanted: Version
  /** The compose file of a version, where it is not the seed's. */
  readonly composeOf?: (version: Version) => string
  /** False where a write of nginx.conf failed and was taken back before nginx was told of it. */
  readonly isTold?: boolean
}

/** By its final event, what the stack has to run; undefined where it says that it does not know. */
export function outcomeOf(events: readonly LoggedEvent[], promised: Promised): Version | undefined {
  const final = events.at(-1)?.event
  if (final?.type === 'succeeded') return promised.wanted
  return final?.type === 'failed' || final?.type === 'cancelled' ? promised.before : undefined
}

export function faultsIn(seen: Seen, version: Version, promised: Promised): string[] {
  const { before, wanted, composeOf = seedComposeOf } = promised
  const faults: string[] = []
  const expect = (isSo: boolean, fault: string) => void (isSo || faults.push(fault))

  for (const service of [...SERVICES, 'nginx']) {
    const all = seen.containers.filter((container) => container.service === service)
    const [container] = all
    expect(all.length === 1, `${service} has ${all.length} containers: ${all.map(({ name }) => name).join()}`)
    if (!container) continue
    const { name, state, hash } = container
    expect(name === `${seen.project}-${service}-1`, `${service} is called ${name}`)
    expect(state === 'running', `${name} is ${state}`)
    expect(hash === seen.hashes[service], `compose would recreate ${name}`)
    if (service === 'nginx') continue
    const message = container.env.find((line) => line.startsWith('MESSAGE='))
    expect(message === `MESSAGE=${service},${version.message}`, `${name} runs with ${message}`)
    expect(container.imageId === version.imageId, `${name} runs ${container.imageId}`)
  }

  expect(
    seen.compose === composeOf(version),
    seen.compose === composeOf(before) || seen.compose === composeOf(wanted)
      ? 'the compose file is that of the other version'
      : `the compose file is neither version's:\n${seen.compose}`,
  )
  expect(seen.nginx === promised.nginx, `nginx.conf is not as it was:\n${upstreamOf(seen.nginx)}`)
  expect(seen.nginxInside === seen.nginx, 'nginx does not see the file that is on the host')
  expect(
    promised.isTold === false || seen.nginxLoadedAt >= seen.nginxWrittenAt - CLOCK_MS,
    `nginx has not loaded what was written ${Math.round(seen.nginxWrittenAt - seen.nginxLoadedAt)} ms after its last reload`,
  )
  const left = seen.files.filter((file) => !promised.files.includes(file))
  expect(left.length === 0, `files were left behind: ${left.join()}`)

  const answers = new Set(seen.answers)
  for (const service of SERVICES)
    expect(answers.has(answerOf(service, version)), `${service} is asked nothing: ${[...answers].join(', ')}`)
  expect(answers.size === SERVICES.length, `nginx answers ${[...answers].join(', ')}`)
  return faults
}

/** What is wrong with how a deploy was told. Holes and repetitions are found by whoever reads the log. */
export function logFaults(events: readonly LoggedEvent[], promised: { mayFail: boolean }): string[] {
  const faults: string[] = []
  const finals = events.filter(({ event }) => isFinal(nextStatus('running', event)))
  const [final] = finals
  if (!final || finals.length !== 1 || final !== events.at(-1)) return [`it ended ${finals.length} times`]
  if (final.event.type === 'stuck')
    faults.push(`stuck: ${final.event.problem.message}: ${final.event.undo.message}`)
  if (final.event.type === 'failed' && !promised.mayFail && final.event.problem.code !== 'interrupted')
    faults.push(`failed: ${final.event.problem.code}: ${final.event.problem.message}`)

  // A step is told once at a time, and what ends was begun.
  let open: number | undefined
  for (const { event } of events) {
    if (event.type === 'step-started') open = event.step
    if ((event.type === 'step-finished' || event.type === 'step-failed') && event.step !== open)
      faults.push(`step ${event.step} ended, and ${open} was the one that ran`)
  }
  return faults
}

function upstreamOf(nginx: string): string {
  return nginx
    .split('\n')
    .filter((line) => /^\s*server .*;$/.test(line))
    .join('\n')
}
