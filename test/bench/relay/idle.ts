// What thousands of hosts cost a relay while nothing happens, and how long it takes to reach them all.

import { say } from '../lifetime.ts'
import { pause } from '../load.ts'
import { millis, percentile, printTable, printText, seconds } from '../report.ts'
import { cpuMs, awakeHubs, openFiles, residentKib } from './proc.ts'
import { startPeer, type Peer } from './processes.ts'
import { startRelayProcess, temporaryFolder, type RelayProcess } from './relay.ts'

const AGENTS = [1000, 10_000]
const AGENTS_QUICK = [50, 200]
const IDLE_MS = 20_000
const IDLE_MS_QUICK = 5000
/** workerd lets a hub sleep when nothing has happened for ten seconds. */
const SLEEP_MS_MAX = 60_000
const SLEEP_POLL_MS = 500
const HOOK_CONNECTIONS = 16

interface Weight {
  readonly agents: number
  readonly connectMs: number
  readonly idle: Idle
  readonly reach: { ms: number; each: readonly number[] }
  readonly reachedKib: number
  /** Requests and connections that were repeated, from the first agent on. */
  readonly repeats: number
}
interface State {
  readonly open: number
  readonly pongs: number
  readonly repeats: number
}

interface Idle {
  readonly workerdKib: number
  readonly nodeKib: number
  readonly cpuShare: number
  readonly awake: number
  readonly pongs: number
  readonly open: number
}

export async function measureIdle(isQuick: boolean): Promise<void> {
  const relay = await startRelayProcess({ dataDir: await temporaryFolder('idle') })
  const empty = await residentKib(relay.workerd)
  const agents = startPeer('idle-process.ts', { onNote: (note) => say(note) })
  const { max } = await openFiles(relay.workerd)
  const weights: Weight[] = []
  let fault: string | undefined
  // One after the other with the same relay: its memory only grows.
  for (const count of isQuick ? AGENTS_QUICK : AGENTS)
    try {
      weights.push(await weigh(relay, agents, count, isQuick ? IDLE_MS_QUICK : IDLE_MS))
    } catch (error) {
      const { open } = await openFiles(relay.workerd).catch(() => ({ open: 0 }))
      fault = `${count} agents did not work here: ${error instanceof Error ? error.message : String(error)} (workerd had ${open} of ${max} files open).`
      break
    }
  // The relay first: ten thousand sockets that end at once would wake as many hubs.
  await relay.kill()
  await agents.stop()
  report(weights, { empty, max, fault, idleMs: isQuick ? IDLE_MS_QUICK : IDLE_MS })
}

async function weigh(relay: RelayProcess, agents: Peer, count: number, idleMs: number): Promise<Weight> {
  say(`enrolling and connecting ${count} agents`)
  const connectMs = await agents.call<number>('connect', { url: relay.url, pid: relay.workerd, count })
  say('waiting until all hubs sleep')
  await sleeping(relay)
  const idle = await weighIdle(relay, agents, idleMs)
  say('a deploy to each')
  const reach = await agents.call<Weight['reach']>('reach', { connections: HOOK_CONNECTIONS })
  const { repeats } = await agents.call<State>('state')
  return { agents: count, connectMs, idle, reach, reachedKib: await residentKib(relay.workerd), repeats }
}

async function sleeping({ workerd }: RelayProcess): Promise<void> {
  const end = Date.now() + SLEEP_MS_MAX
  while ((await awakeHubs(workerd)) > 0) {
    if (Date.now() > end) throw new Error(`hubs are awake ${SLEEP_MS_MAX / 1000} s after anything happened`)
    await pause(SLEEP_POLL_MS)
  }
}

async function weighIdle(relay: RelayProcess, agents: Peer, idleMs: number): Promise<Idle> {
  const pids = await relay.pids()
  const pongsOf = async () => (await agents.call<State>('state')).pongs
  const [cpuBefore, pongsBefore] = [cpuMs(pids), await pongsOf()]
  await pause(idleMs)
  const cpu = cpuMs(pids) - cpuBefore
  const { open, pongs } = await agents.call<State>('state')
  return {
    workerdKib: await residentKib(relay.workerd),
    nodeKib: await residentKib(relay.pid),
    cpuShare: cpu / idleMs,
    awake: await awakeHubs(relay.workerd),
    pongs: pongs - pongsBefore,
    open,
  }
}

function report(
  weights: readonly Weight[],
  { empty, max, fault, idleMs }: { empty: number; max: number; fault: string | undefined; idleMs: number },
): void {
  printTable(
    'Idle agents on one local relay, each a host of its own',
    [
      'agents',
      'enrolled and connected in',
      'workerd, idle',
      'an agent',
      'Node, idle',
      'CPU, idle',
      'pings answered',
      'hubs awake after them',
      'a deploy to each',
      'each p50',
      'p99',
      'workerd then',
      'repeated so far',
    ],
    weights.map(({ agents, connectMs, idle, reach, reachedKib, repeats }) => [
      `${agents}${idle.open === agents ? '' : ` (**${idle.open} open**)`}`,
      seconds(connectMs),
      mebibytes(idle.workerdKib),
      `${Math.round((idle.workerdKib - empty) / agents)} KiB`,
      mebibytes(idle.nodeKib),
      `${(100 * idle.cpuShare).toFixed(1)} %`,
      String(idle.pongs),
      String(idle.awake),
      seconds(reach.ms),
      millis(percentile(reach.each, 50)),
      millis(percentile(reach.each, 99)),
      mebibytes(reachedKib),
      String(repeats),
    ]),
  )
  printText(
    `Idle: once every hub sleeps, over ${idleMs / 1000} s; CPU of both processes, of one core. workerd has ${mebibytes(empty)} before the first. The times of the second line are those of the agents that came on top of the first line’s. A deploy to each: ${HOOK_CONNECTIONS} connections send a signed hook for each host; every hub wakes, stores it, hands it over, and stores the agent’s answer. Repeated: requests and connections that workerd reset, as it does when it was busy elsewhere for five seconds; a sender repeats them too, and the hub knows them again.`,
    `workerd may open ${max} files here: an agent takes one, and an awake hub three for its database. The benchmark waits where more would be needed at once, so that is the limit of these times as well.`,
    ...(fault === undefined ? [] : [`**${fault}**`]),
  )
}

function mebibytes(kib: number): string {
  return `${Math.round(kib / 1024)} MiB`
}
