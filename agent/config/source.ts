// ropeway.yml as YAML: its value, its syntax faults, and the way from a fault in the value back to the line in the text.

import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
} from 'yaml'
import type { z } from 'zod'

export interface Fault {
  readonly line: number
  /** As `stacks.hello.health.path`; empty for a fault of the text itself. */
  readonly path: string
  readonly message: string
}

type Issue = z.core.$ZodIssue

/** `locate` is undefined when the text is so broken that faults of its value would only mislead. */
export function parseSource(text: string): {
  value: unknown
  faults: Fault[]
  locate: ((issue: Issue) => Fault[]) | undefined
} {
  const counter = new LineCounter()
  const doc = parseDocument(text, { lineCounter: counter, prettyErrors: false })
  const lineAt = (offset: number) => Math.max(1, counter.linePos(offset).line)
  const faults = doc.errors.map((error) => ({
    line: lineAt(error.pos[0]),
    path: '',
    message: error.code === 'DUPLICATE_KEY' ? duplicateKey(text, error.pos[0]) : error.message,
  }))
  if (doc.errors.some((error) => error.code !== 'DUPLICATE_KEY'))
    return { value: undefined, faults, locate: undefined }

  const locate = (issue: Issue): Fault[] => {
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => {
        const at = walk(doc, [...issue.path, key])
        return { line: lineAt(at.offset), path: at.path, message: 'is not a key that Ropeway knows' }
      })
    const at = walk(doc, issue.path)
    return [{ line: lineAt(at.offset), path: at.path, message: messageOf(issue, at.isMissing) }]
  }
  try {
    // An empty file is an empty mapping: the schema then says which keys it lacks.
    return { value: doc.contents === null ? {} : doc.toJS(), faults, locate }
  } catch (error) {
    // An alias of nothing, or of so much that it is meant to do harm: only when it is followed does the parser notice.
    const fault = { line: lineOfAlias(doc, lineAt), path: '', message: (error as Error).message }
    return { value: undefined, faults: [...faults, fault], locate: undefined }
  }
}

/** The first alias that leads nowhere; of the others none is more at fault than the first. */
function lineOfAlias(doc: Document, lineAt: (offset: number) => number): number {
  let offset: number | undefined
  visit(doc, {
    Alias: (_, alias) => {
      offset ??= alias.range?.[0]
      if (alias.resolve(doc)) return undefined
      offset = alias.range?.[0]
      return visit.BREAK
    },
  })
  return lineAt(offset ?? 0)
}

// Down the tree as far as the text goes: a missing key is reported where its mapping is. An index where the text has no list
// (one value stands for a list of one) is no part of the path.
function walk(
  doc: Document,
  path: readonly PropertyKey[],
): { offset: number; path: string; isMissing: boolean } {
  let node: unknown = doc.contents
  let offset = 0
  let isMissing = false
  const names: string[] = []
  for (const segment of path) {
    node = isAlias(node) ? node.resolve(doc) : node
    if (isSeq(node)) {
      const item = node.items[Number(segment)] as Node | undefined
      offset = item?.range?.[0] ?? offset
      node = item
    } else if (typeof segment === 'number') continue
    else {
      const pair = isMap(node)
        ? node.items.find((item) => isScalar(item.key) && item.key.value === segment)
        : undefined
      isMissing = pair === undefined
      offset = (pair?.key as Node | undefined)?.range?.[0] ?? offset
      node = pair?.value
    }
    names.push(String(segment))
  }
  return { offset, path: names.join('.'), isMissing }
}

function messageOf(issue: Issue, isMissing: boolean): string {
  if (isMissing) return 'is missing'
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message
  if (issue.code === 'invalid_type') return `should be ${ARTICLES[issue.expected] ?? issue.expected}`
  return issue.message
}

const ARTICLES: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
}

function duplicateKey(text: string, offset: number): string {
  const key = /^["']?([^"':\s]+)/.exec(text.slice(offset))?.[1] ?? ''
  return `the key ${key} is there twice`
}
