// Slack at the real Worker: who is heard, what they are told, and a message that follows a deploy to its end.

import { describe, expect, test } from 'vitest'
import type { Chat } from '../../../shared/chat/chat.ts'
import type { AgentEvent } from '../../../shared/events.ts'
import { IMAGE, relayBeside, chatScene, withChats, type ChatScene } from '../../support/chat/scene.ts'
import * as slack from '../../support/chat/slack.ts'
import { ROLL, type Answer } from '../../support/relay.ts'
import { until } from '../../support/until.ts'

const standIn = new slack.SlackStandIn()
const relay = relayBeside(standIn)

const scene = (over: Partial<Chat> = {}) =>
  chatScene(relay(), {
    type: 'slack',
    keys: [slack.SECRET],
    token: slack.TOKEN,
    teams: [slack.TEAM],
    channels: [slack.CHANNEL],
    stacks: [{ name: 'hello', image: IMAGE, deploy: [slack.ANNA] }],
    ...over,
  })
const say = (to: ChatScene, text: string, over: Record<string, string> = {}): Promise<Answer> =>
  slack.send(to.url, slack.signed(slack.command(text, over)))
const now = () => Math.floor(Date.now() / 1000)
const words = (answer: Answer): string => answer.body?.blocks[0].text.text
const DONE: AgentEvent = {
  type: 'succeeded',
  ms: 2420,
  changed: true,
  services: { app1: `${IMAGE}:v2@sha256:${'a'.repeat(64)}`, app2: `${IMAGE}:v2@sha256:${'a'.repeat(64)}` },
  release: 4,
}

async function deployed(at: ChatScene): Promise<{ id: string; value: string }> {
  const before = standIn.messages.length
  await say(at, 'deploy hello v2')
  const { id } = await at.agent.nextDeploy()
  at.agent.report(id, 1, ...ROLL.slice(0, -1), DONE)
  const button = await until('the button', () => standIn.messages[before]?.buttons[0])
  await at.agent.drained()
  return { id, value: button.value }
}
const clicked = (at: ChatScene, value: string, over = {}) =>
  slack.send(at.url, slack.signed(slack.click(value, over)))

test('a deploy is answered at once, shown in one message, and ends with all that a person asks for', async () => {
  const at = await scene()
  const before = standIn.messages.length
  const answer = await say(at, 'deploy hello v2')
  expect(answer).toMatchObject({ status: 200, body: { response_type: 'ephemeral' } })
  expect(words(answer)).toMatch(/^hello: accepted, deploy \w{16}\nIts agent is there\./)
  const frame = await at.agent.nextDeploy()
  expect(frame).toMatchObject({ stack: 'hello', trigger: 'chat:ops', proof: { kind: 'chat' } })
  expect((await at.host.get(`/deploys/${frame.id}`)).body).toMatchObject({
    actor: `ops:roadrunner(${slack.ANNA})`,
    request: { image: `${IMAGE}:v2` },
  })
  const message = await until('the message', () => standIn.messages[before])
  at.agent.report(frame.id, 1, ...ROLL.slice(0, -1))
  await until('an edit', () =>
    message.texts.some((text) => text.includes('rolling, 1 of 1: verify through nginx')),
  )
  at.agent.report(frame.id, ROLL.length, DONE)
  await until('the end', () => message.texts.at(-1)?.includes('succeeded'))
  expect(message.texts.at(-1)?.split('\n')).toEqual([
    'hello: succeeded in 2.42 s, release 4',
    `app1, app2: ${IMAGE}:v2@sha256:${'a'.repeat(12)}…`,
    `${IMAGE}:v2, asked for by ops:roadrunner(${slack.ANNA}), on ${at.host.name}`,
    `${relay().url}/watch#host=${at.host.name}&deploy=${frame.id}`,
  ])
  expect(message.buttons).toEqual([{ label: 'Roll back', value: `back-${frame.id}` }])
  expect(message.channel).toBe(slack.CHANNEL)
  expect(standIn.messages).toHaveLength(before + 1)
})

