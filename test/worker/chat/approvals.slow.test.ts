// What waits for somebody to approve it: nothing of it is the agent's before, and whoever says yes is proven to it as well.

import { describe, expect, test } from 'vitest'
import type { Chat } from '../../../shared/chat/chat.ts'
import { verifyFrame } from '../../../agent/daemon/verify.ts'
import { IssuerKeys } from '../../../shared/triggers/issuer-keys.ts'
import { IMAGE, DONE, relayBeside, chatScene, type ChatScene } from '../../support/chat/scene.ts'
import * as slack from '../../support/chat/slack.ts'
import { configFor, stackConfig } from '../../support/host.ts'
import { ROLL } from '../../support/relay.ts'
import { until } from '../../support/until.ts'

const standIn = new slack.SlackStandIn()
const relay = relayBeside(standIn)

const BOB = 'U0BOB'
const scene = (over: Partial<Chat['stacks'][number]> = {}) =>
  chatScene(relay(), {
    type: 'slack',
    keys: [slack.SECRET],
    token: slack.TOKEN,
    teams: [slack.TEAM],
    channels: [slack.CHANNEL],
    stacks: [{ name: 'hello', image: IMAGE, deploy: [slack.ANNA], approve: [BOB, slack.ANNA], ...over }],
  })

async function asked(at: ChatScene): Promise<{ message: slack.SlackMessage; yes: string; no: string }> {
  const before = standIn.messages.length
  const answer = await slack.send(at.url, slack.signed(slack.command('deploy hello v2')))
  expect(answer.body.text).toMatch(/hello: waits for somebody to approve it/)
  const message = await until('the buttons', () => standIn.messages[before])
  expect(message.texts.at(-1)).toBe(
    `hello: waits for somebody to approve it\n${IMAGE}:v2, asked for by ops:roadrunner(${slack.ANNA}), on ${at.host.name}`,
  )
  expect(message.buttons.map(({ label }) => label)).toEqual(['Approve', 'Reject'])
  expect(await at.agent.drained()).toEqual([])
  return { message, yes: message.buttons[0]!.value, no: message.buttons[1]!.value }
}

/** What whoever clicked is told. */
async function click(at: ChatScene, value: string, user: string, over = {}): Promise<string> {
  const url = standIn.responseUrl()
  const answer = await slack.send(at.url, slack.signed(slack.click(value, { user, url, ...over })))
  expect(answer).toMatchObject({ status: 200, body: undefined })
  const said = await until('the words', () => standIn.responses.get(url)?.[0])
  return String(said['text'])
}

test('approved, it is a deploy by both, in the same message', async () => {
  const at = await scene()
  const { message, yes } = await asked(at)
  expect(await click(at, yes, BOB)).toBe(`hello: approved by ops:roadrunner(${BOB})`)
  const frame = await at.agent.nextDeploy()
  expect((await at.host.get(`/deploys/${frame.id}`)).body.actor).toBe(
    `ops:roadrunner(${slack.ANNA}), approved by ops:roadrunner(${BOB})`,
  )
  at.agent.report(frame.id, 1, ...ROLL.slice(0, -1), DONE)
  await until('the end', () => message.texts.at(-1)?.includes('succeeded'))
  expect(message.buttons.map(({ label }) => label)).toEqual(['Roll back'])
  expect(await click(at, yes, BOB)).toMatch(/approved by/)

  // The agent, which has the same chat, finds it good, and the hub's word for it is not needed.
  const config = { ...configFor(relay().url, [stackConfig('hello')], [at.chat]), host: at.host.name }
  const trusted = { publicKeys: async () => [], revoked: async () => [], issuers: new IssuerKeys() }
  const { deploy } = await verifyFrame(frame, config, trusted, new Date())
  expect(deploy).toMatchObject({ id: frame.id, request: { image: `${IMAGE}:v2` } })
  if (frame.proof.kind !== 'chat') throw new Error(frame.proof.kind)
  const { approval: _, ...alone } = frame.proof
  await expect(verifyFrame({ ...frame, proof: alone }, config, trusted, new Date())).rejects.toMatchObject({
    code: 'request-unverified',
  })
})

test('rejected, it never is one', async () => {
  const at = await scene()
  const { message, yes, no } = await asked(at)
  expect(await click(at, no, BOB)).toBe(`hello: rejected by ops:roadrunner(${BOB})`)
  await until('the end', () => message.texts.at(-1)?.startsWith('hello: rejected by'))
  expect(message.buttons).toEqual([])
  expect(await click(at, yes, BOB)).toMatch(/rejected by/)
  expect(await at.agent.drained()).toEqual([])
})

describe('who may not approve', () => {
  test.each<[string, string, object, RegExp]>([
    ['whoever asked', slack.ANNA, {}, /You may not approve what you asked for\./],
    ['somebody who is not listed', slack.MALLORY, {}, /You may not decide on deploys of hello\./],
    ['somebody elsewhere', BOB, { channel: 'C0ELSEWHERE' }, /I take no commands here\./],
  ])('%s', async (_, user, over, words) => {
    const at = await scene()
    const { yes } = await asked(at)
    expect(await click(at, yes, user, over)).toMatch(words)
    expect(await at.agent.drained()).toEqual([])
    expect(await at.refused()).toContain(user)
  })

  test('with approveOwn, whoever asked may', async () => {
    const at = await scene({ approveOwn: true })
    const { yes } = await asked(at)
    expect(await click(at, yes, slack.ANNA)).toMatch(/approved by/)
    await at.agent.nextDeploy()
  })
})

test('going back waits for nobody', async () => {
  const at = await scene()
  await slack.send(at.url, slack.signed(slack.command('rollback hello')))
  await at.agent.nextDeploy()
})

test('asked twice by one delivery, it waits once', async () => {
  const at = await scene()
  const form = slack.command('deploy hello v2')
  const before = standIn.messages.length
  await slack.send(at.url, slack.signed(form))
  expect((await slack.send(at.url, slack.signed(form))).body.text).toMatch(/already/)
  await until('the message', () => standIn.messages.length > before)
  expect(standIn.messages).toHaveLength(before + 1)
})
