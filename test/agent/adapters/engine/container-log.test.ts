// The end of a log, out of the frames in which the engine sends it.

import { expect, test } from 'vitest'
import { endOfLog, linesOfLog, LOG_BYTES_MAX } from '../../../../agent/adapters/engine/container-log.ts'

function framed(text: string): Buffer {
  const payload = Buffer.from(text)
  const header = Buffer.alloc(8)
  header[0] = 1
  header.writeUInt32BE(payload.length, 4)
  return Buffer.concat([header, payload])
}

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

test.each([1, 3, 8, 9, 1000])('frames that come in pieces of %i bytes', async (size) => {
  const bytes = Buffer.concat(['grün\n', '', 'weiß\n'].map(framed))
  expect(await endOfLog(inPieces(bytes, size), false)).toBe('grün\nweiß\n')
})

test('a terminal’s log has no frames', async () => {
  expect(await endOfLog(inPieces(Buffer.from('grün\r\n'), 1), true)).toBe('grün\r\n')
})

test('of a log that is too long the end is kept, from the beginning of a line', async () => {
  const line = `GET /${'x'.repeat(100)} é\n`
  // In whole thousands, as they come.
  const count = 1000 * Math.ceil((1.5 * LOG_BYTES_MAX) / line.length / 1000)
  async function* lines() {
    for (let n = 0; n < count; n += 1000)
      yield Buffer.concat(Array.from({ length: 1000 }, (_, index) => framed(`${n + index} ${line}`)))
  }
  const end = await endOfLog(lines(), false)
  expect(Buffer.byteLength(end)).toBeLessThanOrEqual(LOG_BYTES_MAX)
  expect(Buffer.byteLength(end)).toBeGreaterThan(LOG_BYTES_MAX - 150)
  expect(end).toMatch(/^\d+ GET \/x+ é\n/)
  expect(end.endsWith(`${count - 1} ${line}`)).toBe(true)
})

test('a log of one line that has no end', async () => {
  const end = await endOfLog(inPieces(Buffer.alloc(LOG_BYTES_MAX + 10, 'x'), 64 * 1024), true)
  expect(end).toHaveLength(LOG_BYTES_MAX)
})

test('lines, without the empty ones', async () => {
  expect(await linesOfLog(Buffer.concat(['one\n', '\n', 'two\n'].map(framed)), false)).toEqual(['one', 'two'])
})
