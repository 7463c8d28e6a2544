// `notify:` of ropeway.yml: what it may say, and each fault with its place and no word of a secret.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../../agent/config/config.ts'
import { Problem } from '../../../shared/problems.ts'
import { SECRET, tempDir } from '../../support/host.ts'
import { DISCORD, GITHUB, SIGNING, SLACK, TEAMS, TOKEN } from '../../support/notices.ts'

const ENV = {
  SLACK,
  DISCORD,
  TEAMS,
  GITHUB,
  SIGNING,
  TRIGGER: SECRET,
  OWN: `https://own.example/hook?t=${TOKEN}`,
}

function write(notify: string): string {
  const dir = tempDir()
  writeFileSync(join(dir, 'docker-compose.yml'), 'services: {}\n')
  writeFileSync(join(dir, 'slack'), `${SLACK}\n`)
  const path = join(dir, 'ropeway.yml')
  writeFileSync(
    path,
    `relay: http://127.0.0.1:8787
host: vps-1
stacks:
  hello:
    compose: ./docker-compose.yml
    triggers: { deploy: { type: standard-webhooks, secret: { env: TRIGGER } } }
    notify: ${notify}
`,
  )
  return path
}

async function faultsOf(notify: string, env: NodeJS.ProcessEnv = {}): Promise<readonly string[]> {
  const error: unknown = await loadConfig(write(notify), { ...ENV, ...env }).catch(
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof Problem)) throw new Error('it was accepted')
  expect(JSON.stringify([error, error.stack])).not.toContain(TOKEN)
  return error.log ?? [error.message]
}

test('every kind is read, with its name and moments', async () => {
  const path = write(`
      - { type: slack, url: { file: ./slack } }
      - { type: slack, name: on-call, on: [failure, stuck], url: { env: SLACK } }
      - { type: discord, url: { env: DISCORD } }
      - { type: teams, url: { env: TEAMS } }
      - { type: standard-webhooks, url: { env: OWN }, secret: { env: SIGNING } }
      - { type: github-deployment, repository: acme/hello, ref: main, token: { env: GITHUB } }
      - { type: github-deployment, name: ghes, repository: acme/hello, ref: 'v{tag}', environment: eu/blue,
          api: 'https://github.example.com/api/v3/', token: { env: GITHUB } }`)
  const { stacks } = await loadConfig(path, ENV)
  expect(stacks[0]?.notify.map(({ type, name, on }) => [type, name, on.join(' ')])).toEqual([
    ['slack', 'slack', 'start success failure stuck'],
    ['slack', 'on-call', 'failure stuck'],
    ['discord', 'discord', 'start success failure stuck'],
    ['teams', 'teams', 'start success failure stuck'],
    ['standard-webhooks', 'standard-webhooks', 'start success failure stuck'],
    ['github-deployment', 'github-deployment', 'start success failure stuck'],
    ['github-deployment', 'ghes', 'start success failure stuck'],
  ])
  const shown = JSON.stringify(stacks) + process.getBuiltinModule('node:util').inspect(stacks, { depth: 99 })
  for (const secret of [TOKEN, SIGNING]) expect(shown).not.toContain(secret)
})

test('a command without the agent’s environment reads all but those', async () => {
  const path = write('[{ type: slack, url: { env: NOT_SET } }]')
  const { stacks } = await loadConfig(path, {}, { withSecrets: false })
  expect(stacks[0]?.notify).toEqual([])
})

