// Microsoft Teams at the real Worker: one answer, at once, and only to look unless more is said.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../../agent/relay/relay.ts'
import { chatScene } from '../../support/chat/scene.ts'
import * as teams from '../../support/chat/teams.ts'
import { testRelay } from '../../support/relay.ts'

const called: string[] = []
let relay: Relay
beforeAll(async () => {
  relay = await testRelay({
    outbound: async (request) => {
      called.push(request.url)
      return new Response()
    },
  })
})
afterAll(async () => {
  await relay.stop()
  expect(called).toEqual([])
})

const scene = (deploy: string[] = []) =>
  chatScene(relay, {
    type: 'teams',
    keys: [teams.SECRET],
    teams: [teams.TENANT],
    channels: [teams.CHANNEL],
    stacks: [{ name: 'hello', image: 'ghcr.io/acme/hello', deploy }],
  })

test('by default it only tells', async () => {
  const at = await scene()
  for (const [text, words] of [
    ['help', /deploy STACK/],
    ['status', /its agent is there/],
    ['history hello', /no release yet/],
    ['deploy hello v2', /may not deploy hello/],
    ['rollback hello', /may not rollback hello/],
  ] as const)
    expect(await teams.send(at.url, teams.activity(text))).toMatchObject({
      status: 200,
      body: { type: 'message', textFormat: 'plain', text: expect.stringMatching(words) },
    })
  expect(await at.agent.drained()).toEqual([])
})

test('who is listed may deploy: once for each message, with an answer that says where to watch', async () => {
  const at = await scene([teams.ANNA])
  const said = teams.activity('deploy hello v2')
  const { body } = await teams.send(at.url, said)
  expect(body.text).toMatch(/hello: accepted, deploy \w{16}\n.*\nhttp.*\/watch#host=/)
  expect((await teams.send(at.url, said)).body.text).toMatch(/already/)
  expect(await at.agent.drained()).toHaveLength(1)
  const others = { from: { id: '29:x', name: 'Mallory', aadObjectId: teams.MALLORY } }
  expect((await teams.send(at.url, teams.activity('deploy hello v2', others))).body.text).toMatch(/may not/)
})

test.each<[string, object, RegExp]>([
  [
    'another tenant',
    { channelData: { tenant: { id: teams.MALLORY }, channel: { id: teams.CHANNEL } } },
    /no commands here/,
  ],
  [
    'another channel',
    { channelData: { tenant: { id: teams.TENANT }, channel: { id: '19:other@thread.skype' } } },
    /no commands here/,
  ],
])('%s is told so', async (_, over, words) => {
  const at = await scene([teams.ANNA])
  expect((await teams.send(at.url, teams.activity('status', over))).body.text).toMatch(words)
})

test.each<[string, object, object]>([
  ['another key', {}, { secret: Buffer.alloc(32, 1).toString('base64') }],
  ['another body’s signature', {}, { header: 'HMAC 03TCao0i55H1eVKUusZOTZRjtvYTs+mO41mPL+R1e1U=' }],
  ['no signature', {}, { header: 'HMAC ' }],
  ['an old message', { timestamp: '2020-01-01T00:00:00.000Z' }, {}],
  ['one from the future', { timestamp: '2999-01-01T00:00:00.000Z' }, {}],
])('%s is refused', async (_, over, proof) => {
  const at = await scene([teams.ANNA])
  expect((await teams.send(at.url, teams.activity('deploy hello v2', over), proof)).status).toBe(401)
  expect(await at.agent.drained()).toEqual([])
})

test('what is signed and has no time is no message', async () => {
  const at = await scene([teams.ANNA])
  expect((await teams.send(at.url, teams.activity('deploy hello v2', { timestamp: undefined }))).status).toBe(
    400,
  )
})