test('many steps are few edits, and the end is never left out', async () => {
  const at = await scene()
  const before = standIn.messages.length
  await say(at, 'deploy')
  const { id } = await at.agent.nextDeploy()
  const message = await until('the message', () => standIn.messages[before])
  at.agent.report(id, 1, ...ROLL.slice(0, 3))
  for (let n = 0; n < 200; n++) at.agent.report(id, 4 + n, { type: 'step-progress', step: 0, facts: { n } })
  at.agent.report(id, 204, DONE)
  await until('the end', () => message.texts.at(-1)?.includes('succeeded'))
  expect(message.texts.length).toBeLessThan(5)
})

test('a failure says why, and who still serves', async () => {
  const at = await scene()
  const before = standIn.messages.length
  await say(at, 'deploy hello v3')
  const { id } = await at.agent.nextDeploy()
  const problem = {
    code: 'container-unhealthy' as const,
    message: 'app2 answers 500',
    log: ['\u001B[31mboom\u001B[0m <!channel> & @everyone'],
  }
  at.agent.report(id, 1, ...ROLL.slice(0, 3), { type: 'failed', ms: 8100, problem })
  await until('the end', () => standIn.messages[before]?.texts.at(-1)?.includes('failed'))
  expect(standIn.messages[before]?.texts.at(-1)?.split('\n').slice(0, 3)).toEqual([
    'hello: failed after 8.10 s, still serving the previous version',
    'app2 answers 500 (container-unhealthy).',
    '| boom <!channel> & @everyone',
  ])
  expect(standIn.messages[before]?.buttons).toEqual([])
})

test('the same delivery again is the same deploy', async () => {
  const at = await scene()
  const form = slack.command('deploy hello v2')
  await slack.send(at.url, slack.signed(form))
  expect(words(await slack.send(at.url, slack.signed(form)))).toBe('hello: that was asked for already.')
  expect(await at.agent.drained()).toHaveLength(1)
})

test('help, status and history are answered without the agent', async () => {
  const at = await scene()
  await at.agent.close()
  expect(words(await say(at, ''))).toMatch(/^deploy STACK \[TAG\]/)
  expect(words(await say(at, 'status', { user_id: slack.MALLORY }))).toMatch(
    /hello: its agent is away.*\nno deploy yet/,
  )
  expect(words(await say(at, 'history hello'))).toMatch(/no release yet/)
  expect(words(await say(at, 'deploy hello v2'))).toMatch(/this runs when it is back/)
  expect(words(await say(at, 'status'))).toMatch(/last deploy: queued, by ops:roadrunner/)
})

test('rollback goes to the release before', async () => {
  const at = await scene()
  await say(at, 'rollback hello')
  const { id } = await at.agent.nextDeploy()
  expect((await at.host.get(`/deploys/${id}`)).body.request).toEqual({ release: 'previous' })
})

describe('who may not is told so, and the host’s people see it', () => {
  test.each<[string, string, Record<string, string>, RegExp]>([
    [
      'a user who is not listed',
      'deploy hello v2',
      { user_id: slack.MALLORY },
      /^You may not deploy hello\./,
    ],
    ['of rollbacks too', 'rollback', { user_id: slack.MALLORY }, /^You may not rollback hello\./],
    ['another channel', 'status', { channel_id: 'C0ELSEWHERE' }, /^I take no commands here\./],
    ['a message to the bot alone', 'status', { channel_id: 'D0DIRECT' }, /^I take no commands here\./],
    ['another workspace', 'status', { team_id: 'T0OTHER' }, /^I take no commands here\./],
  ])('%s', async (_, text, over, expected) => {
    const at = await scene()
    const answer = await say(at, text, over)
    expect(answer).toMatchObject({ status: 200, body: { response_type: 'ephemeral' } })
    expect(words(answer)).toMatch(expected)
    expect(await at.agent.drained()).toEqual([])
    expect(await at.refused()).toContain(over['user_id'] ?? slack.ANNA)
  })

  test.each([
    ['another stack', 'deploy other v2', /no stack "other" here/],
    ['a tag that is none', 'deploy hello $(id)', /not a tag/],
    ['an image of the sender’s choice', 'deploy hello evil.example/app:v1', /not a tag/],
    ['no command', 'destroy', /I do not know "destroy"/],
  ])('%s is no command', async (_, text, expected) => {
    const at = await scene()
    expect(words(await say(at, text))).toMatch(expected)
    expect(await at.agent.drained()).toEqual([])
  })
})

