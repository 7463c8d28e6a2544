// Mattermost at the real Worker: its token, its own server, and buttons that prove themselves.

import { describe, expect, test } from 'vitest'
import type { Chat } from '../../../shared/chat/chat.ts'
import * as mattermost from '../../support/chat/mattermost.ts'
import { IMAGE, DONE, relayBeside, chatScene, type ChatScene } from '../../support/chat/scene.ts'
import { ROLL } from '../../support/relay.ts'
import { until } from '../../support/until.ts'

const standIn = new mattermost.MattermostStandIn()
const relay = relayBeside(standIn)

const scene = (over: Partial<Chat> = {}) =>
  chatScene(relay(), {
    type: 'mattermost',
    keys: [mattermost.SECRET],
    token: mattermost.TOKEN,
    server: mattermost.SERVER,
    teams: [mattermost.TEAM],
    channels: [mattermost.CHANNEL],
    stacks: [{ name: 'hello', image: IMAGE, deploy: [mattermost.ANNA] }],
    ...over,
  })

async function deployed(at: ChatScene): Promise<{ id: string; post: mattermost.Post }> {
  const before = standIn.posts.length
  const answer = await mattermost.send(at.url, mattermost.command('deploy hello v2'))
  expect(answer.body).toMatchObject({
    response_type: 'ephemeral',
    text: expect.stringContaining('hello: accepted'),
  })
  const { id } = await at.agent.nextDeploy()
  at.agent.report(id, 1, ...ROLL.slice(0, -1), DONE)
  const post = await until('the button', () =>
    standIn.posts.slice(before).find(({ actions }) => actions.length > 0),
  )
  await at.agent.drained()
  return { id, post }
}

test('a deploy is answered, and shown in one post, which gets its button', async () => {
  const at = await scene()
  const { id, post } = await deployed(at)
  expect(post.texts.at(-1)).toContain(`asked for by ops:anna(${mattermost.ANNA})`)
  expect((await standIn.click(post)).body).toEqual({ ephemeral_text: expect.stringContaining('accepted') })
  const back = await at.agent.nextDeploy()
  expect(back.id).not.toBe(id)
  expect((await at.host.get(`/deploys/${back.id}`)).body.request).toEqual({ release: 'previous', ifRuns: id })
  expect((await standIn.click(post)).body.ephemeral_text).toMatch(/already/)
  expect((await standIn.click(post, mattermost.MALLORY)).body.ephemeral_text).toMatch(/may not/)
})

test('without a bot there is a post at the beginning and one at the end', async () => {
  const at = await scene({ token: undefined })
  const response_url = standIn.responseUrl()
  await mattermost.send(at.url, mattermost.command('deploy', { response_url }))
  const { id } = await at.agent.nextDeploy()
  await until('the beginning', () => standIn.responses.get(response_url)?.length === 1)
  at.agent.report(id, 1, ...ROLL.slice(0, -1), DONE)
  await until('the end', () => standIn.responses.get(response_url)?.at(-1)?.text.includes('succeeded'))
  expect(standIn.responses.get(response_url)).toHaveLength(2)
})

test('where the bot is not, as without one', async () => {
  const channel_id = 'closed6qa73bjjjan6mzn11f4i'
  standIn.closed.add(channel_id)
  const at = await scene({ channels: [channel_id] })
  const response_url = standIn.responseUrl()
  await mattermost.send(at.url, mattermost.command('deploy', { response_url, channel_id }))
  await until('the beginning', () => standIn.responses.get(response_url)?.length === 1)
})

test('an address of another server is never called', async () => {
  const at = await scene({ token: undefined })
  await mattermost.send(
    at.url,
    mattermost.command('deploy', { response_url: 'https://hooks.slack.com/commands/x' }),
  )
  await until('the log', async () => (await at.refused())?.includes('cannot be shown'))
})

test.each<[string, string, Record<string, string>, RegExp]>([
  ['a user who is not listed', 'deploy hello', { user_id: mattermost.MALLORY }, /may not deploy/],
  ['another channel', 'status', { channel_id: 'other6qa73bjjjan6mzn11f4ie' }, /no commands here/],
  ['another team', 'status', { team_id: 'other6qa73bjjjan6mzn11f4ie' }, /no commands here/],
  ['status', 'status', { user_id: mattermost.MALLORY }, /its agent is there/],
])('%s is answered to whoever asked', async (_, text, over, words) => {
  const at = await scene()
  const { body } = await mattermost.send(at.url, mattermost.command(text, over))
  expect(body).toMatchObject({ response_type: 'ephemeral', text: expect.stringMatching(words) })
  expect(await at.agent.drained()).toEqual([])
})

describe('what proves nothing is refused', () => {
  test.each([
    ['no header, whatever the form says', ''],
    ['another token', 'Token aaaaaaaaaaaaaaaaaaaaaaaaaa'],
    ['another scheme', `Bearer ${mattermost.SECRET}`],
    ['two', `Token ${mattermost.SECRET}, Token ${mattermost.SECRET}`],
  ])('%s', async (_, authorization) => {
    const at = await scene()
    expect((await mattermost.send(at.url, mattermost.command('deploy'), authorization)).status).toBe(401)
    expect(await at.agent.drained()).toEqual([])
  })

  test('a click on another button than was given, or on none', async () => {
    const at = await scene()
    const { post } = await deployed(at)
    for (const context of [
      { ...post.actions[0]!.integration.context, button: 'back-0123456789abcdef' },
      { ...post.actions[0]!.integration.context, proof: '0'.repeat(64) },
      { button: 'x' },
      {},
    ])
      expect((await standIn.click(post, mattermost.ANNA, (body) => ({ ...body, context }))).status).toBe(401)
    expect(await at.agent.drained()).toEqual([])
  })

  test('by GET nothing is asked for', async () => {
    const at = await scene()
    const query = new URLSearchParams(mattermost.command('deploy'))
    expect(
      (await fetch(`${at.url}?${query}`, { headers: { authorization: `Token ${mattermost.SECRET}` } }))
        .status,
    ).toBe(405)
  })
})
