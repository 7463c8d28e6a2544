// From a hook to the agent's own word that it has it, beside the least that a relay can do.

import { join } from 'node:path'
import { byteReader } from '../bytes.ts'
import { say } from '../lifetime.ts'
import { millis, percentile, printTable, printText } from '../report.ts'
import { STACK, newAgentHost, startAgentProcess } from './agent.ts'
import { Connection, requestBytes } from './connection.ts'
import { BODY, signedHook } from './hosts.ts'
import { startPeer } from './processes.ts'
import { startRelayProcess, temporaryFolder } from './relay.ts'

const RATIO_MAX = 4
const WARM_UP = 100
const REQUESTS = 1000
const REQUESTS_QUICK = 100

interface Times {
  readonly answerMs: number
  readonly ackMs: number
}

interface Contender {
  readonly name: string
  send(): Promise<Times>
}

export async function measureAcks(isQuick: boolean): Promise<void> {
  const folder = await temporaryFolder('acks')
  const contenders = [
    await ropeway(folder),
    await bare('bare relay: nothing verified, nothing stored'),
    await bare('bare relay that waits for the disk in the same three places', folder),
  ]
  const requests = isQuick ? REQUESTS_QUICK : REQUESTS
  const measured = new Map(contenders.map((contender) => [contender, [] as Times[]]))
  say(`${requests} hooks to each of ${contenders.length} relays`)
  // In turns, so that what else the machine does meets all alike.
  for (let count = 0; count < WARM_UP + requests; count += 1)
    for (const contender of contenders) {
      const times = await contender.send()
      if (count >= WARM_UP) measured.get(contender)?.push(times)
    }

  const [ours = [], theirs = [], durable = []] = measured.values()
  printTable(
    `From a hook to its agent's ack, on loopback (${requests} hooks each, one after another, in turns)`,
    ['', 'ack p50', 'p95', 'p99', 'answer p50', 'p95', 'p99'],
    [...measured].map(([{ name }, times]) => [
      name,
      ...columns(times.map(({ ackMs }) => ackMs)),
      ...columns(times.map(({ answerMs }) => answerMs)),
    ]),
  )
  const ratio = p50(ours) / p50(theirs)
  printText(
    'Ack: from sending the POST until a byte comes from the agent’s process, written when the relay has told it that its `received` has arrived: POST, relay, agent, relay, agent, for each alike. In ours the relay has verified and stored the request before it goes out, the agent has verified it again and stored it before it says `received`, and the hub has stored that.',
    `Goal: p50 at most ${RATIO_MAX} × the bare relay’s. It is ${ratio.toFixed(2)} ×: ${ratio <= RATIO_MAX ? 'met' : 'NOT MET'}. Beside one that waits for the disk as often: ${(p50(ours) / p50(durable)).toFixed(2)} ×.`,
  )
}

function p50(times: readonly Times[]): number {
  return percentile(
    times.map(({ ackMs }) => ackMs),
    50,
  )
}

function columns(list: readonly number[]): string[] {
  return [50, 95, 99].map((percent) => millis(percentile(list, percent)))
}

async function ropeway(folder: string): Promise<Contender> {
  const { url } = await startRelayProcess({ dataDir: join(folder, 'relay') })
  const host = await newAgentHost(folder, 'bench', url)
  const { promise: connected, resolve } = Promise.withResolvers<void>()
  const agent = startAgentProcess(host, (note) => note === 'connected' && resolve())
  await connected
  const bytes = byteReader(agent.child.stdout!)
  const connection = await Connection.open(url)
  return {
    name: 'Ropeway (relay in Miniflare, agent)',
    async send() {
      const times = await timed(connection, await signedHook(url, host.name, STACK), bytes)
      await bytes.next() // the roll is over, and nothing of it is on its way any more
      return times
    },
  }
}

async function bare(name: string, folder?: string): Promise<Contender> {
  const [relay, agent] = [startPeer('bare.ts'), startPeer('bare.ts')]
  const logIn = (file: string) => (folder === undefined ? {} : { log: join(folder, file) })
  const url = await relay.call<string>('relay', logIn('bare-relay.log'))
  await agent.call('agent', { url, ...logIn('bare-agent.log') })
  const bytes = byteReader(agent.child.stdout!)
  const connection = await Connection.open(url)
  const request = requestBytes('POST', `${url}/hook`, { 'content-type': 'application/json' }, BODY)
  return { name, send: () => timed(connection, request, bytes) }
}

async function timed(
  connection: Connection,
  request: Buffer,
  bytes: { next(): Promise<number> },
): Promise<Times> {
  const startedAt = performance.now()
  const answered = connection.send(request).then(({ status, body }) => {
    if (status !== 202) throw new Error(`answered ${status}: ${body}`)
    return performance.now()
  })
  const [answeredAt, ackedAt] = await Promise.all([answered, bytes.next()])
  return { answerMs: answeredAt - startedAt, ackMs: ackedAt - startedAt }
}
