// The GitHub Action against the real Worker: what a job is told of its deploy, and what no deploy can make of the job.

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import type { AgentEvent } from '../../shared/events.ts'
import { boundAudience } from '../../shared/triggers/oidc.ts'
import { ciScene, type CiScene } from '../support/ci-scene.ts'
import { ACTION, runAction, type Ran, type TokenFor } from '../support/job.ts'
import { startProxy } from '../support/proxy.ts'
import { ROLL, START_MS_MAX, testRelay } from '../support/relay.ts'
import { until } from '../support/until.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
})
afterAll(() => relay.stop())

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`
const BEGUN = ROLL.slice(0, -1)
const SUCCEEDED: AgentEvent = {
  type: 'succeeded',
  ms: 2420,
  changed: true,
  services: { app1: 'hello:v2', app2: 'hello:v2' },
  images: { app1: `ghcr.io/acme/hello:v2@${DIGEST}`, app2: DIGEST },
}

/** A job at a trigger that takes bound tokens alone, unless it says otherwise. */
async function scene(over: Parameters<typeof ciScene>[1] = { bind: true }) {
  const at = await ciScene(relay, over)
  const tokenFor: TokenFor = (aud) => at.issuer.token({ aud })
  const run = (inputs = {}, token = tokenFor, onLog?: (log: string) => void) =>
    runAction({ url: at.audience, ...inputs }, token, onLog)
  return { ...at, run }
}

/** What a job sees whose deploy's agent says this. */
async function told(...events: AgentEvent[]): Promise<Ran & { readonly id: string; readonly host: string }> {
  const { agent, run, host } = await scene()
  const [ran, { id }] = await Promise.all([
    run(),
    agent.nextDeploy(START_MS_MAX).then((frame) => {
      agent.report(frame.id, 1, ...events)
      return frame
    }),
  ])
  return { ...ran, id, host: host.name }
}

const errors = ({ commands }: Ran) => commands.filter(({ name }) => name === 'error').map(({ data }) => data)

test('a deploy that succeeds: exit 0, the steps in groups, outputs and a summary', async () => {
  const { code, commands, log, outputs, shown, id, host } = await told(...BEGUN, SUCCEEDED)
  expect(code).toBe(0)
  const url = `${relay.url}/watch#host=${host}&deploy=${id}`
  expect(outputs).toEqual({
    deploy: id,
    url,
    status: 'succeeded',
    digests: JSON.stringify({ app1: DIGEST, app2: DIGEST }),
  })
  expect(Object.keys(ACTION.outputs).toSorted()).toEqual(Object.keys(outputs).toSorted())
  expect(commands.filter(({ name }) => name !== 'add-mask')).toEqual(
    ['Request', 'Preflight', 'Roll'].flatMap((data) => [
      { name: 'group', data },
      { name: 'endgroup', data: '' },
    ]),
  )
  expect(log).toMatch(/^\d\d:\d\d:\d\d verify through nginx: done in 0\.01 s$/m)
  expect(log).toMatch(/::endgroup::\n\d\d:\d\d:\d\d succeeded in 2\.42 s\n$/)
  expect(shown).toContain(`### hello on ${host}: succeeded\n\nDeploy [${id}](${url})`)
  expect(shown).toContain(`| app1 | ghcr.io/acme/hello:v2@${DIGEST} |`)
  expect(shown).toContain('| verify through nginx | done | 0.01 s |')
})

test('the inputs are the request, the token is made for it alone, and no log shows it', async () => {
  const { agent, run, audience } = await scene()
  const inputs = {
    image: 'ghcr.io/acme/hello:v2',
    env: 'MESSAGE={service},v2\n\nMODE=a=b\n',
    reason: `$(id) \`id\`\r\n\u0007${'x'.repeat(600)}`,
  }
  const asked: string[] = []
  const [ran, { id, proof }] = await Promise.all([
    run(inputs, async (aud) => {
      asked.push(aud)
      return 'not.a.token'
    }).then(() => run(inputs)),
    agent.nextDeploy(START_MS_MAX).then((frame) => {
      agent.report(frame.id, 1, ...BEGUN, SUCCEEDED)
      return frame
    }),
  ])
  if (proof.kind !== 'oidc') throw new Error(proof.kind)
  expect(ran.outputs['deploy']).toBe(id)
  const body = Buffer.from(proof.body, 'base64')
  expect(JSON.parse(String(body))).toEqual({
    image: inputs.image,
    env: { MESSAGE: '{service},v2', MODE: 'a=b' },
    reason: `$(id) \`id\`\n ${'x'.repeat(500)}`.slice(0, 500),
  })
  expect(asked).toEqual([await boundAudience(audience, body)])
  expect(ran.log.split(proof.token)).toHaveLength(2)
  expect(ran.commands[0]).toEqual({ name: 'add-mask', data: proof.token })
})

