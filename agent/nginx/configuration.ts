// nginx's configuration as its files say it: by `nginx -T`, which checks it too. nginx refuses all of it where a name resolves to nothing. Where that
// is a crashed instance's name, which a roll is to mend, the files are read one by one.

import { dirname, resolve } from 'node:path/posix'
import { Problem } from '../../shared/problems.ts'
import { parseDump, type ConfigFile } from './config/dump.ts'
import { commandOf } from './command.ts'
import type { Place } from './place.ts'
import { workersIn } from './reload.ts'
import { parseTree, type Directive } from './config/tokens.ts'

/** More files than any configuration has: an include that goes round in circles ends here. */
const FILES_MAX = 1000

/**
 * Every file that nginx reads, as it was started, the main one first. `stopped`: names of containers that do not run. Throws `nginx-refused`,
 * `nginx-not-running`.
 */
export async function readConfiguration(
  place: Place,
  stopped: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<ConfigFile[]> {
  const { master } = await workersIn(place, signal)
  const dump = await place.exec([...commandOf(master), '-T'], signal)
  if (dump.exitCode === 0) return parseDump(dump.stdout)
  const unresolved = /host not found in upstream "([^":]+)/.exec(dump.stderr)?.[1]
  const main = /configuration file (\/.*) test failed/.exec(dump.stderr)?.[1]
  if (unresolved !== undefined && main !== undefined && stopped.has(unresolved))
    return await readFiles(place, main, signal)
  throw new Problem('nginx-refused', `nginx in ${place.name} refuses its configuration`, {
    log: dump.stderr.trim().split('\n').slice(-5),
    cure: 'mend the file that it names; nothing was changed',
  })
}

async function readFiles(place: Place, main: string, signal: AbortSignal): Promise<ConfigFile[]> {
  const files = new Map<string, ConfigFile>()
  const waiting = [main]
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (files.has(path) || files.size >= FILES_MAX) continue
    const text = await place.readFile(path, signal)
    files.set(path, { path, text })
    for (const pattern of includesIn(parseTree(text).directives))
      waiting.push(...(await expand(place, resolve(dirname(main), pattern), signal)))
  }
  return [...files.values()]
}

function includesIn(directives: readonly Directive[]): string[] {
  return directives.flatMap(({ name, words, block }) => {
    if (block) return includesIn(block)
    return name === 'include' ? [words[1]?.value ?? ''] : []
  })
}

async function expand(place: Place, pattern: string, signal: AbortSignal): Promise<string[]> {
  if (!/[*?[]/.test(pattern)) return [pattern]
  const { stdout } = await place.exec(['sh', '-c', LIST, 'sh', pattern], signal)
  return stdout.split('\n').filter(Boolean)
}

/** Prints the files that a pattern means, a line each. */
export const LIST = 'IFS=; for file in $1; do if [ -f "$file" ]; then echo "$file"; fi; done'
