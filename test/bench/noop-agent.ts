// The agent as `ropeway agent` runs it, with a roll that does nothing: the way to the roll is what is measured. It writes a byte to
// file descriptor 3 once its first event is in the journal, and another when the roll is over.

import { writeSync } from 'node:fs'
import { startAgent } from '../../agent/daemon/agent.ts'
import { realPorts } from '../../agent/adapters/index.ts'
import { loadConfig } from '../../agent/config/config.ts'
import { openIdentity } from '../../agent/identity/identity.ts'
import { Journal } from '../../agent/daemon/journal/journal.ts'
import { FakeStuckNotes } from '../support/world/memory.ts'

const [path = '', data = ''] = process.argv.slice(2)
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())

const journal = new Journal(data)
await startAgent({
  config: await loadConfig(path, process.env),
  identity: openIdentity(data),
  journal,
  ports: realPorts(),
  roll: async (_stack, _request, _ports, { emit }) => {
    emit({ type: 'started' })
    writeSync(3, 's')
    emit({ type: 'succeeded', ms: 0, changed: false, services: {} })
    writeSync(3, 'e')
  },
  releasesOf: (stack) => journal.releasesOf(stack),
  stuckOf: () => new FakeStuckNotes(),
  showNotices: () => {},
  recover: async () => {},
  version: 'bench',
  log: (level, message) => {
    if (level === 'warn') console.error(message)
  },
  onConnected: () => console.log('connected'),
  signal: stop.signal,
})
journal.close()