describe('addresses', () => {
  test.each([
    ['slack', `http://hooks.slack.com/services/${TOKEN}`],
    ['slack', `https://hooks.slack.com.evil.example/services/${TOKEN}`],
    ['slack', `https://evil.example/hooks.slack.com/services/${TOKEN}`],
    ['slack', `https://hooks.slack.com@evil.example/services/${TOKEN}`],
    ['slack', `https://user:${TOKEN}@hooks.slack.com/services/x`],
    ['slack', `https://hooks.slack.com:8443/services/${TOKEN}`],
    ['slack', `https://hooks.slack.com/services/`],
    ['slack', `https://hooks.slack.com/api/${TOKEN}`],
    ['slack', `https://127.0.0.1/services/${TOKEN}`],
    ['slack', `http://127.0.0.1/services/${TOKEN}`],
    ['slack', TOKEN],
    ['discord', `https://discord.com/api/users/${TOKEN}`],
    ['discord', `https://discord.com/api/webhooks/../users/${TOKEN}`],
    ['discord', `https://canary.evil.example/api/webhooks/1/${TOKEN}`],
    ['discord', `http://discord.com/api/webhooks/1/${TOKEN}`],
    ['teams', `https://logic.azure.com.evil.example/${TOKEN}`],
    ['teams', `https://evillogic.azure.com/${TOKEN}`],
    ['teams', `https://logic.azure.com/${TOKEN}`],
    ['teams', `http://a.webhook.office.com/${TOKEN}`],
    ['teams', `https://api.powerplatform.com/${TOKEN}`],
  ])('%s does not go to %s', async (type, url) => {
    expect(await faultsOf(`[{ type: ${type}, url: { env: URL } }]`, { URL: url })).toEqual([
      expect.stringMatching(/^line 7: stacks\.hello\.notify\.0\.url: URL is not an address as https:/),
    ])
  })

  test.each([
    ['slack', `https://hooks.slack-gov.com/services/${TOKEN}`],
    ['discord', `https://discordapp.com/api/webhooks/1/${TOKEN}?thread_id=5`],
    ['teams', `https://prod-23.westeurope.logic.azure.com:443/workflows/${TOKEN}`],
    ['teams', `https://acme.webhook.office.com/webhookb2/${TOKEN}`],
  ])('%s goes to %s', async (type, url) => {
    await expect(
      loadConfig(write(`[{ type: ${type}, url: { env: URL } }]`), { ...ENV, URL: url }),
    ).resolves.toBeDefined()
  })

  test.each([
    ['http://own.example/', false],
    ['http://127.0.0.1.evil.example/', false],
    ['https://user:password@own.example/', false],
    ['ftp://own.example/', false],
    ['https://own.example/#part', false],
    ['https://own.example:8443/hook?a=b', true],
    ['http://127.0.0.1:8080/hook', true],
    ['http://[::1]/', true],
  ])('an endpoint of one’s own at %s: %s', async (url, isTaken) => {
    const text = '[{ type: standard-webhooks, url: { env: URL }, secret: { env: SIGNING } }]'
    if (isTaken) await expect(loadConfig(write(text), { ...ENV, URL: url })).resolves.toBeDefined()
    else
      expect(await faultsOf(text, { URL: url })).toEqual([
        'line 7: stacks.hello.notify.0.url: URL is not an https address (http is for 127.0.0.1 alone)',
      ])
  })
})

describe('what is wrong', () => {
  test('all at once, each with its place', async () => {
    expect(
      await faultsOf(
        `
      - { type: slack, url: { env: NOT_SET } }
      - { type: slack, url: https://hooks.slack.com/services/${TOKEN} }
      - { type: discord, url: { file: 'https://discord.com/api/webhooks/1/${TOKEN}' } }
      - { type: pigeon }
      - { type: teams, url: { env: TEAMS }, on: [success, sometimes] }
      - { type: teams, name: Big, url: { env: TEAMS }, on: [] }
      - { type: standard-webhooks, name: own, url: { env: OWN }, secret: { env: SHORT } }
      - { type: github-deployment, repository: hello, ref: -x, token: { env: SHORT }, api: 'http://github.example.com' }
      - { type: slack, name: more, url: { env: SLACK }, channel: x }`,
        { SHORT: 'whsec_YWJj' },
      ),
    ).toEqual([
      'line 8: stacks.hello.notify.0.url: NOT_SET is not set in the environment',
      'line 9: stacks.hello.notify.1.url: should be { env: NAME } or { file: PATH }: the secret itself does not belong into this file',
      'line 10: stacks.hello.notify.2.url: should be { env: NAME } or { file: PATH }: the secret itself does not belong into this file',
      'line 11: stacks.hello.notify.3.type: should be slack, discord, teams, standard-webhooks or github-deployment',
      'line 12: stacks.hello.notify.4.on.1: should be start, success, failure, stuck',
      'line 13: stacks.hello.notify.5.name: a name is up to 63 lower-case letters, digits and dashes, and begins with no dash',
      'line 13: stacks.hello.notify.5.on: is empty',
      'line 14: stacks.hello.notify.6.secret: SHORT has 3 bytes, fewer than 24',
      'line 15: stacks.hello.notify.7.repository: should be owner/name',
      'line 15: stacks.hello.notify.7.ref: is not a branch, a tag or a commit',
      'line 15: stacks.hello.notify.7.token: SHORT is not a token of GitHub’s',
      'line 15: stacks.hello.notify.7.api: should be the https address of the API, as https://github.example.com/api/v3',
      'line 16: stacks.hello.notify.8.channel: is not a key that Ropeway knows',
    ])
  })

  test('two of one name cannot be told apart', async () => {
    expect(
      await faultsOf('[{ type: slack, url: { env: SLACK } }, { type: slack, url: { env: SLACK } }]'),
    ).toEqual([
      'line 7: stacks.hello.notify.1: is the second one called slack: give it a name of its own, by which its notices are told apart',
    ])
  })

  test('a signing secret that is a trigger’s too: its receiver could deploy', async () => {
    expect(
      await faultsOf('[{ type: standard-webhooks, url: { env: OWN }, secret: { env: TRIGGER } }]'),
    ).toEqual([
      'line 7: stacks.hello.notify.0.secret: is the same as that of stacks.hello.triggers.deploy: whoever gets the notices could sign a deploy. Give each its own',
    ])
  })

  test('more than anybody reads', async () => {
    expect(
      await faultsOf(
        `[${Array.from({ length: 17 }, (_, index) => `{ type: slack, name: s${index}, url: { env: SLACK } }`).join(', ')}]`,
      ),
    ).toEqual(['line 7: stacks.hello.notify: has more than 16 entries'])
  })
})