describe('what is not Slack’s is refused, all alike', () => {
  const form = slack.command('deploy hello v2')
  const good = slack.signed(form)
  test.each<[string, { headers: Record<string, string>; body: string }]>([
    ['another secret', slack.signed(form, { secret: 'a'.repeat(32) })],
    ['an old time', slack.signed(form, { at: now() - 3600 })],
    ['a time to come', slack.signed(form, { at: now() + 3600 })],
    ['no number for a time', slack.signed(form, { at: 'NaN' })],
    ['another body', { ...good, body: `${good.body}&x=1` }],
    [
      'upper case',
      {
        ...good,
        headers: { ...good.headers, 'x-slack-signature': good.headers['x-slack-signature']!.toUpperCase() },
      },
    ],
    [
      'no version',
      {
        ...good,
        headers: { ...good.headers, 'x-slack-signature': good.headers['x-slack-signature']!.slice(3) },
      },
    ],
    [
      'two signatures',
      {
        ...good,
        headers: {
          ...good.headers,
          'x-slack-signature': `${good.headers['x-slack-signature']}, v0=${'0'.repeat(64)}`,
        },
      },
    ],
    ['no signature', { ...good, headers: { 'content-type': good.headers['content-type']! } }],
  ])('%s', async (_, request) => {
    const at = await scene()
    expect((await slack.send(at.url, request)).status).toBe(401)
    expect(await at.agent.drained()).toEqual([])
  })

  test('and so is what is signed and makes no sense, without a word to Slack of how it failed', async () => {
    const at = await scene()
    for (const body of ['user_id=a&user_id=b', 'payload=[]', 'payload={', 'text=deploy', '%FF=1'])
      expect((await slack.send(at.url, slack.signed(body))).status).toBe(400)
    expect((await slack.send(at.url, slack.signed('ssl_check=1&token=x'))).status).toBe(200)
  })
})

describe('the button', () => {
  test('rolls back what its message is about, once, however often it is clicked', async () => {
    const at = await scene()
    const { id, value } = await deployed(at)
    const url = standIn.responseUrl()
    expect(await clicked(at, value, { url })).toMatchObject({ status: 200, body: undefined })
    const frame = await at.agent.nextDeploy()
    expect((await at.host.get(`/deploys/${frame.id}`)).body.request).toEqual({
      release: 'previous',
      ifRuns: id,
    })
    const again = await clicked(at, value, { url })
    expect(again.status).toBe(200)
    await until('both words', () => standIn.responses.get(url)?.length === 2)
    expect(
      standIn.responses
        .get(url)
        ?.map(({ response_type, replace_original }) => [response_type, replace_original]),
    ).toEqual([
      ['ephemeral', false],
      ['ephemeral', false],
    ])
    expect(await at.agent.drained()).toEqual([])
    expect(frame.id).not.toBe(id)
  })

  test.each([
    ['somebody who may not', { user: slack.MALLORY }, 'You may not roll hello back.'],
    ['another channel', { channel: 'C0ELSEWHERE' }, 'I take no commands here.'],
  ])('is not for %s', async (_, over, expected) => {
    const at = await scene()
    const { value } = await deployed(at)
    const url = standIn.responseUrl()
    await clicked(at, value, { ...over, url })
    await until('the words', () => standIn.responses.get(url)?.length)
    expect(JSON.stringify(standIn.responses.get(url))).toContain(expected)
    expect(await at.agent.drained()).toEqual([])
  })

  test('does nothing once another deploy came after it', async () => {
    const at = await scene()
    const { value } = await deployed(at)
    await deployed(at)
    const url = standIn.responseUrl()
    await clicked(at, value, { url })
    await until('the words', () => standIn.responses.get(url)?.length)
    expect(JSON.stringify(standIn.responses.get(url))).toContain('not what hello runs any more')
    expect(await at.agent.drained()).toEqual([])
  })

  test.each(['back-0000000000000000', 'back-', '', 'deploy hello v2'])(
    'that is not ours (%j) does nothing',
    async (value) => {
      const at = await scene()
      const url = standIn.responseUrl()
      await clicked(at, value, { url })
      await until('the words', () => standIn.responses.get(url)?.length)
      expect(JSON.stringify(standIn.responses.get(url))).toContain('I do not know that deploy')
    },
  )
})

