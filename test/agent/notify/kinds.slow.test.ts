// Each platform against a stand-in that refuses what the platform does, by real requests.

import { describe, expect, test } from 'vitest'
import type { Outcome } from '../../../agent/notify/kind.ts'
import type { Notice } from '../../../agent/notify/notice.ts'
import { SIGNATURE_AGE_SECONDS_MAX } from '../../../shared/limits.ts'
import { verifyStandardWebhook } from '../../../shared/triggers/standard-webhooks.ts'
import { destination, ID, notice, SIGNING, TOKEN, worst } from '../../support/notices.ts'
import { platforms, refuse, type Platforms } from '../../support/platforms.ts'

const ENTRIES = {
  slack: { type: 'slack', url: { env: 'SLACK' } },
  discord: { type: 'discord', url: { env: 'DISCORD' } },
  teams: { type: 'teams', url: { env: 'TEAMS' } },
  'github-deployment': {
    type: 'github-deployment',
    repository: 'acme/hello',
    ref: '{tag}',
    token: { env: 'GITHUB' },
  },
  'standard-webhooks': { type: 'standard-webhooks', url: { env: 'OWN' }, secret: { env: 'SIGNING' } },
} as const
type Type = keyof typeof ENTRIES
const TYPES = Object.keys(ENTRIES) as Type[]
const CHATS = ['slack', 'discord', 'teams'] as const

async function world() {
  const to = await platforms()
  const env = { OWN: `${to.url}/own.example/hook?token=${TOKEN}`, SIGNING }
  const tell = (type: Type, told: Notice = notice(), nowMs = Date.now()): Promise<Outcome> =>
    destination(ENTRIES[type], type === 'standard-webhooks' ? env : undefined).tell(told, {
      send: (request) => to.send(request),
      nowMs,
    })
  return { to, tell }
}

const STORIES: readonly (readonly [string, Notice])[] = [
  ['a start', notice({ moment: 'start' })],
  ['a success', notice()],
  [
    'a failure',
    notice({ moment: 'failure', standing: 'before', problem: { code: 'deadline', message: 'late' } }),
  ],
  [
    'a stack that is stuck',
    notice({ moment: 'stuck', serving: [], undo: { code: 'internal', message: 'no' } }),
  ],
  ['a deploy without anything to say', notice({ changes: [], link: undefined, ms: 0 })],
  // What takes most room: as UTF-8, as JSON, as entities, and with a backslash.
  ...[
    'x',
    '漢',
    '😀',
    '\u0001',
    '&',
    '<!channel>',
    '*',
    '`',
    '@everyone ',
    '<at>all</at>',
    '\n',
    'a\nb',
    '\ud800',
  ].map((text) => [`the worst of ${JSON.stringify(text)}`, worst(text)] as const),
]

describe.each(TYPES)('%s', (type) => {
  test.each(STORIES)('takes %s', async (_, told) => {
    const { tell } = await world()
    expect(await tell(type, told)).toEqual({ isSent: true })
  })

  test.each([
    [500, {}, { isFinal: false }],
    [503, { 'retry-after': '7' }, { isFinal: false, retryAfterMs: 7000 }],
    [429, { 'retry-after': '1.5' }, { isFinal: false, retryAfterMs: 1500 }],
    [408, {}, { isFinal: false }],
  ])('is tried again after HTTP %i', async (status, headers, expected) => {
    const { to, tell } = await world()
    to.next.push(refuse(status, headers))
    expect(await tell(type)).toMatchObject({ isSent: false, ...expected })
  })

  test.each([301, 302, 307, 308])('does not follow HTTP %i', async (status) => {
    const { to, tell } = await world()
    to.next.push(refuse(status, { location: `${to.url}/elsewhere.example/` }))
    expect(await tell(type)).toMatchObject({ isSent: false, fault: expect.stringContaining('not followed') })
    expect(to.got).toHaveLength(1)
  })

  test('says nothing of its secret, whatever comes back', async () => {
    const { to, tell } = await world()
    for (const status of [302, 400, 403, 404, 410, 500]) {
      // As many servers do with an address that they do not know.
      to.next.push((response, { url, query, headers }) => {
        const echo = `${headers.authorization ?? ''} ${url}?${query.toString()}`
        response
          .writeHead(status, { location: url })
          .end(status === 404 ? JSON.stringify({ message: echo, code: echo }) : echo)
      })
      const outcome = await tell(type)
      expect(outcome.isSent).toBe(false)
      expect(JSON.stringify(outcome)).not.toContain(TOKEN)
    }
  })

  test('shows nothing of its secret to whoever prints it', () => {
    const env = { OWN: `https://own.example/${TOKEN}`, SIGNING }
    const made = destination(ENTRIES[type], type === 'standard-webhooks' ? env : undefined)
    const { inspect } = process.getBuiltinModule('node:util')
    const shown = inspect(made, { depth: Infinity, showHidden: true }) + JSON.stringify(made)
    for (const secret of [TOKEN, SIGNING]) expect(shown).not.toContain(secret)
  })
})

