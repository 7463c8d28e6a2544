// How many deploys a second the relay accepts, each on its disk before it is answered 202.

import { join } from 'node:path'
import { DEPLOYS_KEPT_MAX, DEPLOYS_LISTED_MAX } from '../../../shared/limits.ts'
import { say } from '../lifetime.ts'
import { millis, percentile, printTable, printText } from '../report.ts'
import { absentHost, tokenFor, type BenchHost } from './hosts.ts'
import type { LoadResult, Target } from './load-process.ts'
import { cpuMs } from './proc.ts'
import { startPeer, type Peer } from './processes.ts'
import { startRelayProcess, temporaryFolder } from './relay.ts'

const ACCEPTS_PER_SECOND_MIN = 1500
const CONNECTIONS = [1, 32]
const CONNECTIONS_QUICK = [1, 8]
const BARE = 'a bare Worker that verifies nothing and stores one row'
const BARE_REQUESTS = 3072
const BARE_REQUESTS_QUICK = 512

interface Scenario {
  readonly name: string
  /** All of them, and how many are called in turns before the next so many. */
  readonly hosts: number
  readonly atATime: number
  readonly stacks: number
  /** More than its stacks replace those that wait: the agent is away. */
  readonly requestsPerHost: number
  readonly connections?: readonly number[]
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: '16 hosts at a time, 8 stacks each, the first of its stack',
    hosts: 384,
    atATime: 16,
    stacks: 8,
    requestsPerHost: 8,
  },
  {
    name: '16 hosts, 8 stacks each, replaces the one that waited',
    hosts: 16,
    atATime: 16,
    stacks: 8,
    requestsPerHost: 192,
  },
  {
    name: 'one host, 8 stacks, replaces the one that waited',
    hosts: 1,
    atATime: 1,
    stacks: 8,
    requestsPerHost: 3072,
  },
  {
    name: '16 hosts, 192 stacks each, the first of its stack',
    hosts: 16,
    atATime: 16,
    stacks: 192,
    requestsPerHost: 192,
    connections: [32],
  },
]

interface Stage {
  readonly name: string
  readonly connections: number
  readonly result: LoadResult
  readonly relayCpuMs: number
  /** Of the deploys that were accepted, how many the relay lists afterwards, and how many it must at least. */
  readonly listed: number
  readonly expected: number
}

interface Rig {
  readonly relay: { readonly url: string; pids(): Promise<number[]> }
  readonly load: Peer
}

export async function measureAccepts(isQuick: boolean): Promise<void> {
  const relay = await startRelayProcess({ dataDir: await temporaryFolder('accepts') })
  const rig: Rig = { relay, load: startPeer('load-process.ts') }
  const scenarios = isQuick ? SCENARIOS.map(shorter) : SCENARIOS
  say('warming up')
  for (const scenario of SCENARIOS.map(shorter)) await measure(rig, scenario, 8)
  const stages: Stage[] = []
  for (const scenario of scenarios)
    for (const connections of isQuick ? CONNECTIONS_QUICK : (scenario.connections ?? CONNECTIONS)) {
      const stage = await measure(rig, scenario, connections)
      say(`${perSecond(stage).toFixed(0)} accepts/s over ${connections}: ${scenario.name}`)
      stages.push(stage)
    }
  await relay.stop()
  const bare = await measureBare(rig.load, isQuick)
  await rig.load.stop()
  report(stages, bare)
}

// The same requests, as many connections, in the same minute: what this machine's workerd can do at all.
async function measureBare(load: Peer, isQuick: boolean): Promise<Stage[]> {
  const relay = await startRelayProcess({
    dataDir: await temporaryFolder('bare'),
    module: join(import.meta.dirname, 'bare-accept.ts'),
  })
  const count = isQuick ? BARE_REQUESTS_QUICK : BARE_REQUESTS
  const targets = Array.from({ length: count }, (_, i) => ({ host: `bare-${i % 16}`, stack: 'hello' }))
  await load.call('prepare', { url: relay.url, targets })
  const pids = await relay.pids()
  const stages: Stage[] = []
  await load.call('run', { connections: 8 })
  for (const connections of isQuick ? CONNECTIONS_QUICK : CONNECTIONS) {
    const before = cpuMs(pids)
    const result = await load.call<LoadResult>('run', { connections })
    const relayCpuMs = cpuMs(pids) - before
    stages.push({ name: BARE, connections, result, relayCpuMs, listed: 0, expected: 0 })
  }
  await relay.stop()
  return stages
}

