// The rows that the hub writes for each thing that can happen to a deploy, counted in the Worker itself: Cloudflare bills them.

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { cp, readdir, rename, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { WebSocket } from 'ws'
import type { agentEventSchema } from '../../../shared/events.ts'
import { DEPLOYS_KEPT_MAX, OFFER_AGAIN_MS } from '../../../shared/limits.ts'
import { encodeFrame, type DeployFrame, type FromHub } from '../../../shared/protocol.ts'
import { say } from '../lifetime.ts'
import { pause } from '../load.ts'
import { printTable, printText } from '../report.ts'
import { Connection } from './connection.ts'
import { connectAgent, enroll, helloOf, newHost, sendEvents, signedHook, type BenchHost } from './hosts.ts'
import { startRelayProcess, temporaryFolder } from './relay.ts'

type AgentEvent = (typeof agentEventSchema)['_output']

const ROOT = join(import.meta.dirname, '../../..')
/** Soon over, so that expiry can be seen. */
const SHORT_TTL_MS = 1500
/** For what the hub does by itself, after it is due. */
const ALARM_MS_MAX = 5000
const POLL_MS = 100

interface Counts {
  readonly sql: number
  readonly kv: number
  readonly alarms: number
  readonly read: number
}
interface Line extends Counts {
  readonly what: string
}
const NOTHING: Counts = { sql: 0, kv: 0, alarms: 0, read: 0 }

function sum(counts: readonly Counts[]): Counts {
  const of = (key: keyof Counts) => counts.reduce((total, each) => total + each[key], 0)
  return { sql: of('sql'), kv: of('kv'), alarms: of('alarms'), read: of('read') }
}

function written({ sql, kv, alarms }: Counts): number {
  return sql + kv + alarms
}

const STEP: AgentEvent = { type: 'step-progress', step: 0, facts: { established: 3 } }
const PROBLEM = { code: 'internal', message: 'measured' } as const
/** A roll of two instances has five steps. */
const STEPS = 5

const EVENTS: readonly AgentEvent[] = [
  { type: 'received' },
  { type: 'started' },
  { type: 'warning', problem: PROBLEM },
  {
    type: 'planned',
    plan: { stack: 'stack-0', upstream: 'apps', instances: ['app'], steps: [{ kind: 'verify' }] },
  },
  { type: 'step-started', step: 0 },
  STEP,
  { type: 'step-finished', step: 0, ms: 1, facts: {} },
  { type: 'step-failed', step: 0, ms: 1, problem: PROBLEM },
  { type: 'undoing', steps: [] },
]
const SUCCEEDED: AgentEvent = { type: 'succeeded', ms: 1, changed: true, services: { app: 'app:v2' } }

export async function measureRows(isQuick: boolean): Promise<void> {
  const root = await countingRelay()
  const { url, stop } = await startRelayProcess({ dataDir: await temporaryFolder('rows'), root })
  const connection = await Connection.open(url)
  const offeredAgain = isQuick ? undefined : countOfferAgain(url)
  offeredAgain?.catch(() => {})
  const lines = [
    ...(await countDeploy(new Counting(url, connection, await newHost('rows', 4)))),
    ...(await countAbsence(new Counting(url, connection, await newHost('absent', 4)))),
    ...(offeredAgain ? [(say('waiting until a request is offered again'), await offeredAgain)] : []),
  ]
  connection.close()
  await stop()
  printTable(
    'Rows that the hub writes',
    ['', 'SQL', 'key-value', 'setAlarm', 'in all', 'rows read'],
    lines.map((line) => [
      line.what,
      ...[line.sql, line.kv, line.alarms].map(String),
      `**${written(line)}**`,
      String(line.read),
    ]),
  )
  printText(
    'Rows as Cloudflare bills them: what each SQL cursor says it has written, indexes included, and one for each value put into the key-value store and each setAlarm.',
  )
}

/** One host, and what its hub has written since it was last asked. */
class Counting {
  readonly lines: Line[] = []
  readonly host: BenchHost
  readonly #url: string
  readonly #connection: Connection
  readonly #frames: FromHub[] = []
  socket: WebSocket | undefined

  constructor(url: string, connection: Connection, host: BenchHost) {
    this.#url = url
    this.#connection = connection
    this.host = host
  }

  enroll(): Promise<void> {
    return enroll(this.#connection, this.#url, this.host)
  }

  async connect(ttlMs?: number): Promise<void> {
    this.socket = await connectAgent(
      this.host,
      this.#url,
      (frame) => {
        if (frame !== 'pong') this.#frames.push(frame)
      },
      helloOf(this.host, ttlMs),
    )
  }

  async disconnect(): Promise<void> {
    if (!this.socket) return
    const closed = once(this.socket, 'close')
    this.socket.close(1000)
    await closed
  }

  async hook(stack: number, request?: Buffer, status = 202): Promise<Buffer> {
    const sent = request ?? (await signedHook(this.#url, this.host.name, `stack-${stack}`))
    const answer = await this.#connection.send(sent)
    if (answer.status !== status) throw new Error(`${answer.status} instead of ${status}: ${answer.body}`)
    return sent
  }

  async frame<T extends FromHub['type']>(type: T): Promise<Extract<FromHub, { type: T }>> {
    for (const end = Date.now() + ALARM_MS_MAX; Date.now() < end; await pause(1)) {
      const at = this.#frames.findIndex((frame) => frame.type === type)
      if (at >= 0) return this.#frames.splice(at, 1)[0] as Extract<FromHub, { type: T }>
    }
    throw new Error(`no ${type} came`)
  }

  async report(deploy: DeployFrame, seq: number, event: AgentEvent): Promise<void> {
    if (this.socket) sendEvents(this.socket, deploy.id, [{ seq, at: Date.now(), event }])
    await this.frame('stored')
  }

  async counts(): Promise<Counts> {
    const response = await fetch(`${this.#url}/bench/rows/${this.host.name}`)
    return (await response.json()) as Counts
  }

  /** Does something, and notes what was written for it. */
  async note<T>(what: string, work: () => Promise<T>): Promise<T> {
    await this.counts()
    const result = await work()
    this.lines.push({ what, ...(await this.counts()) })
    return result
  }

  /** The same where the hub says nothing of it: noted once something was written, and then nothing more. */
  async await(what: string, msMax: number): Promise<void> {
    let before = NOTHING
    for (const end = Date.now() + msMax; Date.now() < end; await pause(POLL_MS)) {
      const more = await this.counts()
      if (written(more) === 0 && written(before) > 0) {
        this.lines.push({ what, ...before })
        return
      }
      before = sum([before, more])
    }
    throw new Error(`${what}: nothing was written`)
  }
}

async function countDeploy(hub: Counting): Promise<Line[]> {
  await hub.note('a host is enrolled', () => hub.enroll())
  await hub.note('its agent connects for the first time', () => hub.connect())
  await hub.note('its agent disconnects', () => hub.disconnect())
  await hub.note('its agent connects again', () => hub.connect())
  const firstAt = hub.lines.length
  await hub.note('accepted, the agent there, the first of its trigger in this minute', () => hub.hook(0))
  const first = await hub.frame('deploy')
  let seq = 0
  for (const event of EVENTS)
    await hub.note(`event \`${event.type}\``, () => hub.report(first, (seq += 1), event))
  await hub.note('event `succeeded`, which ends it', () => hub.report(first, (seq += 1), SUCCEEDED))
  const request = await hub.note('accepted, the agent there, the next of its trigger', () => hub.hook(0))
  await hub.note('the same request again', () => hub.hook(0, request, 200))
  const second = await hub.frame('deploy')
  await hub.counts()
  hub.socket?.send(
    encodeFrame({ type: 'declined', deploy: second.id, event: { type: 'superseded', by: first.id } }),
  )
  await hub.await('`declined` by the agent', ALARM_MS_MAX)
  const bytes = await signedHook('http://127.0.0.1', hub.host.name, 'stack-0')
  await hub.note('refused: the signature is wrong', () =>
    hub.hook(0, Buffer.from(String(bytes).replace(/v1,..../, 'v1,AAAA')), 401),
  )

  const of = (start: string) => hub.lines.slice(firstAt).find(({ what }) => what.startsWith(start))
  const whole = [
    of('accepted, the agent there, the next'),
    ...['received', 'started', 'planned', 'succeeded'].map((type) => of(`event \`${type}`)),
    ...Array.from({ length: STEPS }, () => [of('event `step-started'), of('event `step-finished')]).flat(),
  ].flatMap((line) => line ?? [])
  const what = `a whole deploy of ${STEPS} steps (${whole.length - 1} events of the agent)`
  return [...hub.lines, { what, ...sum(whole) }]
}

async function countAbsence(hub: Counting): Promise<Line[]> {
  await hub.enroll()
  await hub.connect(SHORT_TTL_MS)
  await hub.disconnect()
  await hub.note('accepted, the agent away, nothing else waits', () => hub.hook(0))
  await hub.await('it expires', SHORT_TTL_MS + ALARM_MS_MAX)
  await hub.connect()
  await hub.disconnect()
  await hub.hook(0)
  await hub.note('accepted, the agent away, replaces the one that waited', () => hub.hook(0))
  await hub.hook(1)
  await hub.note('its agent connects, and is handed two', async () => {
    await hub.connect()
    for (let count = 0; count < 2; count += 1) await hub.frame('deploy')
  })
  await hub.disconnect()
  for (let count = 0; count < DEPLOYS_KEPT_MAX; count += 1) await hub.hook(2)
  await hub.note(`accepted, replaces one, ${DEPLOYS_KEPT_MAX} are over: the oldest is deleted`, () =>
    hub.hook(2),
  )
  return hub.lines
}

async function countOfferAgain(url: string): Promise<Line> {
  const connection = await Connection.open(url)
  const hub = new Counting(url, connection, await newHost('silent', 1))
  await hub.enroll()
  await hub.connect()
  await hub.hook(0)
  await hub.counts()
  await hub.await('offered again to an agent that said nothing', OFFER_AGAIN_MS + ALARM_MS_MAX)
  await hub.disconnect()
  connection.close()
  return { what: 'nothing', ...NOTHING, ...hub.lines[0] }
}

// A folder laid out like a checkout, so that startRelay finds the counting Worker where it looks for its own.
async function countingRelay(): Promise<string> {
  say('bundling the Worker that counts')
  const folder = await temporaryFolder('rows-worker')
  for (const name of ['agent', 'shared', 'wrangler.toml', 'package.json'])
    await cp(join(ROOT, name), join(folder, name), { recursive: true })
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const worker = join(import.meta.dirname, 'rows-worker.js')
  const out = join(folder, 'dist/worker')
  const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js')
  await promisify(execFile)(process.execPath, [wrangler, 'deploy', worker, '--dry-run', '--outdir', out], {
    cwd: ROOT,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: '1', NO_UPDATE_NOTIFIER: '1' },
  })
  for (const file of await readdir(out))
    if (file.endsWith('.js')) await rename(join(out, file), join(out, 'index.js'))
  return folder
}
