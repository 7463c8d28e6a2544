// Each platform's own proof, by what it publishes where it publishes anything.

import { expect, test } from 'vitest'
import { hear, type Chat } from '../../../shared/chat/chat.ts'
import * as discord from '../../support/chat/discord.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

// https://docs.slack.dev/authentication/verifying-requests-from-slack
const SLACK = {
  secret: '8f742231b10e8888abcd99yyyzzz85a5',
  timestamp: '1531420618',
  body: 'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
  signature: 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
}
const slackChat: Pick<Chat, 'type' | 'keys'> = { type: 'slack', keys: ['0'.repeat(32), SLACK.secret] }
const slackRequest = {
  headers: { 'x-slack-signature': SLACK.signature, 'x-slack-request-timestamp': SLACK.timestamp },
  body: bytes(SLACK.body),
}
const THEN = Number(SLACK.timestamp) * 1000

test('Slack’s published request', async () => {
  expect(await hear(slackChat, slackRequest, THEN)).toEqual({
    key: SLACK.secret,
    signedAt: THEN,
    interaction: {
      kind: 'command',
      id: '398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
      who: { team: 'T1DC2JH3J', channel: 'G8PSS9T3V', user: 'U2CERLKJA', name: 'roadrunner' },
      text: '',
      place: {
        channel: 'G8PSS9T3V',
        url: 'https://hooks.slack.com/commands/T1DC2JH3J/397700885554/96rGlfmibIGlgcZRskXaIFfN',
      },
    },
  })
})

test.each([
  ['300 s later', 300, undefined],
  ['301 s later', 301, 'request-stale'],
  ['301 s before', -301, 'request-stale'],
])('it is good for a time: %s', async (_, seconds, code) => {
  const heard = hear(slackChat, slackRequest, THEN + seconds * 1000)
  await (code === undefined ? heard : expect(heard).rejects.toMatchObject({ code }))
})

test('one that waited in the relay is heard, one from the future is not', async () => {
  const old = hear(slackChat, slackRequest, THEN + 3600_000, { mayBeOld: true })
  expect((await old).signedAt).toBe(THEN)
  const early = hear(slackChat, slackRequest, THEN - 3600_000, { mayBeOld: true })
  await expect(early).rejects.toMatchObject({ code: 'request-stale' })
})

// RFC 8032, 7.1; Discord publishes no request. Its first test's key, over a time and a body of ours.
test.each([
  [{}, undefined],
  [{ 'x-signature-timestamp': '1531420619' }, 'unauthorized'],
  [{ 'x-signature-timestamp': '' }, 'unauthorized'],
  [{ 'x-signature-timestamp': '1531420618, 1531420618' }, 'unauthorized'],
  [{ 'x-signature-ed25519': '' }, 'unauthorized'],
  [{ 'x-signature-ed25519': '0'.repeat(128) }, 'unauthorized'],
])('Discord’s proof with %j', async (over, code) => {
  const request = discord.signed({ type: 1 }, { at: 1531420618 })
  const chat: Pick<Chat, 'type' | 'keys'> = {
    type: 'discord',
    keys: ['f'.repeat(63) + '0', discord.PUBLIC_KEY],
  }
  const headers = { ...request.headers, ...over }
  const heard = hear(chat, { headers, body: bytes(request.body) }, THEN)
  if (code === undefined) expect((await heard).interaction).toEqual({ kind: 'greeting', answer: { type: 1 } })
  else await expect(heard).rejects.toMatchObject({ code })
})
