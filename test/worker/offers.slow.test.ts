// What the agent was offered and did not take, in a real hub by its real alarms: these take their time.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { OFFER_AGAIN_MS, OFFERS_MAX } from '../../shared/limits.ts'
import { ROLL, TestHost, testRelay } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
}, 90_000)
afterAll(() => relay.stop())

test.concurrent(
  'a request that the agent was offered and did not take is offered again, without anybody asking, from a hub that slept',
  async () => {
    const host = await TestHost.enrolled(relay)
    const agent = await host.agent()
    const { id } = (await host.hook()).body.deploy
    expect((await agent.nextDeploy()).id).toBe(id)
    await relay.miniflare.unsafeEvictDurableObject('ropeway', 'Hub', {
      name: host.name,
      webSockets: 'hibernate',
    })
    const waitedMs = OFFER_AGAIN_MS + 15_000
    const again = await agent.nextDeploy(waitedMs)
    expect(again.id).toBe(id)
    agent.report(id, 1, { type: 'received' })
    expect((await agent.next()).type).toBe('stored')
    await agent.close()
  },
  90_000,
)

test.concurrent(
  'an agent that dies of a request does not die of it for ever: the request ends, the next one runs',
  async () => {
    const host = await TestHost.enrolled(relay)
    let agent = await host.agent(['hello', 'other'])
    const poison = (await host.hook()).body.deploy.id
    const honest = (await host.hook('{}', { path: host.hookPath('other') })).body.deploy.id
    let deaths = 0
    for (;;) {
      const frames = (await agent.drained()).flatMap((frame) => (frame.type === 'deploy' ? [frame.id] : []))
      if (!frames.includes(poison)) {
        if (frames.includes(honest)) agent.report(honest, 1, ...ROLL)
        await agent.drained()
        if (frames.length === 0) break
      } else deaths += 1
      agent.socket.terminate()
      agent = await host.agent(['hello', 'other'])
    }
    expect(deaths).toBe(OFFERS_MAX)
    expect((await host.get(`/deploys/${honest}`)).body.status).toBe('succeeded')
    expect((await host.get(`/deploys/${poison}`)).body).toMatchObject({
      status: 'failed',
      outcome: { problem: { code: 'undeliverable' } },
    })
    expect((await host.hook()).body.agent).toBe('online')
    expect((await agent.nextDeploy()).stack).toBe('hello')
    await agent.close()
  },
  60_000,
)
