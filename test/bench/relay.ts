// The relay: what it takes, how fast it hands over, what ten thousand hosts weigh, what its death costs, and what Cloudflare would bill.
// node test/bench/relay.ts [accepts] [acks] [idle] [death] [rows] [--quick]: all of them unless some are named.

import { parseArgs } from 'node:util'
import { bench } from './lifetime.ts'
import { measureAccepts } from './relay/accepts.ts'
import { measureAcks } from './relay/acks.ts'
import { measureDeath } from './relay/death.ts'
import { measureIdle } from './relay/idle.ts'
import { measureRows } from './relay/rows.ts'

const FIGURES = {
  accepts: measureAccepts,
  acks: measureAcks,
  idle: measureIdle,
  death: measureDeath,
  rows: measureRows,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  // Of `npm run bench` as a whole, --rounds is for the others.
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
})

await bench(async () => {
  const known = Object.entries(FIGURES)
  const unknown = positionals.filter((name) => !Object.hasOwn(FIGURES, name))
  if (unknown.length > 0)
    throw new Error(`no figure ${unknown.join(', ')}: there are ${known.map(([name]) => name).join(', ')}`)
  // One after the other: each has the machine to itself.
  for (const [name, measure] of known)
    if (positionals.length === 0 || positionals.includes(name)) await measure(values.quick)
})