describe.each(['slack', 'discord', 'teams', 'github-deployment'] as const)('%s', (type) => {
  test.each([400, 401, 403, 404])('is given up at HTTP %i', async (status) => {
    const { to, tell } = await world()
    to.next.push(refuse(status))
    expect(await tell(type)).toMatchObject({ isSent: false, isFinal: true, fault: `HTTP ${status}` })
  })
})

/** All that a person would read of the message, unescaped as far as it goes. */
function read({ got }: Platforms): string {
  return JSON.stringify(got.at(-1)?.body).replaceAll(/\\\\|\\n/g, '')
}

describe.each(CHATS)('what %s says', (type) => {
  const said = async (over: Partial<Notice>) => {
    const { to, tell } = await world()
    await tell(type, notice(over))
    return read(to)
  }

  test('a success: who, from what to what, how long', async () => {
    const text = await said({ reason: 'nightly', release: 7 })
    for (const part of [
      'hello on vps',
      'succeeded in 2.42 s',
      'app2, app1: ghcr.io/acme/hello:v1 → ghcr.io/acme/hello:v2',
    ])
      expect(text).toContain(part)
    for (const part of ['ci', 'nightly', '7', ID, 'https://relay.example/watch#host=vps-1'])
      expect(text).toContain(part)
  })

  test('a failure that was undone: why, and that the previous version serves', async () => {
    const problem = {
      code: 'container-unhealthy',
      message: 'app2 answers 500',
      log: ['boom', 'at line 3'],
    } as const
    const text = await said({
      moment: 'failure',
      standing: 'before',
      problem: { ...problem, log: [...problem.log] },
    })
    for (const part of [
      'failed after 2.42 s',
      'app2 answers 500',
      'still serving the previous version',
      'boom',
      'at line 3',
    ])
      expect(text).toContain(part)
  })

  test('one that never began: that nothing was touched', async () => {
    const text = await said({
      moment: 'failure',
      ms: 0,
      standing: 'untouched',
      problem: { code: 'stack-unknown', message: 'gone' },
    })
    expect(text).toContain('nothing was touched')
    expect(text).not.toContain('previous version')
    expect(text).not.toContain('after 0')
  })

  test('one of which it is not known: nothing of what serves', async () => {
    const text = await said({
      moment: 'failure',
      standing: 'unknown',
      problem: { code: 'interrupted', message: 'gone' },
    })
    expect(text).not.toMatch(/nothing was touched|previous version/)
  })

  test('a stack that is stuck: who serves, and the command that unlocks it', async () => {
    const text = await said({
      moment: 'stuck',
      serving: ['app1'],
      problem: { code: 'deadline', message: 'too slow' },
      undo: { code: 'compose-failed', message: 'no disk' },
    })
    for (const part of [
      'is stuck',
      'too slow',
      'no disk',
      'app1',
      'ropeway resolve hello',
      `ropeway watch ${ID}`,
    ])
      expect(text).toContain(part)
  })
})

