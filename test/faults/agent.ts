// The agent as `ropeway agent` runs it, with a roll that is a script. What it did is in a file that only grows, one line and one write for
// each fact, so that a SIGKILL leaves the evidence.
//
//     node test/faults/agent.ts CONFIG DATA ROLLS
//
// A request's `reason` is its name there. A roll waits as long as there is a file ROLLS.hold-NAME, its step 1 for one called
// ROLLS.hold-NAME.1.

import { appendFileSync, existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { startAgent } from '../../agent/daemon/agent.ts'
import { loadConfig } from '../../agent/config/config.ts'
import { openIdentity } from '../../agent/identity/identity.ts'
import { Journal } from '../../agent/daemon/journal/journal.ts'
import type { LinkTiming } from '../../agent/daemon/link/link.ts'
import type { Log } from '../../agent/log.ts'
import { writeListing } from '../../agent/notify/listing.ts'
import { noticesOf } from '../../agent/notify/notifier.ts'
import type { Ports } from '../../agent/roll/ports.ts'
import { endedBy } from '../../agent/roll/ending.ts'
import { reportOf } from '../../shared/problems.ts'
import { FakeStuckNotes } from '../support/world/memory.ts'
import { seeded } from '../support/random.ts'

const ROLL_MS_MAX = 300
const HOLD_POLL_MS = 10

const [path = '', data = '', rolls = ''] = process.argv.slice(2)
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())

// Only what a test would have to wait for; how long the agent keeps away when it was replaced or refused stays as it is.
const { waitMsMax, ...timing } = JSON.parse(process.env['FAULTS_TIMING'] ?? '{}') as Partial<LinkTiming> & {
  waitMsMax?: number
}

/** How long a step takes. */
const random = seeded(Number(process.env['FAULTS_SEED'] ?? 0))

const note = (fact: string) => appendFileSync(rolls, `${fact}\n`)

const config = await loadConfig(path, process.env)
const log: Log = (level, message) => console.error(`${level}: ${message}`)
const journal = new Journal(data, noticesOf(config, log))
try {
  await startAgent({
    config,
    identity: openIdentity(data),
    journal,
    ports: {} as Ports,
    roll: async (stack, request, _ports, { emit, remember, signal }) => {
      const name = request.reason ?? 'nameless'
      // As the real roll: both are in the journal before anything is touched.
      emit({ type: 'started' })
      remember(name)
      note(`start ${name}`)
      const steps = [{ kind: 'pull', image: 'hello' } as const, { kind: 'verify' } as const]
      emit({ type: 'planned', plan: { stack: stack.name, upstream: 'app', instances: ['app1'], steps } })
      try {
        for (const step of steps.keys()) {
          emit({ type: 'step-started', step })
          await sleep(random.from(0, ROLL_MS_MAX / steps.length), undefined, { signal })
          while ([name, `${name}.${step}`].some((held) => existsSync(`${rolls}.hold-${held}`)))
            await sleep(HOLD_POLL_MS, undefined, { signal })
          emit({ type: 'step-finished', step, ms: 1, facts: { roll: name } })
        }
        note(`end ${name}`)
        emit({ type: 'succeeded', ms: 1, changed: true, services: { app1: 'hello' } })
      } catch (error) {
        if (!signal.aborted) throw error
        note(`stop ${name}`)
        emit(endedBy(reportOf(signal.reason), 1))
      }
    },
    releasesOf: (stack) => journal.releasesOf(stack),
    stuckOf: () => new FakeStuckNotes(),
    showNotices: (stack, listing) => writeListing(data, stack, listing),
    recover: async (_stack, _request, record, _ports, { emit }) => {
      if (record !== undefined) note(`recover ${record}`)
      emit({ type: 'failed', ms: 1, problem: { code: 'interrupted', message: 'undone' } })
    },
    version: 'faults',
    log,
    onConnected: () => console.log('agent connected'),
    signal: stop.signal,
    timing: {
      ...timing,
      ...(waitMsMax === undefined
        ? {}
        : { wait: (ms, reason) => (reason === 'lost' ? Math.min(ms, waitMsMax) : ms) }),
    },
  })
} finally {
  journal.close()
}
