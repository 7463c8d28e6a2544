// What `nginx -T` prints, taken apart into the files that nginx has read.

import { decoded } from './bytes.ts'
import { parseTree } from './tokens.ts'

export interface ConfigFile {
  readonly path: string
  /** One character a byte. */
  readonly text: string
}

/**
 * The files in the output of `nginx -T`, byte for byte. nginx writes `# configuration file PATH:`, the file, and a newline of
 * its own; what it says on stderr may come before and after.
 *
 * A comment of the user may look like such a header. It is one only where the text before it ends with a newline of nginx's
 * and nginx would take it for a whole file. What still slips through (such a comment between two blocks) cuts its file in
 * two: no half equals the file on the host, and whoever compares them before an edit refuses it.
 */
export function parseDump(output: string): ConfigFile[] {
  const text = output.replace(/(?<=\n)(?:nginx: [^\n]*(?:\n|$))+$/, '')
  const headers = [...text.matchAll(/^# configuration file (\/[^\n]*):\n/gm)].map((match) => ({
    path: decoded(match[1] ?? ''),
    start: match.index,
    body: match.index + match[0].length,
  }))
  const files: ConfigFile[] = []
  for (let index = 0; index < headers.length;) {
    const header = headers[index]
    if (!header) break
    const isEnd = (end: number) => end > header.body && parseTree(text.slice(header.body, end)).isWhole
    const found = headers.findIndex((next, at) => at > index && isEnd(next.start))
    const isLast = found < 0 && isEnd(text.length)
    const next = found >= 0 ? found : isLast ? headers.length : index + 1
    const body = text.slice(header.body, headers[next]?.start)
    files.push({ path: header.path, text: body.endsWith('\n') ? body.slice(0, -1) : body })
    index = next
  }
  return files
}