const bodyOf = async (type: Type, reason: string) => {
  const { to, tell } = await world()
  expect(await tell(type, notice({ reason }))).toEqual({ isSent: true })
  return JSON.stringify(to.got[0]?.body)
}

describe('what somebody wrote is only text', () => {
  test('to Slack, whose mentions, channels and links need <', async () => {
    const body = await bodyOf('slack', '<!channel> & <@U1> <https://evil.example|here>')
    expect(body).toContain('&lt;!channel&gt; &amp; &lt;@U1&gt; &lt;https://evil.example|here&gt;')
    expect(body).toContain('"link_names":false')
  })

  test('to Discord, whose markdown is taken out and which may mention nobody', async () => {
    const body = await bodyOf('discord', '@everyone [here](https://evil.example) **b** `c` <@1> # h')
    expect(JSON.parse(body)).toMatchObject({ allowed_mentions: { parse: [] } })
    const reason = String.raw`\@everyone \[here\]\(https\://evil.example\) \*\*b\*\* \`c\` \<\@1\> \# h`
    expect(body).toContain(JSON.stringify(reason).slice(1, -1))
  })

  test('to Teams, in runs that know no markdown', async () => {
    expect(await bodyOf('teams', '<at>all</at> [here](https://evil.example)')).toContain(
      '{"type":"TextRun","text":"<at>all</at> [here](https://evil.example)"}',
    )
  })
})

test('Slack’s word for what is wrong is told, a page is not', async () => {
  const { to, tell } = await world()
  to.next.push(refuse(404, {}, 'no_service'), refuse(404, {}, '<html>no service</html>'))
  expect(await tell('slack')).toMatchObject({ fault: 'HTTP 404: no_service' })
  expect(await tell('slack')).toMatchObject({ fault: 'HTTP 404' })
})

test('Discord’s number for what is wrong is told', async () => {
  const { to, tell } = await world()
  to.next.push(refuse(404, {}, '{"message":"Unknown Webhook","code":10015}'))
  expect(await tell('discord')).toMatchObject({ fault: 'HTTP 404: code 10015', isFinal: true })
})

test.each([
  [413, true],
  [429, false],
])('a connector that says 200 and means %i is not believed', async (status, isFinal) => {
  const { to, tell } = await world()
  const text = `Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error ${status} with ContextId x`
  to.next.push(refuse(200, {}, text))
  expect(await tell('teams')).toMatchObject({
    isSent: false,
    isFinal,
    fault: expect.stringContaining(`HTTP ${status}`),
  })
})

const verified = ({ headers, raw }: Platforms['got'][number], nowMs: number) =>
  verifyStandardWebhook(
    { headers: headers as Record<string, string>, body: new TextEncoder().encode(raw) },
    { type: 'standard-webhooks', keys: [SIGNING] },
    nowMs,
  )

describe('standard-webhooks', () => {
  test('each try has the same id, and a time and signature of its own that our own verifier takes', async () => {
    const { to, tell } = await world()
    const first = Date.UTC(2026, 10, 26)
    const second = first + 2 * SIGNATURE_AGE_SECONDS_MAX * 1000
    to.next.push(refuse(500))
    await tell('standard-webhooks', notice(), first)
    await tell('standard-webhooks', notice(), second)
    const [a, b] = to.got
    if (!a || !b) throw new Error()
    expect(await verified(a, first)).toMatchObject({ eventId: `${ID}-success`, signedAt: first })
    expect(await verified(b, second)).toMatchObject({ eventId: `${ID}-success`, signedAt: second })
    await expect(verified(a, second)).rejects.toThrow('signed 600 s ago')
    await expect(verified({ ...a, raw: `${a.raw} ` }, first)).rejects.toThrow('no signature matches')
  })

  test('the facts, as the documentation has them', async () => {
    const { to, tell } = await world()
    await tell('standard-webhooks', notice({ reason: 'nightly', release: 7 }))
    expect(to.got[0]?.body).toEqual({
      type: 'deploy.succeeded',
      timestamp: '2026-11-26T12:00:00.000Z',
      data: {
        deploy: ID,
        stack: 'hello',
        host: 'vps-1',
        actor: 'ci',
        title: 'hello on vps-1: deploy succeeded in 2.42 s',
        reason: 'nightly',
        changes: notice().changes,
        moreChanges: 0,
        tag: 'v2',
        ms: 2420,
        changed: true,
        release: 7,
        url: `https://relay.example/watch#host=vps-1&deploy=${ID}`,
      },
    })
  })

  test('only a receiver that is gone for good is given up', async () => {
    const { to, tell } = await world()
    for (const status of [302, 400, 401, 403, 404, 410]) {
      to.next.push(refuse(status))
      expect(await tell('standard-webhooks')).toMatchObject({ isFinal: status === 410 })
    }
  })
})

