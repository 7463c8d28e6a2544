// What a chat's platform sent, at the agent: a relay that lies, or reads more into it than was said, gets nothing run.

import { describe, expect, test } from 'vitest'
import { verifyFrame } from '../../../agent/daemon/verify.ts'
import { releaseToGoBackTo, checkOrder } from '../../../agent/roll/wanted.ts'
import type { Release } from '../../../agent/roll/releases/release.ts'
import type { Chat } from '../../../shared/chat/chat.ts'
import { deployId } from '../../../shared/deploy-id.ts'
import { CHAT_TTL_MS } from '../../../shared/limits.ts'
import { toBase64, type DeployFrame } from '../../../shared/protocol.ts'
import { IssuerKeys } from '../../../shared/triggers/issuer-keys.ts'
import * as slack from '../../support/chat/slack.ts'
import { configFor, HOST, stackConfig } from '../../support/host.ts'

const CHAT: Chat = {
  type: 'slack',
  name: 'ops',
  ttlMs: CHAT_TTL_MS,
  keys: [slack.SECRET],
  teams: [slack.TEAM],
  channels: [slack.CHANNEL],
  stacks: [
    { name: 'hello', image: 'ghcr.io/acme/hello', deploy: [slack.ANNA] },
    { name: 'other', image: 'ghcr.io/acme/other', deploy: [] },
  ],
}
const config = configFor('https://relay.example', [stackConfig('hello'), stackConfig('other')], [CHAT])
const trusted = { publicKeys: async () => [], revoked: async () => [], issuers: new IssuerKeys() }

interface Lie {
  readonly form?: Record<string, string>
  readonly secret?: string
  readonly stack?: string
  readonly id?: readonly string[]
  readonly trigger?: string
  readonly body?: string
  readonly afterMs?: number
}

async function verify({ form = slack.command('deploy hello v2'), stack = 'hello', ...lie }: Lie = {}) {
  const { headers, body } = slack.signed(form, lie.secret === undefined ? {} : { secret: lie.secret })
  const frame: DeployFrame = {
    type: 'deploy',
    id: await deployId(HOST, stack, '@chat', 'ops', ...(lie.id ?? [form['trigger_id'] ?? ''])),
    stack,
    trigger: lie.trigger ?? 'chat:ops',
    acceptedAt: Date.now(),
    proof: { kind: 'chat', headers, body: toBase64(new TextEncoder().encode(lie.body ?? body)) },
  }
  return verifyFrame(frame, config, trusted, new Date(Date.now() + (lie.afterMs ?? 0)))
}

test('what is run is what was said, by whoever said it', async () => {
  const { deploy } = await verify({ afterMs: 1800_000 })
  expect(deploy).toMatchObject({
    stack: 'hello',
    trigger: 'chat:ops',
    actor: `ops:roadrunner(${slack.ANNA})`,
    trust: 'signed',
    request: { image: 'ghcr.io/acme/hello:v2' },
  })
  expect(deploy.expiresAt - Date.now()).toBeLessThanOrEqual(CHAT_TTL_MS + 300_000)
})

const command = slack.command
test.each<[string, Lie]>([
  ['signed with another secret', { secret: 'a'.repeat(32) }],
  ['another body', { body: String(new URLSearchParams(command('deploy hello v3'))) }],
  ['another stack than was said', { stack: 'other' }],
  ['a stack that its speaker may not deploy', { form: command('deploy other v2'), stack: 'other' }],
  ['a user who is not listed', { form: command('deploy hello v2', { user_id: slack.MALLORY }) }],
  ['another channel', { form: command('deploy hello v2', { channel_id: 'C0ELSEWHERE' }) }],
  ['another workspace', { form: command('deploy hello v2', { team_id: 'T0OTHER' }) }],
  ['somebody who only looked', { form: command('status hello') }],
  ['a greeting', { form: { ssl_check: '1' } }],
  ['another id, so that it runs twice', { id: ['again'] }],
  ['a chat that this host has not', { trigger: 'chat:other' }],
  ['a trigger in the chat’s place', { trigger: 'deploy' }],
])('%s is declined', async (_, lie) => {
  await expect(verify(lie)).rejects.toMatchObject({ code: 'request-unverified' })
})

test('a chat’s request is no hook’s, and a hook’s no chat’s', async () => {
  const { headers, body } = slack.signed(command('deploy hello v2'))
  const frame = {
    type: 'deploy',
    id: '0123456789abcdef',
    stack: 'hello',
    trigger: 'chat:ops',
    acceptedAt: 1,
    proof: { kind: 'hook', headers, body: toBase64(new TextEncoder().encode(body)) },
  } as const
  await expect(verifyFrame(frame, config, trusted, new Date())).rejects.toMatchObject({
    code: 'request-unverified',
  })
})

