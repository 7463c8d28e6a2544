// Every directive of a configuration with the blocks around it, across the files that include each other.

import { dirname, resolve } from 'node:path/posix'
import type { ConfigFile } from './dump.ts'
import { lineAt, parseTree, type Directive } from './tokens.ts'

/** A directive with its file and the blocks around it, outermost first and across includes. */
export interface Located {
  readonly file: ConfigFile
  readonly directive: Directive
  readonly within: readonly Directive[]
}

/**
 * All directives, in the order in which nginx reads them; the first file is the one that includes the others. A file that none of them includes is
 * read as if `http` did: the caller may have only that file.
 */
export function directivesOf(files: readonly ConfigFile[]): Located[] {
  const trees = new Map(files.map((file) => [file, parseTree(file.text).directives]))
  const directory = dirname(files[0]?.path ?? '/')
  const located: Located[] = []
  const seen = new Set<ConfigFile>()

  const visit = (
    file: ConfigFile,
    directives: readonly Directive[],
    within: Directive[],
    trail: ConfigFile[],
  ) => {
    seen.add(file)
    for (const directive of directives) {
      located.push({ file, directive, within })
      if (directive.block) visit(file, directive.block, [...within, directive], trail)
      if (directive.name !== 'include') continue
      const isIncluded = globOf(resolve(directory, directive.words[1]?.value ?? ''))
      for (const other of files)
        if (isIncluded(other.path) && !trail.includes(other))
          visit(other, trees.get(other) ?? [], within, [...trail, other])
    }
  }
  for (const file of files) if (!seen.has(file)) visit(file, trees.get(file) ?? [], [], [file])
  return located
}

/** The directives directly in a block, those of included files too; outside all blocks where `block` is undefined. */
export function directlyIn(located: readonly Located[], block: Directive | undefined): Directive[] {
  return located.filter(({ within }) => within.at(-1) === block).map(({ directive }) => directive)
}

/** `file:line directive` */
export function describeLocated({ file, directive }: Located): string {
  const words = directive.words.map(({ value }) => value).join(' ')
  return `${file.path}:${lineAt(file.text, directive.start)} ${words}`
}

// As glob(3): a star stops at a slash.
function globOf(pattern: string): (path: string) => boolean {
  const source = pattern.replace(/\[!?[^\]/]+\]|[^]/g, (part) => {
    if (part === '*') return '[^/]*'
    if (part === '?') return '[^/]'
    if (part.length > 1) return part.replace('[!', '[^').replaceAll('\\', '\\\\')
    return part.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&')
  })
  const expression = new RegExp(`^${source}$`)
  return (path) => expression.test(path)
}
