// The agent's socket: whatever its hub sends, a frame is taken or the connection ends and is made again. The process lives.

import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { Link } from '../../../agent/daemon/link/link.ts'
import { encodeFrame, fromHubSchema, PROTOCOL_VERSION } from '../../../shared/protocol.ts'
import { startHub } from '../../support/hub.ts'
import { until } from '../../support/until.ts'
import { anyFrameFromHub } from '../../shared/doors/frames.ts'
import { anyJsonText, anyText, damaged, wrongInOnePlace } from '../../shared/doors/texts.ts'

const RUN_MS_MAX = 3000
const MARK = '0123456789abcdef'

const message = fc.oneof<fc.Arbitrary<string | Uint8Array>[]>(
  wrongInOnePlace(anyFrameFromHub).map((value) => JSON.stringify(value) ?? ''),
  damaged(anyFrameFromHub.map(encodeFrame)),
  anyFrameFromHub.map(encodeFrame),
  anyJsonText,
  anyText,
  fc.uint8Array({ maxLength: 20 }),
  fc.constantFrom('ping', 'pong', 'x'.repeat(70_000), '日'.repeat(30_000)),
)

test('a hub that sends anything is left or listened to, and the next connection is as good as the first', async () => {
  const hub = await startHub()
  const stop = new AbortController()
  let welcomes = 0
  let marks = 0
  const link = new Link({
    relay: hub.url,
    host: 'vps-1',
    token: async () => 'token',
    hello: async () => ({
      type: 'hello',
      v: PROTOCOL_VERSION,
      agent: 'test',
      stacks: [],
      triggers: [],
      revoked: [],
    }),
    log: (_, words) => expect(words.length).toBeLessThan(1000),
    onWelcome: () => (welcomes += 1),
    onDeploy: (frame) => expect(fromHubSchema.parse(frame)).toEqual(frame),
    onCancel: () => {},
    onStored: (frame) => (marks += frame.deploy === MARK ? 1 : 0),
    timing: { wait: () => 1 },
  })
  const ended = link.run(stop.signal)
  onTestFinished(async () => {
    stop.abort()
    await ended
    await hub.stop()
  })
  await until('the first welcome', () => welcomes > 0)

  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 3 }), async (messages) => {
      const before = { welcomes, marks }
      for (const socket of hub.sockets) {
        for (const each of messages) socket.send(each)
        socket.send(encodeFrame({ type: 'stored', deploy: MARK, seq: 1 }))
      }
      await until('an end or the mark', () => marks > before.marks || welcomes > before.welcomes, RUN_MS_MAX)
      await until('a connection', () => link.isUp && hub.sockets.size === 1, RUN_MS_MAX)
      const { marks: sent } = { marks }
      hub.send({ type: 'stored', deploy: MARK, seq: 2 })
      await until('a frame by the connection there is', () => marks > sent, RUN_MS_MAX)
    }),
    { numRuns: 120 },
  )
  expect(welcomes).toBeGreaterThan(10)
})