describe('github-deployment', () => {
  test('one deployment for a deploy, made when it is first told, and a status for each moment', async () => {
    const { to, tell } = await world()
    for (const moment of ['start', 'stuck'] as const) await tell('github-deployment', notice({ moment }))
    await tell('github-deployment', notice({ moment: 'failure', deploy: 'fedcba9876543210' }))
    expect(to.got.map(({ method, url }) => `${method} ${url.split('/deployments')[1]}`)).toEqual([
      'GET ',
      'POST ',
      'POST /40/statuses',
      'GET ',
      'POST /40/statuses',
      'GET ',
      'POST ',
      'POST /41/statuses',
    ])
    expect(to.got[1]?.body).toMatchObject({ ref: 'v2', environment: 'production', task: `deploy:${ID}` })
    expect(to.got.flatMap(({ body }) => (body as { state?: string }).state ?? [])).toEqual([
      'in_progress',
      'error',
      'failure',
    ])
    expect(to.got[2]?.body).toMatchObject({ log_url: notice().link })
    expect(to.got[0]?.headers).toMatchObject({
      authorization: `Bearer github_pat_${TOKEN}`,
      'user-agent': 'ropeway/test',
    })
  })

  test('the description says what happened in 140 characters', async () => {
    const { to, tell } = await world()
    await tell(
      'github-deployment',
      notice({
        moment: 'failure',
        standing: 'before',
        problem: { code: 'deadline', message: 'late '.repeat(99) },
      }),
    )
    const { description } = (to.got.at(-1)?.body ?? {}) as { description?: string }
    expect(description).toMatch(
      /^hello on vps-1: deploy failed after 2\.42 s; still serving the previous version; late .*…$/,
    )
    expect(description).toHaveLength(140)
  })

  test('a ref that does not exist is given up, with GitHub’s word for it', async () => {
    const { to } = await world()
    const entry = { ...ENTRIES['github-deployment'], ref: 'gone' }
    const outcome = await destination(entry).tell(notice(), { send: (request) => to.send(request), nowMs: 0 })
    expect(outcome).toMatchObject({ isFinal: true, fault: 'HTTP 422: No ref found for: gone' })
  })

  test('a deploy without a tag has no ref {tag}', async () => {
    const { tell } = await world()
    expect(await tell('github-deployment', notice({ tag: undefined } as Partial<Notice>))).toMatchObject({
      isFinal: true,
      fault: expect.stringContaining('{tag}'),
    })
  })

  test('an answer that is no list makes no second deployment', async () => {
    const { to, tell } = await world()
    to.next.push(refuse(200, {}, '<html>'))
    expect(await tell('github-deployment')).toMatchObject({ isSent: false, isFinal: false })
    expect(to.got).toHaveLength(1)
  })

  test.each([
    [
      'the hour’s requests are used up',
      { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '1000' },
      400_000,
    ],
    ['too many come at once', { 'retry-after': '60', 'x-ratelimit-remaining': '9' }, 60_000],
  ])('a 403 that means that %s is tried again', async (_, headers, retryAfterMs) => {
    const { to, tell } = await world()
    to.next.push(refuse(403, headers, '{"message":"API rate limit exceeded"}'))
    expect(await tell('github-deployment', notice(), 600_000)).toMatchObject({ isFinal: false, retryAfterMs })
  })
})
