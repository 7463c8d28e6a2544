// The chats of ropeway.yml: what it may leave out, and what it must not.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../agent/config/config.ts'
import { chatSchema, type Chat } from '../../../shared/chat/chat.ts'
import { Problem } from '../../../shared/problems.ts'
import { tempDir } from '../../support/host.ts'

const ENV = {
  SLACK_SECRET: '8f742231b10e8888abcd99yyyzzz85a5',
  KEY32: btoa('0123456789abcdefghijklmnopqrstuv'),
  ID: 'abcdefghijklmnopqrstuvwxyz',
  TELEGRAM_TOKEN: `123456789:${'A'.repeat(35)}`,
  SLACK_TOKEN: 'xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy',
}

const ID = 'abcdefghijklmnopqrstuvwxyz'
const BOT = 'secret: { env: SLACK_SECRET }, token: { env: TELEGRAM_TOKEN }'
const KEY = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'

function write(chat: string, images = 'ghcr.io/acme/hello'): string {
  const dir = tempDir()
  writeFileSync(join(dir, 'docker-compose.yml'), 'services: {}\n')
  const path = join(dir, 'ropeway.yml')
  writeFileSync(
    path,
    `relay: https://relay.example
host: vps-1
stacks:
  hello:
    compose: ./docker-compose.yml
    allow: { images: [${images}] }
chat:
  ${chat}
`,
  )
  return path
}

const chatOf = async (chat: string, images?: string): Promise<Chat> => {
  const [found] = (await loadConfig(write(`ops: ${chat}`, images), ENV)).chats
  expect(chatSchema.parse(found)).toEqual(found)
  return found!
}
const faultsOf = (chat: string): Promise<readonly string[]> =>
  loadConfig(write(chat), ENV).then(
    () => [],
    (error: unknown) => (error instanceof Problem ? (error.log ?? []) : [String(error)]),
  )

const SLACK = 'type: slack, secret: { env: SLACK_SECRET }, teams: T012AB3C4'

test('all that is said goes to the relay, and the one image that is allowed', async () => {
  const said = `{ ${SLACK}, token: { env: SLACK_TOKEN }, channels: [C012AB3C4], ttl: 10m, stacks: { hello: { deploy: U012AB3C4 } } }`
  expect(await chatOf(said)).toEqual({
    type: 'slack',
    name: 'ops',
    ttlMs: 600_000,
    keys: [ENV.SLACK_SECRET],
    token: ENV.SLACK_TOKEN,
    teams: ['T012AB3C4'],
    channels: ['C012AB3C4'],
    stacks: [{ name: 'hello', image: 'ghcr.io/acme/hello', deploy: ['U012AB3C4'] }],
  })
})

test('who is not listed may do nothing, and of several images none is meant', async () => {
  expect(await chatOf(`{ ${SLACK}, stacks: { hello: {} } }`, 'a/b, c/d')).toMatchObject({
    channels: [],
    ttlMs: 3600_000,
    stacks: [{ name: 'hello', deploy: [] }],
  })
  const { stacks } = await chatOf(`{ ${SLACK}, stacks: { hello: { image: c/d } } }`, 'a/b, c/d')
  expect(stacks[0]?.image).toBe('docker.io/c/d')
})

test('who approves is listed, and by default not oneself', async () => {
  const { stacks } = await chatOf(
    `{ ${SLACK}, stacks: { hello: { deploy: U012AB3C4, approve: [U045DE6F7] } } }`,
  )
  expect(stacks[0]).toMatchObject({ approve: ['U045DE6F7'], approveOwn: false })
})

test('commands that do not hold secrets see no chats', async () => {
  const path = write(`ops: { ${SLACK}, stacks: { hello: {} } }`)
  expect((await loadConfig(path, {}, { withSecrets: false })).chats).toEqual([])
})

test.each([
  ['ops: { type: irc }', /chat\.ops\.type: should be slack, discord, telegram, mattermost or teams/],
  [`ops: { type: slack, secret: { env: NO }, teams: T012AB3C4, stacks: { hello: {} } }`, /NO is not set/],
  [
    `ops: { type: slack, secret: { env: SLACK_TOKEN }, teams: T012AB3C4, stacks: { hello: {} } }`,
    /SLACK_TOKEN is not a signing secret/,
  ],
  [
    `ops: { ${SLACK}, token: { env: SLACK_SECRET }, stacks: { hello: {} } }`,
    /SLACK_SECRET is not a bot token/,
  ],
  [`ops: { ${SLACK}, stacks: {} }`, /stacks: has no stack/],
  [`ops: { ${SLACK}, stacks: { other: {} } }`, /is not among the stacks/],
  [`ops: { ${SLACK}, stacks: { hello: { deploy: roadrunner } } }`, /not the id of a user/],
  [`ops: { ${SLACK}, channels: '#deploys', stacks: { hello: {} } }`, /not the id of a channel/],
  ['ops: { type: slack, secret: { env: SLACK_SECRET }, stacks: { hello: {} } }', /chat\.ops\.teams/],
  [`ops: { ${SLACK}, server: https://x.example, stacks: { hello: {} } }`, /chat\.ops\.server/],
  [
    `ops: { ${SLACK}, stacks: { hello: {} } }\n  two: { ${SLACK}, stacks: { hello: {} } }`,
    /chat\.two\.secret: is the same as that of ops/,
  ],
  [
    `ops: { type: discord, publicKey: '${'0'.repeat(64)}', teams: '290926798626357999', stacks: { hello: {} } }`,
    /publicKey: is one byte repeated/,
  ],
  [
    `ops: { type: discord, publicKey: ${KEY}, teams: 290926798626357999, stacks: { hello: {} } }`,
    /in quotes/,
  ],
  [`ops: { type: discord, secret: x, teams: '290926798626357999', stacks: { hello: {} } }`, /publicKey/],
  [
    `ops: { type: telegram, secret: { env: SLACK_SECRET }, channels: 1, stacks: { hello: {} } }`,
    /chat\.ops\.token/,
  ],
  [`ops: { type: telegram, ${BOT}, stacks: { hello: {} } }`, /chat\.ops\.channels/],
  [
    `ops: { type: telegram, ${BOT}, channels: 1, teams: 1, stacks: { hello: {} } }`,
    /chat\.ops\.teams: is nothing/,
  ],
  [
    `ops: { type: mattermost, secret: { env: ID }, teams: ${ID}, stacks: { hello: {} } }`,
    /chat\.ops\.server/,
  ],
  [
    `ops: { type: mattermost, secret: { env: ID }, teams: ${ID}, server: 'http://chat.example', stacks: { hello: {} } }`,
    /should be the https address/,
  ],
  [
    `ops: { type: teams, secret: { env: ID }, teams: x, stacks: { hello: {} } }`,
    /ID is not the security token/,
  ],
  [
    `ops: { type: teams, secret: { env: KEY32 }, teams: 72f988bf-86f1-41af-91ab-2d7cd011db47, stacks: { hello: { approve: x } } }`,
    /approve: needs buttons/,
  ],
  [`Ops: { ${SLACK}, stacks: { hello: {} } }`, /a name is up to 63/],
])('%s: %s', async (chat, fault) => {
  expect((await faultsOf(chat)).join('\n')).toMatch(fault)
})