test('bind: false is for a trigger whose tokens have another audience', async () => {
  const { agent, run } = await scene({ audience: 'ropeway' })
  const [ran, { proof }] = await Promise.all([
    run({ bind: 'false', audience: 'ropeway', tag: 'v2', digest: DIGEST }),
    agent.nextDeploy(START_MS_MAX).then((frame) => {
      agent.report(frame.id, 1, ...BEGUN, SUCCEEDED)
      return frame
    }),
  ])
  expect(ran.code).toBe(0)
  if (proof.kind !== 'oidc') throw new Error(proof.kind)
  expect(JSON.parse(atob(proof.body))).toEqual({ tag: 'v2', digest: DIGEST })
})

const problem = { code: 'container-unhealthy', message: 'app2 did not answer', cure: 'see its log' } as const
const ENDS: readonly [AgentEvent, RegExp][] = [
  [
    { type: 'failed', ms: 900, problem: { ...problem, log: ['Error: no database'] } },
    /^failed after 0\.90 s, the stack is as before: app2 did not answer \(container-unhealthy\); see its log\nError: no database$/,
  ],
  [
    {
      type: 'stuck',
      ms: 900,
      problem,
      undo: { code: 'compose-failed', message: 'no space left' },
      damage: {
        serving: ['app1'],
        notServing: [{ service: 'app2', why: 'exited' }],
        files: [],
        repair: ['docker compose up -d'],
      },
    },
    /^stuck: .*\nUndoing failed too: no space left .*\nserving: app1\nnot serving: app2: exited\n.*\n {2}docker compose up -d$/,
  ],
  [{ type: 'superseded', by: '0123456789abcdef' }, /^superseded by deploy 0123456789abcdef/],
  [{ type: 'cancelled', ms: 3, by: 'cli:anna' }, /^cancelled by cli:anna, the stack is as before$/],
  [{ type: 'expired' }, /^expired before the agent came$/],
]
test.each(ENDS)('a deploy that ends otherwise fails the job, and says why: %o', async (end, words) => {
  const ran = await told(...BEGUN, end)
  expect(ran.code).toBe(1)
  expect(errors(ran)).toEqual([expect.stringMatching(words)])
  expect(ran.outputs).toMatchObject({ status: end.type, digests: '{}' })
  expect(ran.shown).toContain(`: ${end.type}\n`)
})

describe('a deploy', () => {
  test('is followed on through a relay that cannot be reached at first, and a connection that is cut', async () => {
    const { agent, run, audience } = await scene()
    const proxy = await startProxy(Number(new URL(relay.url).port))
    onTestFinished(() => proxy.stop())
    proxy.isRefusing = true
    setTimeout(() => (proxy.isRefusing = false), 300)
    const url = audience.replace(relay.url, `http://127.0.0.1:${proxy.port}`)
    let seen = ''
    const cutInTheMiddle = async () => {
      const { id } = await agent.nextDeploy(START_MS_MAX)
      agent.report(id, 1, ...BEGUN)
      await until('the roll in the log', () => seen.includes('verify through nginx'), START_MS_MAX)
      for (const passage of proxy.open()) passage.reset()
      agent.report(id, BEGUN.length + 1, SUCCEEDED)
    }
    const job = run({ url, audience }, undefined, (log) => (seen = log))
    const [{ code, log }] = await Promise.all([job, cutInTheMiddle()])
    expect(log).toMatch(/following it again/)
    expect(log.match(/preflight$/gm)).toHaveLength(1)
    expect(code).toBe(0)
    expect((await agent.drained()).filter(({ type }) => type === 'deploy')).toEqual([])
  })

  test('that waits for its agent says so; what lasts too long fails the job, and goes on', async () => {
    const at = await scene()
    await at.agent.close()
    const ran = await at.run({ 'timeout-minutes': '0.1' })
    expect(ran.code).toBe(1)
    expect(ran.commands.find(({ name }) => name === 'notice')?.data).toMatch(
      /is offline; deploy \w+ waits for it/,
    )
    expect(errors(ran)).toEqual([expect.stringMatching(/^no end after 0\.1 minutes; deploy \w+ goes on/)])
    expect(ran.outputs['status']).toBe('queued')
    expect((await at.host.get(`/deploys/${ran.outputs['deploy']}`)).body.status).toBe('queued')
  })
})

