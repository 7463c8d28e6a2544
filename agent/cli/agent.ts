// `ropeway agent`: the process on the docker host. Its config is checked whole before it touches anything.

import { startAgent } from '../daemon/agent.ts'
import { realPorts } from '../adapters/index.ts'
import { findConfig, loadConfig, type StackConfig } from '../config/config.ts'
import { openIdentity } from '../identity/identity.ts'
import { Journal } from '../daemon/journal/journal.ts'
import { stuckNotesOf, warnOfStuck } from '../adapters/stuck-notes.ts'
import type { Log } from '../log.ts'
import { writeListing } from '../notify/listing.ts'
import { noticesOf } from '../notify/notifier.ts'
import type { Ports } from '../roll/ports.ts'
import { timeOf } from './progress.ts'
import { recover } from '../roll/recover.ts'
import { roll } from '../roll/roll.ts'
import { EXIT, print, type ConfigOptions, type Io } from './io.ts'

export async function run(options: ConfigOptions, io: Io): Promise<number> {
  const config = await loadConfig(findConfig(options.config), io.env)
  const identity = openIdentity(options.data)
  // A host that cannot sign finds out now.
  await identity.signingKey()
  const log: Log = (level, message) => {
    const at = Date.now()
    const line = options.json ? JSON.stringify({ at, level, message }) : `${timeOf(at)} ${message}`
    io.stderr.write(`${line}\n`)
  }
  const journal = new Journal(options.data, noticesOf(config, log))
  const ports = realPorts()
  try {
    warnOfStuck(
      options.data,
      config.stacks.map(({ name }) => name),
      log,
    )
    await freeLocks(config.stacks, ports)
    await startAgent({
      config,
      identity,
      journal,
      ports,
      releasesOf: (stack) => journal.releasesOf(stack, (message) => log('warn', message)),
      stuckOf: (stack) => stuckNotesOf(options.data, stack),
      showNotices: (stack, listing) => writeListing(options.data, stack, listing),
      roll,
      recover,
      version: io.version,
      log,
      onConnected: () =>
        print(
          io,
          options.json
            ? JSON.stringify({ connected: config.relay, host: config.host })
            : `agent connected to ${config.relay} as ${config.host}`,
        ),
      signal: io.signal,
    })
  } finally {
    journal.close()
  }
  return EXIT.success
}

// What an agent that was killed has left of its locks. One that somebody holds stays.
async function freeLocks(stacks: readonly StackConfig[], { locks }: Ports): Promise<void> {
  for (const stack of stacks)
    await locks.take(stack, 'an agent that starts').then(
      (lock) => lock.release(),
      () => {},
    )
}
