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
  // Where the text after each header may end: at the next one, or with the output.
  const ends = [...headers.slice(1).map(({ start }) => start), text.length]
  const files: ConfigFile[] = []
  let index = 0
  for (let header = headers[index]; header; header = headers[index]) {
    const { path, body } = header
    const whole = ends.findIndex((end) => end > body && parseTree(text.slice(body, end)).isWhole)
    const last = Math.max(whole, index)
    const file = text.slice(body, ends[last])
    files.push({ path, text: file.endsWith('\n') ? file.slice(0, -1) : file })
    index = last + 1
  }
  return files
}
