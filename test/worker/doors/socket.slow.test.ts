// The agent's socket at a real hub: whatever an agent with a good token sends, the hub closes with a reason or goes on, and is as good as
// before for the next one.

import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { CLOSE, encodeFrame, fromHubSchema } from '../../../shared/protocol.ts'
import { anyFrameFromAgent, anyFrameFromHub } from '../../shared/doors/frames.ts'
import { anyJsonText, anyText, damaged, wrongInOnePlace } from '../../shared/doors/texts.ts'
import { TestHost, testRelay, type AgentSocket } from '../../support/relay.ts'

const relay = await testRelay()
afterAll(() => relay.stop())

const CODES: readonly number[] = [CLOSE.malformed, CLOSE.tooBig]
const message = fc.oneof<fc.Arbitrary<string | Uint8Array>[]>(
  wrongInOnePlace(anyFrameFromAgent).map((value) => JSON.stringify(value) ?? ''),
  damaged(anyFrameFromAgent.map(encodeFrame)),
  anyFrameFromAgent.map(encodeFrame),
  anyFrameFromHub.map(encodeFrame),
  anyJsonText,
  anyText,
  fc.uint8Array({ maxLength: 20 }),
  fc.constantFrom('ping', 'pong', 'ping ', 'x'.repeat(70_000), '日'.repeat(30_000)),
)

/** What the hub does about it: frames of its own schema, then the answer to a ping or a close. */
async function expectAnswersOrClose(agent: AgentSocket): Promise<void> {
  try {
    for (const frame of await agent.drained()) expect(fromHubSchema.parse(frame)).toEqual(frame)
  } catch (error) {
    // drained() rejects when the socket is closed meanwhile, or when what came is no JSON: only the first is an answer.
    expect(String(error)).toContain('the socket was closed')
    const { code, reason } = await agent.closed()
    expect(CODES, reason).toContain(code)
    expect(reason).not.toBe('')
  }
}

test.each([
  ['before its hello', false],
  ['after its hello', true],
])('an agent that sends anything %s is answered or closed, and the hub works on', async (_, isWelcome) => {
  const host = await TestHost.enrolled(relay)
  let count = 0
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 3 }), async (messages) => {
      const agent = isWelcome ? await host.agent() : await host.silentAgent()
      for (const each of messages) agent.socket.send(each)
      await expectAnswersOrClose(agent)
      agent.socket.terminate()

      // Stacks and triggers are what the next hello says, whatever the last one said.
      const next = await host.agent()
      const hooked = await host.hook('{}', { id: `msg_${(count += 1)}` })
      expect(hooked.status).toBe(202)
      const { id } = hooked.body.deploy
      for (let frame = await next.nextDeploy(); frame.id !== id;) frame = await next.nextDeploy()
      next.report(id, 1, { type: 'received' }, { type: 'cancelled' })
      expect(await next.next()).toMatchObject({ type: 'stored', deploy: id, seq: 2 })
      next.socket.terminate()
    }),
    { numRuns: 60 },
  )
})

test('events and declines of deploys that are the host’s own, in any order and number, are stored or closed', async () => {
  const host = await TestHost.enrolled(relay)
  const events = anyFrameFromAgent.filter((frame) => frame.type !== 'hello')
  const seq = fc.constantFrom(1, 1, 2, 3, 7)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(events, seq), { minLength: 1, maxLength: 4 }), async (frames) => {
      const agent = await host.agent()
      const hooked = await host.hook()
      const { id } = hooked.body.deploy
      for (const [frame, first] of frames) {
        const own = { ...frame, deploy: id }
        if (own.type === 'events') own.events = own.events.map((event, i) => ({ ...event, seq: first + i }))
        agent.send(own)
      }
      await expectAnswersOrClose(agent)
      agent.socket.terminate()
      // What is stored can be read, and its places are its own count.
      const { status, body } = await host.get(`/deploys/${id}/events`)
      expect(status).toBe(200)
      expect(body.events.map((event: { seq: number }) => event.seq)).toEqual(
        body.events.map((__: unknown, i: number) => i + 1),
      )
      const over = await host.agent()
      over.send({ type: 'declined', deploy: id, event: { type: 'expired' } })
      await over.drained()
      over.socket.terminate()
    }),
    { numRuns: 60 },
  )
})
