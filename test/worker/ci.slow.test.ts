// Every token of a CI job that must not count, at the real Worker.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { CONFUSED, FORGED, UNTIMELY } from '../support/bad-tokens.ts'
import { ciScene } from '../support/ci-scene.ts'
import { testRelay } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
})
afterAll(() => relay.stop())

test.each([...Object.entries(FORGED), ...Object.entries(CONFUSED), ...Object.entries(UNTIMELY)])(
  'the answer is the same, and nothing is stored: %s',
  async (_, make) => {
    const { issuer, agent, audience, send } = await ciScene(relay)
    const answer = await send(await make(issuer, audience))
    const nobody = await send('x')
    expect([answer.status, answer.body]).toEqual([401, nobody.body])
    expect(await agent.drained()).toEqual([])
    expect((await send(await issuer.token())).status).toBe(202)
  },
)
