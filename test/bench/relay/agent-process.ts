// The agent as `ropeway agent` runs it, with a roll that does nothing. It writes `s` to stdout when the hub has stored its `received`,
// `e` when the hub has stored the end, and notes `connected` and `lost`.

import { writeSync } from 'node:fs'
import { realPorts } from '../../../agent/adapters/index.ts'
import { startAgent } from '../../../agent/daemon/agent.ts'
import { loadConfig } from '../../../agent/config/config.ts'
import { openIdentity } from '../../../agent/identity/identity.ts'
import { Journal } from '../../../agent/daemon/journal/journal.ts'
import { note, serve } from './processes.ts'
import { FakeStuckNotes } from '../../support/world/memory.ts'

/** Of the nothing roll: received, started, succeeded. */
const LAST_SEQ = 3

const [config = '', data = ''] = process.argv.slice(2)
const stop = new AbortController()
const heard = new Map<string, number>()

class WatchedJournal extends Journal {
  override acknowledge(id: string, seq: number): void {
    const before = heard.get(id) ?? 0
    heard.set(id, seq)
    if (before < 1) writeSync(1, 's')
    super.acknowledge(id, seq)
    if (before < LAST_SEQ && seq >= LAST_SEQ) writeSync(1, 'e')
  }
}

const journal = new WatchedJournal(data)
const ended = startAgent({
  config: await loadConfig(config, process.env),
  identity: openIdentity(data),
  journal,
  ports: realPorts(),
  roll: async (_stack, _request, _ports, { emit }) => {
    emit({ type: 'started' })
    emit({ type: 'succeeded', ms: 0, changed: false, services: {} })
  },
  releasesOf: (stack) => journal.releasesOf(stack),
  stuckOf: () => new FakeStuckNotes(),
  showNotices: () => {},
  recover: async () => {},
  version: 'bench',
  log: (level, message) => {
    // The only word that the agent has for it.
    if (message.startsWith('no connection to ')) note('lost')
    else if (level === 'warn') console.error(message)
  },
  onConnected: () => note('connected'),
  signal: stop.signal,
})

serve({}, async () => {
  stop.abort()
  await ended
  journal.close()
})
