// The door through which the command line watches a deploy: whatever a relay streams, events come out, and at last a Problem.

import { createServer, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { expect, onTestFinished, test, vi } from 'vitest'
import { deploys, events, hostState } from '../../../agent/cli/api/api.ts'
import { isFinal, nextStatus } from '../../../shared/deploy.ts'
import { loggedEventSchema } from '../../../shared/events.ts'
import { reportOf } from '../../../shared/problems.ts'
import { anyEvent } from '../../shared/doors/frames.ts'
import { anyJsonText, anyText, damaged } from '../../shared/doors/texts.ts'

/** A run that is not over by then hangs. */
const RUN_MS_MAX = 5000

type Route = (response: ServerResponse) => void

async function relay(): Promise<{ url: string; answer: (route: Route) => void }> {
  let route: Route = refuse
  const server = createServer((_, response) => route(response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // No wait before another connection: the waits are for backoff.ts to test.
  const random = vi.spyOn(Math, 'random').mockReturnValue(0)
  onTestFinished(async () => {
    random.mockRestore()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: (next) => (route = next),
  }
}

function refuse(response: ServerResponse): void {
  response.writeHead(401, { 'content-type': 'application/json' })
  response.end('{"error":{"code":"unauthorized","message":"no more"}}')
}

const logged = fc.record({ seq: fc.integer({ min: 1, max: 1e9 }), at: fc.nat(), event: anyEvent })
const message = logged.map((event) => `id: ${event.seq}\ndata: ${JSON.stringify(event)}\n\n`)
const field = fc
  .tuple(fc.constantFrom('data', 'id', 'event', 'retry', '', '\ufeffdata'), fc.oneof(anyJsonText, anyText))
  .map(([name, value]) => `${name}: ${value}\n\n`)
const chunk: fc.Arbitrary<Uint8Array> = fc.oneof(
  message.map((text) => Buffer.from(text)),
  damaged(message).map((text) => Buffer.from(text)),
  field.map((text) => Buffer.from(text)),
  fc.constantFrom(':\n\n', '\r', '\n', '\r\n\r\n', 'data\n\n', 'data:\n\n').map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 50 }),
)

test('whatever a relay streams, what comes out are events, and the end is the deploy’s or a Problem', async () => {
  const { url, answer } = await relay()
  await fc.assert(
    fc.asyncProperty(fc.array(chunk, { maxLength: 5 }), fc.boolean(), async (chunks, isCut) => {
      let connections = 0
      answer((response) => {
        connections += 1
        if (connections > 1) return refuse(response)
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        for (const bytes of chunks) response.write(bytes)
        if (isCut) response.socket?.destroySoon()
        else response.end()
      })
      const signal = AbortSignal.timeout(RUN_MS_MAX)
      let status: ReturnType<typeof nextStatus> | undefined
      try {
        for await (const event of events({ relay: url, host: 'vps-1' }, 'x', async () => 't', signal)) {
          expect(loggedEventSchema.parse(event)).toEqual(event)
          status = nextStatus('running', event.event)
        }
        expect(status !== undefined && isFinal(status)).toBe(true)
      } catch (error) {
        const { code, message: words } = reportOf(error)
        expect(['unauthorized', 'relay-refused', 'relay-unreachable'], `${code}: ${words}`).toContain(code)
      }
    }),
    { numRuns: 300 },
  )
})

test('whatever a relay answers, it is an answer of its schema or a Problem', async () => {
  const { url, answer } = await relay()
  const body = fc.oneof(
    anyJsonText,
    anyText,
    damaged(fc.constant('{"error":{"code":"not-found","message":"x"}}')),
    damaged(fc.constant('{"deploys":[]}')),
  )
  // Not 429, 5xx and redirects: after those the call is repeated, and the waits between are tested elsewhere.
  const status = fc.constantFrom(
    200,
    201,
    202,
    204,
    206,
    300,

    304,
    400,
    401,
    403,
    404,
    409,
    418,
    451,
  )
  await fc.assert(
    fc.asyncProperty(status, body, async (code, text) => {
      answer((response) => {
        response.writeHead(code, { location: '/elsewhere' })
        response.end(text)
      })
      const access = { relay: url, host: 'vps-1' }
      const calls = [
        deploys(access, { limit: 1 }, 't', AbortSignal.timeout(RUN_MS_MAX)),
        hostState(access, 't', AbortSignal.timeout(RUN_MS_MAX)),
      ]
      for (const call of calls)
        await call.catch((error: unknown) => {
          expect(reportOf(error).code).not.toBe('internal')
        })
    }),
    { numRuns: 60 },
  )
})