const release = (number: number, by: string) => ({ number, deploy: by, of: number, builtAt: null }) as Release

const signed = (of: Record<string, string>, atSeconds: number, secret = slack.SECRET) => {
  const { headers, body } = slack.signed(of, { at: atSeconds, secret })
  return { headers, body: toBase64(new TextEncoder().encode(body)) }
}

describe('what waits for an approval', () => {
  const BOB = 'U0BOB'
  const stacks = [
    { name: 'hello', image: 'ghcr.io/acme/hello', deploy: [slack.ANNA], approve: [BOB, slack.ANNA] },
  ]
  const approving = configFor('https://relay.example', [stackConfig('hello')], [{ ...CHAT, stacks }])
  const form = command('deploy hello v2')

  async function verifyApproved(
    click: (id: string) => Record<string, string> | undefined,
    { secret = slack.SECRET, afterSeconds = 600 } = {},
  ) {
    const id = await deployId(HOST, 'hello', '@chat', 'ops', form['trigger_id'] ?? '')
    const now = Math.floor(Date.now() / 1000)
    const clicked = click(id)
    const approval = clicked && signed(clicked, now, secret)
    const frame: DeployFrame = {
      type: 'deploy',
      id,
      stack: 'hello',
      trigger: 'chat:ops',
      acceptedAt: Date.now(),
      proof: { kind: 'chat', ...signed(form, now - afterSeconds), ...(approval ? { approval } : {}) },
    }
    return verifyFrame(frame, approving, trusted, new Date())
  }

  test('is run when somebody else has approved it, and counts from then', async () => {
    const { deploy } = await verifyApproved((id) => slack.click(`yes-${id}`, { user: BOB }))
    expect(deploy.actor).toBe(`ops:roadrunner(${slack.ANNA}), approved by ops:roadrunner(${BOB})`)
    expect(Date.now() - (deploy.signedAt ?? 0)).toBeLessThan(60_000)
  })

  test.each<[string, Parameters<typeof verifyApproved>]>([
    ['nobody', [() => undefined]],
    ['whoever asked', [(id) => slack.click(`yes-${id}`)]],
    ['somebody who is not listed', [(id) => slack.click(`yes-${id}`, { user: slack.MALLORY })]],
    ['somebody elsewhere', [(id) => slack.click(`yes-${id}`, { user: BOB, channel: 'C0ELSEWHERE' })]],
    ['a click on Reject', [(id) => slack.click(`no-${id}`, { user: BOB })]],
    ['a click for another deploy', [() => slack.click('yes-0123456789abcdef', { user: BOB })]],
    ['a command in a click’s place', [() => command('deploy hello v2', { user_id: BOB })]],
    [
      'a click that was forged',
      [(id) => slack.click(`yes-${id}`, { user: BOB }), { secret: 'a'.repeat(32) }],
    ],
    ['a click hours later', [(id) => slack.click(`yes-${id}`, { user: BOB }), { afterSeconds: 7200 }]],
  ])('is declined when it was approved by %s', async (_, parts) => {
    await expect(verifyApproved(...parts)).rejects.toMatchObject({ code: 'request-unverified' })
  })
})

describe('a click on Roll back', () => {
  const deploy = '0123456789abcdef'

  test('asks for what was before that one deploy', async () => {
    const verified = await verify({ form: slack.click(`back-${deploy}`), id: ['@back', deploy] })
    expect(verified.deploy.request).toEqual({ release: 'previous', ifRuns: deploy })
  })

  test('by somebody else is declined', async () => {
    const form = slack.click(`back-${deploy}`, { user: slack.MALLORY })
    await expect(verify({ form, id: ['@back', deploy] })).rejects.toMatchObject({
      code: 'request-unverified',
    })
  })

  test('is refused when another release came after it, or when it was another stack’s', () => {
    const request = { release: 'previous', ifRuns: deploy } as const
    const releases = [release(1, 'x'), release(2, deploy)]
    expect(() => checkOrder(request, releases)).not.toThrow()
    expect(releaseToGoBackTo(releases, 'previous', true).number).toBe(1)
    for (const others of [[...releases, release(3, 'y')], [release(1, 'x')], []])
      expect(() => checkOrder(request, others)).toThrow(expect.objectContaining({ code: 'request-outdated' }))
  })
})
