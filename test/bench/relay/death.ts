// A relay that dies, and one that freezes: when the agent notices, and when it is back.

import { join } from 'node:path'
import { SILENCE_MS_MAX } from '../../../shared/limits.ts'
import { until } from '../../support/until.ts'
import { say } from '../lifetime.ts'
import { median, millis, printTable, printText, seconds } from '../report.ts'
import { newAgentHost, startAgentProcess, type AgentHost } from './agent.ts'
import type { Peer } from './processes.ts'
import { startRelayProcess, temporaryFolder, type RelayProcess } from './relay.ts'

const ROUNDS = 10
const ROUNDS_QUICK = 2
const CONNECTED_MS_MAX = 60_000

interface Round {
  readonly noticeMs: number
  /** From the kill until the next relay listened. */
  readonly deadMs: number
  /** From then until the agent was connected. */
  readonly backMs: number
}

export async function measureDeath(isQuick: boolean): Promise<void> {
  const folder = await temporaryFolder('death')
  // A minute in which nothing happens, so the rounds go on beside it.
  const frozen = isQuick ? undefined : freeze(join(folder, 'frozen'))
  frozen?.catch(() => {})
  const rounds = await dieAgain(join(folder, 'killed'), isQuick ? ROUNDS_QUICK : ROUNDS)
  if (frozen) say('waiting until the agent of the frozen relay notices')
  const frozenMs = await frozen

  printTable(
    `A dead relay, and its agent (${rounds.length} rounds)`,
    ['', 'p50', 'max'],
    [
      ['killed: the agent notices', ...columns(rounds.map(({ noticeMs }) => noticeMs))],
      ['killed: the next relay listens', ...columns(rounds.map(({ deadMs }) => deadMs))],
      ['from then until the agent is connected', ...columns(rounds.map(({ backMs }) => backMs))],
      ...(frozenMs === undefined ? [] : [['frozen: the agent notices', millis(frozenMs), 'once']]),
    ],
  )
  printText(
    'Killed: SIGKILL of the relay’s process group, and at once another relay with its data on its port. Each round has an agent that was just started, for one that loses its relay every few seconds waits longer and longer.',
    `Frozen: SIGSTOP just after the agent has connected, so nothing closes the socket. By design it takes ${SILENCE_MS_MAX / 1000} s from the last frame, that is, as late as it can be.`,
  )
}

function columns(list: readonly number[]): string[] {
  return [millis(median(list)), millis(Math.max(...list))]
}

/** What an agent has noted, and when. */
class Notes {
  readonly #moments: { note: string; at: number }[] = []

  add(note: string, at: number): void {
    this.#moments.push({ note, at })
  }

  /** The first moment of a note that came after another moment. */
  next(note: string, after: number, msMax = CONNECTED_MS_MAX): Promise<number> {
    return until(
      `the agent is ${note}`,
      () => this.#moments.find((moment) => moment.note === note && moment.at > after)?.at,
      msMax,
    )
  }
}

async function connected(host: AgentHost): Promise<{ agent: Peer; notes: Notes }> {
  const notes = new Notes()
  const agent = startAgentProcess(host, (note, at) => notes.add(note, at))
  await notes.next('connected', 0)
  return { agent, notes }
}

async function dieAgain(folder: string, count: number): Promise<Round[]> {
  const dataDir = join(folder, 'relay')
  let relay: RelayProcess = await startRelayProcess({ dataDir })
  const port = Number(new URL(relay.url).port)
  const host = await newAgentHost(folder, 'bench', relay.url)
  const rounds: Round[] = []
  while (rounds.length < count) {
    const { agent, notes } = await connected(host)
    const killedAt = await relay.kill()
    relay = await startRelayProcess({ dataDir, port })
    const listensAt = performance.now()
    const backAt = await notes.next('connected', killedAt)
    rounds.push({
      noticeMs: (await notes.next('lost', killedAt)) - killedAt,
      deadMs: listensAt - killedAt,
      // The relay listens a little before its word for it arrives here.
      backMs: Math.max(0, backAt - listensAt),
    })
    say(`round ${rounds.length}: back ${seconds(backAt - killedAt)} after the kill`)
    await agent.stop()
  }
  await relay.stop()
  return rounds
}

async function freeze(folder: string): Promise<number> {
  const relay = await startRelayProcess({ dataDir: join(folder, 'relay') })
  const host = await newAgentHost(folder, 'frozen', relay.url)
  const { agent, notes } = await connected(host)
  relay.signal('SIGSTOP')
  const frozenAt = performance.now()
  const noticedAt = await notes.next('lost', frozenAt, 2 * SILENCE_MS_MAX)
  await relay.kill()
  await agent.stop()
  return noticedAt - frozenAt
}
