// How an nginx was started, by the title of its master process. To be asked about its configuration, nginx must be started alike. Pure.

import type { Process } from '../ports.ts'

const TITLE = 'nginx: master process '
/** Those that decide which configuration is read: the file, the prefix, and directives of the command line. */
const FLAGS: readonly string[] = ['-c', '-p', '-g']

export function isMaster({ title }: Process): boolean {
  return title.startsWith(TITLE.trimEnd())
}

/**
 * The program and the arguments by which nginx reads the same configuration. The title has the arguments one after the other without quotes, so
 * a value ends where the next flag begins.
 */
export function commandOf({ title }: Process): string[] {
  const [program = '', ...words] = title.slice(TITLE.length).split(' ')
  const args: string[] = []
  let isKept = false
  for (const word of words) {
    if (/^-[a-zA-Z?]$/.test(word)) {
      isKept = FLAGS.includes(word)
      if (isKept) args.push(word, '')
    } else if (isKept) args.push([args.pop(), word].filter(Boolean).join(' '))
  }
  // nginx may have been started by a relative path, from a folder that is not known here.
  return [program.startsWith('/') ? program : 'nginx', ...args]
}
