// Where the lines of an access log really are: nginx's standard output, as its official image has it, or a file in its container.

import type { Unusable } from '../roll/proxy.ts'
import { decoded } from './config/bytes.ts'
import type { Place } from './place.ts'

/** How much of a log is read: its end, some 40,000 requests. That is enough for any verdict, and is read and parsed in a fraction of a second. */
const LOG_BYTES_MAX = 8 * 1024 * 1024
/** How many links are followed, as a kernel has a limit too. Honest logs have one or two. */
const LINKS_MAX = 8

const OUTPUT = ['/dev/stdout', '/dev/fd/1', '/proc/self/fd/1', '/proc/1/fd/1']
const NOWHERE = ['/dev/stderr', '/dev/fd/2', '/proc/self/fd/2', '/proc/1/fd/2', '/dev/null']

export interface LogSource {
  /** What was written since it was opened. */
  read(signal: AbortSignal): Promise<string | Unusable>
}

/** A log as it is written from now on. `now`: milliseconds since 1970. */
export async function openLog(
  place: Place,
  path: string,
  now: number,
  signal: AbortSignal,
): Promise<LogSource | Unusable> {
  const target = await follow(place, path, signal)
  if (OUTPUT.includes(target)) return { read: async (inTime) => await place.outputSince(now, inTime) }
  if (NOWHERE.includes(target)) return { unusable: `the access log ${path} goes to ${target}` }

  const first = await sizeOf(place, path, signal)
  if ('unusable' in first) return first
  let start = first
  return {
    async read(inTime) {
      const size = await sizeOf(place, path, inTime)
      if ('unusable' in size) return size
      // Somebody has rotated the log, so all of it is new.
      if (size.inode !== start.inode || size.bytes < start.bytes) start = { inode: size.inode, bytes: 0 }
      const from = Math.max(start.bytes, size.bytes - LOG_BYTES_MAX)
      return from === size.bytes ? '' : await readPart(place, path, from, size.bytes - from, inTime)
    },
  }
}

// Follows the log's links by their names. The engine would follow `/dev/stdout` to the output of the program that asks.
async function follow(place: Place, path: string, signal: AbortSignal): Promise<string> {
  let target = path
  for (let links = 0; links < LINKS_MAX && !OUTPUT.includes(target); links += 1) {
    const { exitCode, stdout } = await place.exec(['readlink', target], signal)
    const next = decoded(stdout).trim()
    if (exitCode !== 0 || !next.startsWith('/')) break
    target = next
  }
  return target
}

async function sizeOf(
  place: Place,
  path: string,
  signal: AbortSignal,
): Promise<{ inode: string; bytes: number } | Unusable> {
  const output = await run(place, path, ['stat', '-L', '-c', '%i %s', path], signal)
  if (typeof output !== 'string') return output
  const [, inode = '', bytes = ''] = /^(\d+) (\d+)\s*$/.exec(output) ?? []
  if (inode === '') return { unusable: `the size of the access log ${path} is unknown` }
  return { inode, bytes: Number(bytes) }
}

// The log grows on, so `head` stops where `stat` saw its end.
async function readPart(
  place: Place,
  path: string,
  from: number,
  bytes: number,
  signal: AbortSignal,
): Promise<string | Unusable> {
  const script = 'tail -c "+$1" "$3" | head -c "$2"'
  return await run(place, path, ['sh', '-c', script, 'sh', `${from + 1}`, `${bytes}`, path], signal)
}

async function run(
  place: Place,
  path: string,
  argv: readonly string[],
  signal: AbortSignal,
): Promise<string | Unusable> {
  const { exitCode, stdout, stderr } = await place.exec(argv, signal)
  if (exitCode === 0) return decoded(stdout)
  const why = (stderr.trim() || decoded(stdout).trim()).split('\n')[0] ?? ''
  return { unusable: `the access log ${path} cannot be read in ${place.name}: ${why}` }
}
