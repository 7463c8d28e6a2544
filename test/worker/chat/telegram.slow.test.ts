// Telegram at the real Worker: its secret, its answers, and what must not be sent again.

import { expect, test } from 'vitest'
import { IMAGE, DONE, relayBeside, chatScene } from '../../support/chat/scene.ts'
import * as telegram from '../../support/chat/telegram.ts'
import { ROLL } from '../../support/relay.ts'
import { until } from '../../support/until.ts'

const standIn = new telegram.TelegramStandIn()
const relay = relayBeside(standIn)

const scene = () =>
  chatScene(relay(), {
    type: 'telegram',
    keys: [telegram.SECRET],
    token: telegram.TOKEN,
    channels: [String(telegram.CHAT)],
    stacks: [{ name: 'hello', image: IMAGE, deploy: [String(telegram.ANNA)] }],
  })

test('a deploy gets a message, which goes on to the end and gets its button', async () => {
  const at = await scene()
  const before = standIn.messages.length
  const answer = await telegram.send(at.url, telegram.command('/deploy@ropeway_bot hello v2'))
  expect(answer).toMatchObject({ status: 200, body: undefined })
  const { id } = await at.agent.nextDeploy()
  expect((await at.host.get(`/deploys/${id}`)).body).toMatchObject({
    actor: `ops:anna(${telegram.ANNA})`,
    request: { image: `${IMAGE}:v2` },
  })
  const message = await until('the message', () => standIn.messages[before])
  at.agent.report(id, 1, ...ROLL.slice(0, -1), DONE)
  await until('the end', () => message.texts.at(-1)?.includes('succeeded in 2.42 s'))
  expect(message.buttons).toEqual([{ text: 'Roll back', callback_data: `back-${id}` }])
  await at.agent.drained()

  const clicked = await telegram.send(at.url, telegram.click(`back-${id}`))
  expect(clicked.body).toMatchObject({
    method: 'answerCallbackQuery',
    text: expect.stringContaining('accepted'),
  })
  const back = await at.agent.nextDeploy()
  expect((await at.host.get(`/deploys/${back.id}`)).body.request).toEqual({ release: 'previous', ifRuns: id })
  const again = await telegram.send(at.url, telegram.click(`back-${id}`))
  expect(again.body.text).toMatch(/already/)
  expect((await telegram.send(at.url, telegram.click(`back-${id}`, telegram.MALLORY))).body.text).toMatch(
    /may not/,
  )
})

test('an update that comes again is the same deploy', async () => {
  const at = await scene()
  const update = telegram.command('/deploy')
  await telegram.send(at.url, update)
  await telegram.send(at.url, update)
  expect(await at.agent.drained()).toHaveLength(1)
})

test('too many messages are sent again at the time that Telegram names', async () => {
  const at = await scene()
  const before = standIn.messages.length
  const body = {
    ok: false,
    error_code: 429,
    description: 'Too Many Requests',
    parameters: { retry_after: 3 },
  }
  standIn.next.push(() => Response.json(body, { status: 429 }))
  const startedAt = Date.now()
  await telegram.send(at.url, telegram.command('/deploy'))
  await until('the message', () => standIn.messages[before], 10_000)
  expect(Date.now() - startedAt).toBeGreaterThanOrEqual(3000)
})

test.each<[string, ReturnType<typeof telegram.command>, RegExp]>([
  ['a user who is not listed', telegram.command('/deploy hello', telegram.MALLORY), /may not deploy/],
  ['a tag that is none', telegram.command('/deploy hello --x'), /not a tag/],
  ['help', telegram.command('/start'), /deploy STACK/],
  ['status, by anybody', telegram.command('/status', telegram.MALLORY), /its agent is there/],
])('%s is answered in the chat', async (_, update, words) => {
  const at = await scene()
  const { body } = await telegram.send(at.url, update)
  expect(body).toMatchObject({ method: 'sendMessage', text: expect.stringMatching(words) })
  expect(telegram.faultOf(body)).toBeUndefined()
  expect(await at.agent.drained()).toEqual([])
})

test('another chat is answered there, and no more', async () => {
  const at = await scene()
  const { body } = await telegram.send(
    at.url,
    telegram.command('/status', telegram.ANNA, { chat: { id: 5, type: 'private' } }),
  )
  expect(body).toMatchObject({ chat_id: '5', text: expect.stringMatching(/no commands here/) })
})

test.each<[string, unknown]>([
  ['talk among people', telegram.command('deploy it tomorrow')],
  ['another bot', telegram.command('/deploy', telegram.ANNA, { from: { id: telegram.ANNA, is_bot: true } })],
  ['a message that was edited', { update_id: 1, edited_message: telegram.command('/deploy').message }],
  ['a command that is old', telegram.command('/deploy', telegram.ANNA, { date: 1531420618 })],
  ['what nobody knows', { update_id: 1, poll: {} }],
  ['no JSON', '{'],
])('%s is heard, so that it does not come again, and nothing follows', async (_, update) => {
  const at = await scene()
  expect(await telegram.send(at.url, update)).toMatchObject({ status: 200, body: undefined })
  expect(await at.agent.drained()).toEqual([])
})

test.each([
  ['no secret', undefined],
  ['another', `${telegram.SECRET}x`],
  ['a part', telegram.SECRET.slice(0, -1)],
  ['two', `${telegram.SECRET}, ${telegram.SECRET}`],
])('%s: refused', async (_, secret) => {
  const at = await scene()
  const update = JSON.stringify(telegram.command('/deploy'))
  const headers = {
    'content-type': 'application/json',
    ...(secret === undefined ? {} : { 'x-telegram-bot-api-secret-token': secret }),
  }
  expect((await fetch(at.url, { method: 'POST', headers, body: update })).status).toBe(401)
  expect(await at.agent.drained()).toEqual([])
})