type At = CiScene & { readonly run: Awaited<ReturnType<typeof scene>>['run'] }

/** The one error of a job that was refused. */
async function refused(start: (at: At) => Promise<Ran>): Promise<string | undefined> {
  const at = await scene()
  const ran = await start(at)
  expect(ran.code).toBe(1)
  expect(await at.agent.drained()).toEqual([])
  expect(errors(ran)).toHaveLength(1)
  return errors(ran)[0]
}

describe('nothing is deployed, and the job says why', () => {
  test('another branch’s job', async () => {
    const error = await refused(({ run, issuer }) =>
      run({}, (aud) => issuer.token({ aud, ref: 'refs/heads/evil' })),
    )
    expect(error).toMatch(
      /^the relay refuses: .*\(unauthorized\); compare the trigger’s claims with this job/,
    )
  })

  test('a job without the permission', async () => {
    const error = await refused(({ audience }) => runAction({ url: audience }))
    expect(error).toMatch(/id-token: write/)
  })

  test.each([
    [{ image: 'NOT AN IMAGE' }, /not an image reference .*\(request-invalid\)/],
    [{ env: 'MESSAGE' }, /NAME=/],
    [{ url: 'https://relay.example/hooks/host' }, /not a trigger’s address/],
    [{ url: 'http://relay.example/hooks/host/hello/ci' }, /https/],
    [{ bind: 'yes' }, /true or false/],
    [{ 'timeout-minutes': 'soon' }, /timeout-minutes/],
  ])('%o', async (inputs, words) => {
    expect(await refused(({ run }) => run(inputs))).toMatch(words)
  })
})

test('whatever stands in an event starts no command, sets no output and draws nothing', async () => {
  const evil = [
    'x\n::set-output name=status::succeeded\r::error::no\r\n  ::add-mask::e ##[error]old\u2028::warning::u',
    '##\u200b[command]z \u001b[2J\u202e<img src=x> [a](https://evil.example) | `b` **c** @d </pre> ]]\n## e',
  ].join('\n')
  const ran = await told(
    { type: 'received' },
    { type: 'started' },
    {
      type: 'planned',
      plan: { stack: evil, upstream: evil, instances: [evil], steps: [{ kind: 'drain', service: evil }] },
    },
    { type: 'step-started', step: 0 },
    { type: 'step-failed', step: 0, ms: 1, problem: { code: 'deadline', message: evil, log: [evil] } },
    { type: 'undoing', steps: [] },
    { type: 'failed', ms: 1, problem: { code: 'deadline', message: evil, cure: evil, log: [evil, evil] } },
  )
  expect(ran.code).toBe(1)
  expect(ran.commands.map(({ name }) => name)).toEqual([
    'add-mask',
    ...['Request', 'Preflight', 'Roll', 'Undo'].flatMap(() => ['group', 'endgroup']),
    'error',
  ])
  expect(ran.outputs).toMatchObject({ status: 'failed', digests: '{}' })
  // oxlint-disable-next-line no-control-regex -- those that move a terminal's cursor
  expect(ran.log).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u200b\u202e\u2028]/)
  expect(ran.summary.replaceAll(/&#\d+;/g, '')).toMatch(
    /^### hello on [\w]+: failed\n\nDeploy \[\w+\]\(http:\/\/[\w.:]+\/watch#host=[\w-]+&deploy=\w+\)\n\n<pre>[\p{L}\p{N} \n]+<\/pre>\n\n\| Step \| +\| +\|\n\| --- \| --- \| --- \|\n(\| [\p{L}\p{N} ]+ ){3}\|\n$/u,
  )
})