function shorter(scenario: Scenario): Scenario {
  const { hosts, atATime, requestsPerHost } = scenario
  return hosts > atATime
    ? { ...scenario, hosts: hosts / 12 }
    : { ...scenario, requestsPerHost: requestsPerHost / 12 }
}

let hostsMade = 0

// On hosts of its own, so that each begins with an empty relay's tables.
async function measure({ relay, load }: Rig, scenario: Scenario, connections: number): Promise<Stage> {
  const { hosts: count, stacks, requestsPerHost } = scenario
  const hosts: BenchHost[] = []
  while (hosts.length < count) hosts.push(await absentHost(relay.url, `accepts-${(hostsMade += 1)}`, stacks))
  await load.call('prepare', { url: relay.url, targets: targetsOf(scenario, hosts) })
  const pids = await relay.pids()
  const before = cpuMs(pids)
  const result = await load.call<LoadResult>('run', { connections })
  const relayCpuMs = cpuMs(pids) - before
  const listed = new Set(
    await load.call<string[]>('list', { url: relay.url, pages: await pagesOf(scenario, hosts, relay.url) }),
  )
  return {
    name: scenario.name,
    connections,
    result,
    relayCpuMs,
    listed: new Set(result.ids).intersection(listed).size,
    expected: count * Math.min(requestsPerHost, stacks + DEPLOYS_KEPT_MAX),
  }
}

function targetsOf({ atATime, requestsPerHost }: Scenario, hosts: readonly BenchHost[]): Target[] {
  const targets: Target[] = []
  for (let first = 0; first < hosts.length; first += atATime)
    for (let index = 0; index < requestsPerHost; index += 1)
      for (const { name, stacks } of hosts.slice(first, first + atATime))
        targets.push({ host: name, stack: stacks[index % stacks.length] ?? '' })
  return targets
}

// All of a host on one page where they fit; else a page for each stack.
async function pagesOf(
  { requestsPerHost }: Scenario,
  hosts: readonly BenchHost[],
  url: string,
): Promise<{ path: string; token: string }[]> {
  const pages: { path: string; token: string }[] = []
  for (const host of hosts) {
    const token = await tokenFor(host, url, 'read')
    const path = `/v1/hosts/${host.name}/deploys?limit=${DEPLOYS_LISTED_MAX}`
    if (requestsPerHost <= DEPLOYS_LISTED_MAX) pages.push({ path, token })
    else for (const stack of host.stacks) pages.push({ path: `${path}&stack=${stack}`, token })
  }
  return pages
}

function perSecond({ result: { ids, ms } }: Stage): number {
  return (1000 * ids.length) / ms
}

function report(ours: readonly Stage[], bare: readonly Stage[]): void {
  printTable(
    'Accepts per second, each durable before its 202 (signed hooks, the agent away)',
    [
      '',
      'connections',
      'requests',
      'accepted/s',
      'answer p50',
      'p99',
      'CPU of the relay',
      'of the load',
      'listed afterwards',
    ],
    [...ours, ...bare].map(({ name, connections, result, relayCpuMs, listed, expected }) => {
      const ofOneCore = (ms: number) => `${Math.round((100 * ms) / result.ms)} %`
      const refused = Object.entries(result.statuses).filter(([status]) => status !== '202')
      return [
        name,
        String(connections),
        [`${result.waits.length}`, ...refused.map(([status, times]) => `**${times} × ${status}**`)].join(
          ', ',
        ),
        ((1000 * result.ids.length) / result.ms).toFixed(0),
        millis(percentile(result.waits, 50)),
        millis(percentile(result.waits, 99)),
        ofOneCore(relayCpuMs),
        ofOneCore(result.cpuMs),
        listedAfterwards({ listed, expected }),
      ]
    }),
  )
  const best = Math.max(...ours.map(perSecond))
  const bareBest = Math.max(...bare.map(perSecond))
  const isMet = best >= ACCEPTS_PER_SECOND_MIN
  printText(
    `CPU is of one core; the load is one process, and what it sends was signed before. Of finished deploys, which the replaced ones are, the hub lists the newest ${DEPLOYS_KEPT_MAX}. The rows that each accept writes are in the table of rows.`,
    `Goal: at least ${ACCEPTS_PER_SECOND_MIN}/s on 2 cores. The best is ${best.toFixed(0)}/s: ${isMet ? 'met' : 'NOT MET'}. That is 1/${(bareBest / best).toFixed(2)} of what a bare Worker does here, ${bareBest.toFixed(0)}/s.`,
  )
}

function listedAfterwards({ listed, expected }: Pick<Stage, 'listed' | 'expected'>): string {
  if (expected === 0) return ''
  return listed >= expected ? `${listed} of at least ${expected}` : `**${listed} of ${expected}**`
}
