// A container's log as the engine streams it, and the end of it as text.

import { lastLines } from '../command.ts'

/** Of a longer log the end is kept: some 40,000 requests of an nginx, more than a verdict on an instance needs. */
export const LOG_BYTES_MAX = 8 * 1024 * 1024

/**
 * As many lines as those bytes have in an access log. Told how many of the last ones are of interest, the engine looks for a time from the
 * end of its log, else from the beginning: 1.3 s against 12 in one of 900,000 lines, on a busy machine.
 */
export const LOG_ENTRIES_MAX = 50_000

const HEADER_BYTES = 8

/** The end of a log; of one that is too long, from the beginning of a line. Without a terminal, each piece of it is framed. */
export async function endOfLog(stream: AsyncIterable<Buffer>, isTerminal: boolean): Promise<string> {
  // What is too old goes by the whole half: shifting it out piece by piece takes ever longer.
  let older: Buffer[] = []
  let newer: Buffer[] = []
  let newerBytes = 0
  for await (const piece of isTerminal ? stream : payloads(stream)) {
    newer.push(piece)
    newerBytes += piece.length
    if (newerBytes < LOG_BYTES_MAX) continue
    older = newer
    newer = []
    newerBytes = 0
  }
  const bytes = Buffer.concat([...older, ...newer])
  if (bytes.length <= LOG_BYTES_MAX) return bytes.toString('utf8')
  const end = bytes.subarray(-LOG_BYTES_MAX)
  return end.subarray(end.indexOf('\n') + 1).toString('utf8')
}

/** The lines of a whole log. */
export async function linesOfLog(bytes: Buffer, isTerminal: boolean): Promise<string[]> {
  return lastLines(await endOfLog(only(bytes), isTerminal)).filter((line) => line !== '')
}

async function* only(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
}

// The framing of a log without a terminal: 1 byte stream, 3 zero, 4 length, then the payload. A frame may come in several chunks, and a
// chunk may hold hundreds of them, which are handed on as one.
async function* payloads(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, chunk])
    const found: Buffer[] = []
    let at = 0
    while (at + HEADER_BYTES <= rest.length) {
      const end = at + HEADER_BYTES + rest.readUInt32BE(at + 4)
      if (end > rest.length) break
      found.push(rest.subarray(at + HEADER_BYTES, end))
      at = end
    }
    rest = rest.subarray(at)
    if (found.length > 0) yield Buffer.concat(found)
  }
}
