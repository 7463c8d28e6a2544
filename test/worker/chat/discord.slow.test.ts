// Discord at the real Worker: its proof, its answers, and a message that is edited beyond the life of its interaction.

import { expect, test } from 'vitest'
import type { Chat } from '../../../shared/chat/chat.ts'
import * as discord from '../../support/chat/discord.ts'
import { IMAGE, DONE, relayBeside, chatScene } from '../../support/chat/scene.ts'
import { ROLL } from '../../support/relay.ts'
import { until } from '../../support/until.ts'

const standIn = new discord.DiscordStandIn()
const relay = relayBeside(standIn)

const scene = (over: Partial<Chat> = {}) =>
  chatScene(relay(), {
    type: 'discord',
    keys: [discord.PUBLIC_KEY],
    token: discord.TOKEN,
    teams: [discord.GUILD],
    channels: [discord.CHANNEL],
    stacks: [{ name: 'hello', image: IMAGE, deploy: [discord.ANNA] }],
    ...over,
  })

test('the answer to a deploy is the message, which goes on to the end and gets its button', async () => {
  const at = await scene()
  const said = discord.command('deploy', { stack: 'hello', tag: 'v2' })
  const answer = await standIn.post(at.url, said)
  expect(answer.body).toMatchObject({
    type: 4,
    data: { content: expect.stringContaining('hello: accepted') },
  })
  expect(answer.body.data.flags).toBeUndefined()
  const frame = await at.agent.nextDeploy()
  expect((await at.host.get(`/deploys/${frame.id}`)).body).toMatchObject({
    actor: `ops:mason(${discord.ANNA})`,
    request: { image: `${IMAGE}:v2` },
  })
  const message = standIn.messages.get(said.token)!
  at.agent.report(frame.id, 1, ...ROLL.slice(0, -1), DONE)
  await until('the end', () => message.contents.at(-1)?.includes('succeeded in 2.42 s'))
  expect(message.components[0].components).toEqual([
    { type: 2, style: 4, label: 'Roll back', custom_id: `back-${frame.id}` },
  ])
  await at.agent.drained()

  const click = discord.click(`back-${frame.id}`)
  expect((await standIn.post(at.url, click)).body).toMatchObject({ type: 4 })
  const back = await at.agent.nextDeploy()
  expect((await at.host.get(`/deploys/${back.id}`)).body.request).toEqual({
    release: 'previous',
    ifRuns: frame.id,
  })
  const again = await standIn.post(at.url, discord.click(`back-${frame.id}`))
  expect(again.body.data).toMatchObject({ flags: 64, content: expect.stringContaining('already') })
})

test('when the interaction is over its message is edited by the bot', async () => {
  const at = await scene()
  const said = discord.command('deploy', { stack: 'hello' })
  await standIn.post(at.url, said)
  const { id } = await at.agent.nextDeploy()
  const message = standIn.messages.get(said.token)!
  await until('the first edit', () => message.contents.length > 1)
  standIn.expired.add(said.token)
  at.agent.report(id, 1, ...ROLL.slice(0, -1), DONE)
  await until('the end', () => message.contents.at(-1)?.includes('succeeded'))
  expect(standIn.calls.at(-1)).toBe(
    `PATCH discord.com/api/v10/channels/${discord.CHANNEL}/messages/${message.id}`,
  )
})

test('a log cannot leave its block, nor mention anybody', async () => {
  const at = await scene()
  const said = discord.command('deploy', { stack: 'hello' })
  await standIn.post(at.url, said)
  const { id } = await at.agent.nextDeploy()
  const log = ['```', '````@everyone', '[link](https://evil.example) **bold**', 'x'.repeat(2000)]
  const problem = { code: 'container-exited' as const, message: '```@here'.repeat(300), log }
  at.agent.report(id, 1, ...ROLL.slice(0, 3), { type: 'failed', ms: 10, problem })
  await until('the end', () => standIn.messages.get(said.token)?.contents.at(-1)?.includes('failed after'))
})

test('a ping is answered when it is Discord’s, and refused when it is not', async () => {
  const at = await scene()
  const ping = { type: 1, id: '1', token: 'x', version: 1 }
  expect((await standIn.post(at.url, ping)).body).toEqual({ type: 1 })
  const forged = discord.signed(ping)
  for (const headers of [
    { ...forged.headers, 'x-signature-ed25519': 'f'.repeat(128) },
    { ...forged.headers, 'x-signature-ed25519': forged.headers['x-signature-ed25519']!.toUpperCase() },
    { ...forged.headers, 'x-signature-timestamp': '1531420618' },
    { 'content-type': 'application/json' },
  ])
    expect((await standIn.post(at.url, ping, { ...forged, headers })).status).toBe(401)
})

test('no digit goes from the time into the body or back, and an old time is none', async () => {
  const at = await scene()
  const now = Math.floor(Date.now() / 1000)
  const ping = { type: 1, id: '1', token: 'x', version: 1 }
  const good = discord.signed(ping)
  const time = good.headers['x-signature-timestamp']!
  const shifted = {
    body: `${time.slice(-1)}${good.body}`,
    headers: { ...good.headers, 'x-signature-timestamp': time.slice(0, -1) },
  }
  expect((await standIn.post(at.url, ping, shifted)).status).toBe(401)
  for (const skew of [-3600, 3600])
    expect((await standIn.post(at.url, ping, discord.signed(ping, { at: now + skew }))).status).toBe(401)
})

test.each<[string, ReturnType<typeof discord.command>, RegExp]>([
  [
    'a user who is not listed',
    discord.command('deploy', { stack: 'hello' }, {}, discord.MALLORY),
    /may not deploy/,
  ],
  [
    'another channel',
    discord.command('status', {}, { channel_id: '645027906669510668' }),
    /no commands here/,
  ],
  ['another server', discord.command('status', {}, { guild_id: '290926798626357998' }), /no commands here/],
  ['a direct message', discord.command('status', {}, { guild_id: undefined }), /no commands here/],
  ['a tag that is none', discord.command('deploy', { stack: 'hello', tag: '--x' }), /not a tag/],
])('%s is told so, and nobody else hears it', async (_, said, words) => {
  const at = await scene()
  const { body } = await standIn.post(at.url, said)
  expect(body.data).toMatchObject({ flags: 64, content: expect.stringMatching(words) })
  expect(await at.agent.drained()).toEqual([])
})

test('status and history are for whoever asks', async () => {
  const at = await scene()
  for (const [verb, words] of [
    ['status', /its agent is there/],
    ['history', /no release yet/],
    ['help', /deploy STACK/],
  ] as const) {
    const { body } = await standIn.post(at.url, discord.command(verb, {}, {}, discord.MALLORY))
    expect(body.data).toMatchObject({ flags: 64, content: expect.stringMatching(words) })
  }
})