describe('calls go to Slack alone', () => {
  test.each([
    'https://evil.example/commands/T1/1/x',
    'http://hooks.slack.com/commands/T1/1/x',
    'https://hooks.slack.com:8443/commands/T1/1/x',
    'https://hooks.slack.com@evil.example/commands/T1/1/x',
    'https://user@hooks.slack.com/commands/T1/1/x',
    'https://hooks.slack.com.evil.example/x',
  ])('%s is never called', async (response_url) => {
    const at = await scene({ token: undefined })
    const before = standIn.calls.length
    expect((await say(at, 'deploy hello v2', { response_url })).status).toBe(200)
    const { id } = await at.agent.nextDeploy()
    at.agent.report(id, 1, ...ROLL)
    await until('the log', async () => (await at.refused())?.includes('cannot be shown'))
    expect(standIn.calls.slice(before)).toEqual([])
  })

  test('a redirect is not followed', async () => {
    const at = await scene()
    const before = standIn.calls.length
    standIn.next.push(
      () => new Response(null, { status: 307, headers: { location: 'https://evil.example/' } }),
    )
    await say(at, 'deploy hello v2')
    await until('the end', async () => (await at.refused())?.includes('cannot be shown'))
    expect(standIn.calls.slice(before)).toEqual(['POST slack.com/api/chat.postMessage'])
  })
})

describe('when Slack is not well', () => {
  test('an error is tried again, at the time that it names', async () => {
    const at = await scene()
    const before = standIn.messages.length
    standIn.next.push(() => new Response('', { status: 429, headers: { 'retry-after': '1' } }))
    await say(at, 'deploy hello v2')
    await until('the message', () => standIn.messages[before], 10_000)
  })

  test('where the bot is not, the command’s own address serves: at the beginning and at the end', async () => {
    const at = await scene()
    standIn.closed.add('C0CLOSED')
    const url = standIn.responseUrl()
    const elsewhere = await scene({ channels: ['C0CLOSED'] })
    await say(elsewhere, 'deploy hello v2', { channel_id: 'C0CLOSED', response_url: url })
    const { id } = await elsewhere.agent.nextDeploy()
    await until('the beginning', () => standIn.responses.get(url)?.length === 1)
    elsewhere.agent.report(id, 1, ...ROLL.slice(0, -1), DONE)
    await until('the end', () => standIn.responses.get(url)?.length === 2)
    expect(standIn.responses.get(url)?.[1]).toMatchObject({ response_type: 'in_channel' })
    await at.agent.close()
  })

  test('a hub that ends before the end shows it when it is back', async () => {
    const at = await scene()
    const before = standIn.messages.length
    await say(at, 'deploy hello v2')
    const { id } = await at.agent.nextDeploy()
    const message = await until('the message', () => standIn.messages[before])
    await at.agent.close()
    await relay().miniflare.unsafeEvictDurableObject('ropeway', 'Hub', { name: at.host.name })
    const back = await withChats(at.host, [at.chat])
    back.report(id, 1, ...ROLL.slice(0, -1), DONE)
    await until('the end', () => message.texts.at(-1)?.includes('succeeded'))
  })
})
