// What became of every request, as three witnesses tell it: the relay over HTTP, the agent's journal, and the file of the rolls. Where they
// disagree, something was lost, repeated or made up.

import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isFinal, nextStatus, type Status } from '../../shared/deploy.ts'
import type { ToldEvent, LoggedEvent } from '../../shared/events.ts'
import type { World } from './world.ts'

export interface Asked {
  readonly name: string
  readonly stack: string
  readonly id: string
}

export interface Log {
  readonly status: string
  readonly events: readonly LoggedEvent[]
}

export interface Evidence {
  /** By the id of the deploy. */
  readonly relay: ReadonlyMap<string, Log>
  readonly journal: ReadonlyMap<string, Log>
  readonly rolls: readonly string[]
}

export async function gather(world: World, dataDir = world.agentData): Promise<Evidence> {
  const relay = new Map<string, Log>()
  for (const stack of world.stacks)
    for (const { id, status } of await world.deploys(stack))
      relay.set(id, { status, events: await world.events(id) })
  return { relay, journal: readJournal(dataDir), rolls: world.rolls() }
}

/** The agent must have ended: its journal is for one process alone. */
export function readJournal(dataDir: string): Map<string, Log> {
  const db = new DatabaseSync(join(dataDir, 'journal.sqlite'), { readOnly: true })
  try {
    const events = db.prepare('SELECT seq, at, body FROM events WHERE deploy = ? ORDER BY seq')
    const deploys = db.prepare('SELECT id, status FROM deploys').all()
    return new Map(
      deploys.map(({ id, status }) => [
        String(id),
        {
          status: String(status),
          events: events.all(String(id)).map(({ seq, at, body }) => ({
            seq: Number(seq),
            at: Number(at),
            event: JSON.parse(String(body)) as ToldEvent,
          })),
        },
      ]),
    )
  } finally {
    db.close()
  }
}

/** Everything that is not as it must be once all is over, for the requests that the relay said it has. */
export function faultsIn({ relay, journal, rolls }: Evidence, asked: readonly Asked[]): string[] {
  const count = (fact: string) => rolls.filter((line) => line === fact).length
  const faults: string[] = []
  const expect = (isSo: boolean, fault: string) => void (isSo || faults.push(fault))

  for (const { name, id } of asked) {
    const seen = relay.get(id)
    if (!seen) {
      faults.push(`${name}: accepted, and lost`)
      continue
    }
    const { status, events } = seen
    faults.push(...logFaults(events).map((fault) => `${name}: ${fault}`))
    expect(
      statusBy(events) === status,
      `${name}: its log ends as ${statusBy(events)}, its status is ${status}`,
    )
    expect(isFinal(status as Status), `${name}: not over, ${status}`)

    const starts = count(`start ${name}`)
    expect(starts <= 1, `${name}: started ${starts} times`)
    expect(status !== 'succeeded' || starts === 1, `${name}: succeeded without a start`)
    expect(
      status !== 'succeeded' || count(`end ${name}`) === 1,
      `${name}: succeeded, and did not come to its end`,
    )
    expect(count(`end ${name}`) <= starts, `${name}: ended, and never started`)

    const own = journal.get(id)
    expect(own !== undefined || starts === 0, `${name}: ran, and the agent does not know it`)
    if (!own) continue
    expect(own.status === status, `${name}: ${status} for the relay, ${own.status} for the agent`)
    expect(
      own.events.every(({ seq }, index) => seq === index + 1),
      `${name}: the journal has holes: ${own.events.map(({ seq }) => seq).join()}`,
    )
    // The relay's first is its own, `accepted`; all others are the agent's, one for one.
    const [, ...rest] = events
    const isTrimmed = rest[0]?.event.type === 'gap'
    const told = isTrimmed ? rest.slice(1) : rest
    const kept = isTrimmed ? own.events.slice(-told.length) : own.events
    expect(
      told.at(-1)?.seq === own.events.length + 1,
      `${name}: the relay counts to ${told.at(-1)?.seq}, not ${own.events.length + 1}`,
    )
    expect(
      JSON.stringify(told.map(bare)) === JSON.stringify(kept.map(bare)),
      `${name}: the relay was told\n${JSON.stringify(told)}\nand the agent did\n${JSON.stringify(kept)}`,
    )
  }

  const names = new Set(asked.map(({ name }) => name))
  const ids = new Set(asked.map(({ id }) => id))
  for (const line of rolls)
    expect(names.has(line.slice(line.indexOf(' ') + 1)), `nobody asked for what ran: ${line}`)
  for (const id of [...relay.keys(), ...journal.keys()]) expect(ids.has(id), `nobody asked for deploy ${id}`)
  return faults
}

function bare({ at, event }: LoggedEvent): object {
  return { at, event }
}

/** What is wrong with a log as a viewer gets it: counted from 1 without a hole, except where it says itself that it is not whole. */
export function logFaults(events: readonly LoggedEvent[]): string[] {
  let next = 1
  const faults: string[] = []
  for (const { seq, event } of events) {
    const from = event.type === 'gap' ? event.from : seq
    if (from !== next) faults.push(`event ${from} where ${next} should be`)
    next = seq + 1
  }
  const finals = events.filter(({ event }) => isFinal(statusAfter(event)))
  if (finals.length !== 1) faults.push(`${finals.length} final events`)
  if (events[0]?.event.type !== 'accepted') faults.push(`begins with ${events[0]?.event.type}`)
  return faults
}

function statusBy(events: readonly LoggedEvent[]): string {
  const last = events.at(-1)
  return last ? statusAfter(last.event) : 'nothing'
}

function statusAfter(event: ToldEvent): Status {
  return nextStatus('running', event)
}
