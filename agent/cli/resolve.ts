// `ropeway resolve STACK`: unlocks a stuck stack once it is whole again, or by force. It changes nothing but the note that locks it.

import { reportOf } from '../../shared/problems.ts'
import { stackOf, type StackConfig } from '../config/config.ts'
import { stuckNotesOf } from '../adapters/stuck-notes.ts'
import type { Ports } from '../roll/ports.ts'
import type { findFaults } from '../roll/stuck/consistency.ts'
import { readConfig } from './access.ts'
import { EXIT, print, type ConfigOptions, type Io } from './io.ts'

/** An engine that answers has said all of it in a second or two; one that does not must not hold the command. */
const LOOK_MS_MAX = 60_000

export interface ResolveOptions extends ConfigOptions {
  readonly force?: boolean
}

interface World {
  readonly ports: Ports
  readonly findFaults: typeof findFaults
}

export async function run(
  name: string,
  options: ResolveOptions,
  io: Io,
  load: () => Promise<World> = realWorld,
): Promise<number> {
  const stack = stackOf(await readConfig(options, io), name)
  const notes = stuckNotesOf(options.data, name)
  if (!notes.read()) {
    print(io, options.json ? JSON.stringify({ stack: name, stuck: null }) : `${name} is not stuck`)
    return EXIT.success
  }
  const world = await load()
  // A roll that goes on changes what is looked at, and may leave a note of its own.
  const lock = await world.ports.locks.take(stack, 'ropeway resolve')
  try {
    const note = notes.read()
    const wrong = await faultsOf(stack, note?.record ?? '', world, io.signal)
    const isResolved = wrong.length === 0 || options.force === true
    if (isResolved) notes.clear()
    const since = note && { deploy: note.deploy, at: note.at, why: note.why }
    if (options.json)
      print(io, JSON.stringify({ stack: name, stuck: since ?? null, wrong, resolved: isResolved }))
    else print(io, [...heading(name, since), ...outcome(name, wrong, isResolved)].join('\n'))
    return isResolved ? EXIT.success : EXIT.failed
  } finally {
    await lock.release()
  }
}

async function realWorld(): Promise<World> {
  const [{ realPorts }, whole] = await Promise.all([
    import('../adapters/index.ts'),
    import('../roll/stuck/consistency.ts'),
  ])
  return { ports: realPorts(), findFaults: whole.findFaults }
}

// What cannot be looked at is not known to be whole.
async function faultsOf(
  stack: StackConfig,
  record: string,
  { ports, findFaults: look }: World,
  signal: AbortSignal,
): Promise<string[]> {
  try {
    return await look(stack, ports, AbortSignal.any([signal, AbortSignal.timeout(LOOK_MS_MAX)]), record)
  } catch (error) {
    signal.throwIfAborted()
    return [reportOf(error).message]
  }
}

interface Since {
  readonly deploy: string
  readonly at: number
  readonly why: string
}

function heading(name: string, since: Since | undefined): string[] {
  if (!since) return []
  return [`${name} is stuck since deploy ${since.deploy} (${new Date(since.at).toISOString()}): ${since.why}`]
}

function outcome(name: string, wrong: readonly string[], isResolved: boolean): string[] {
  if (wrong.length === 0) return ['it is whole again: it is unlocked']
  const list = ['still wrong:', ...wrong.map((fault) => `  ${fault}`)]
  if (isResolved) return [...list, 'it is unlocked all the same, by --force']
  return [...list, `it stays locked: repair it, or take it as it is with \`ropeway resolve ${name} --force\``]
}
