// Moments as bytes in a pipe: whoever does the thing writes one, and this process notes when it arrives.

import type { Readable } from 'node:stream'

const BYTE_MS_MAX = 10_000

/** The moment of each byte, in order. */
export function byteReader(stream: Readable): { next(): Promise<number> } {
  const arrived: number[] = []
  let wake: (() => void) | undefined
  stream.on('data', (chunk: Buffer) => {
    const at = performance.now()
    for (let count = 0; count < chunk.length; count += 1) arrived.push(at)
    wake?.()
  })
  return {
    async next() {
      if (arrived.length === 0)
        await new Promise<void>((resolve, reject) => {
          const timer = setTimeout(() => reject(new Error('no effect came')), BYTE_MS_MAX)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      return arrived.shift() ?? Number.NaN
    },
  }
}
