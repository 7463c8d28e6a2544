// A request's body as it is read: whole up to its limit; of a longer one nothing is kept, and not everything is read.

import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'

type ReadBody = (request: Request, bytesMax: number) => Promise<Uint8Array | { refused: string }>
// By a name that the compiler does not follow: the Worker's types are not Node's.
const module = '../../worker/body.ts'
const { readBody } = (await import(module)) as { readBody: ReadBody }

const MIB = 1024 * 1024

/** A body whose length nobody announces, made while it is read: of chunks as long as these. `onPull` is told how many are read by then. */
function unannounced(sizes: readonly number[], onPull?: (read: number) => Promise<void>) {
  const source = { chunks: [] as WeakRef<Uint8Array>[], isCancelled: false }
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(out) {
        const read = source.chunks.length
        await onPull?.(read)
        const size = sizes[read]
        if (size === undefined) return out.close()
        const chunk = new Uint8Array(size).fill(read + 1)
        source.chunks.push(new WeakRef(chunk))
        out.enqueue(chunk)
      },
      cancel: () => void (source.isCancelled = true),
    },
    { highWaterMark: 0 },
  )
  const init = { method: 'POST', body, duplex: 'half' as const }
  return { request: new Request('http://relay.example/', init), source }
}

test('a body as long as it may be is read whole, in the order of its chunks', async () => {
  const { request } = unannounced([2, 3, 1])
  expect(await readBody(request, 6)).toEqual(new Uint8Array([1, 1, 2, 2, 2, 3]))
})

test.each([[[2, 3, 2]], [[7]], [[6, 1]]])('chunks of %j bytes are too many where 6 may be', async (sizes) => {
  const { request } = unannounced(sizes)
  expect(await readBody(request, 6)).toEqual({
    refused: 'too-big',
    message: 'the body has more than 6 bytes',
  })
})

test.each([
  [6, new TextEncoder().encode('xxxxxx')],
  [7, { refused: 'too-big', message: 'the body has more than 6 bytes' }],
])('a body that announces %i bytes is measured by the same limit', async (length, expected) => {
  const headers = { 'content-length': String(length) }
  const request = new Request('http://relay.example/', { method: 'POST', body: 'x'.repeat(length), headers })
  expect(await readBody(request, 6)).toEqual(expected)
})

test('of a body that is too long no byte is kept while the rest of it is read', async () => {
  setFlagsFromString('--expose_gc')
  const collectGarbage = runInNewContext('gc') as () => void
  let kept: number | undefined
  const { request, source } = unannounced(Array(10).fill(MIB), async (read) => {
    if (read !== 8) return
    // A chunk lives at least until the job that made it or looked at it is over.
    await setImmediate()
    collectGarbage()
    kept = source.chunks.filter((chunk) => chunk.deref() !== undefined).length
  })
  expect(await readBody(request, 4 * MIB)).toMatchObject({ refused: 'too-big' })
  // The one that was read last may still be in somebody's hands.
  expect(kept).toBeLessThanOrEqual(1)
  expect(source.chunks.length).toBe(10)
})

test('a body without end is not read to its end', async () => {
  const { request, source } = unannounced(Array(1000).fill(MIB))
  expect(await readBody(request, MIB)).toMatchObject({ refused: 'too-big' })
  expect(source.isCancelled).toBe(true)
  expect(source.chunks.length).toBe(17)
})
