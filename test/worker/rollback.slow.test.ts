// Rolling back by token, and the releases that there are to go back to.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { deployDetailsSchema, releasesSchema } from '../../shared/api.ts'
import type { AgentEvent } from '../../shared/events.ts'
import { fromBase64, type DeployFrame } from '../../shared/protocol.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { ROLL, TestHost, testRelay, type AgentSocket } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
}, 60_000)
afterAll(() => relay.stop())

async function online(): Promise<{ host: TestHost; agent: AgentSocket }> {
  const host = await TestHost.enrolled(relay)
  return { host, agent: await host.agent(['hello', 'other']) }
}

const refusal = (status: number, code: string) => ({ status, body: { error: { code } } })
const bodyOf = ({ proof }: DeployFrame) =>
  proof.kind === 'hint' || proof.kind === 'push'
    ? ''
    : new TextDecoder().decode(fromBase64(String(proof.body)))

test('a rollback is a stored request like any other, and says what it is', async () => {
  const { host, agent } = await online()
  const body = '{"release":12,"reason":"slow"}'
  const accepted = await host.rollback(body)
  expect(accepted).toMatchObject({ status: 202, body: { status: 'accepted', agent: 'online' } })
  const { id } = accepted.body.deploy
  const frame = await agent.nextDeploy()
  expect(frame).toMatchObject({ id, trigger: 'api', proof: { kind: 'token' } })
  expect(bodyOf(frame)).toBe(body)
  const details = deployDetailsSchema.parse((await host.get(`/deploys/${id}`)).body)
  expect(details.request).toEqual({ release: 12, reason: 'slow' })
  const viewer = await host.watch(id)
  expect((await viewer.next())?.event).toMatchObject({ type: 'accepted', release: 12, reason: 'slow' })
  viewer.close()
  await agent.close()
})

test('nothing said means the previous release', async () => {
  const { host, agent } = await online()
  for (const body of [undefined, '', '{"release":"previous"}']) {
    expect((await host.rollback(body)).status).toBe(202)
    expect(bodyOf(await agent.nextDeploy())).toBe('{"release":"previous"}')
  }
  await agent.close()
})

test('a rollback waits for its agent, in the place of what waited, and is followed on the same request', async () => {
  const host = await TestHost.enrolled(relay)
  await (await host.agent()).close()
  const waits = (await host.hook()).body.deploy.id
  const following = fetch(`${relay.url}/v1/hosts/${host.name}/stacks/hello/rollback?wait`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await host.token(['rollback'])}`,
      'content-type': 'application/json',
    },
    body: '{"release":1}',
  })
  await expect.poll(async () => (await host.get(`/deploys/${waits}`)).body.status).toBe('superseded')
  const agent = await host.agent()
  const { id } = await agent.nextDeploy()
  agent.report(id, 1, ...ROLL)
  const text = await (await following).text()
  expect(text.match(/^id: /gm)?.length).toBe(ROLL.length + 1)
  await agent.close()
})

test('the same rollback again is the same', async () => {
  const { host, agent } = await online()
  const token = await host.token(['rollback'])
  const init = { token, headers: { 'idempotency-key': 'k' } }
  const first = await host.rollback('{"release":3}', init)
  const again = await host.rollback('{"release":3}', init)
  expect([first.status, again.status]).toEqual([202, 200])
  expect(again.body).toEqual({ ...first.body, status: 'duplicate' })
  // What is left out is what it means.
  expect((await host.rollback('', init)).status).toBe(202)
  expect((await host.rollback('{"release":"previous"}', init)).status).toBe(200)
  expect(
    (await host.rollback('{"release":4}', { ...init, headers: { 'idempotency-key': 'a b' } })).status,
  ).toBe(400)
  expect((await agent.drained()).length).toBe(2)
  await agent.close()
})

test('what is no rollback is refused there, and a rollback where deploys are asked for', async () => {
  const { host, agent } = await online()
  const token = await host.token(['deploy', 'rollback'])
  const invalid = refusal(400, 'request-invalid')
  for (const body of ['{}', '{"image":"hello:v1"}', '{"release":1,"image":"a"}', '{"release":0}', '[]', 'x'])
    expect.soft(await host.rollback(body, { token }), body).toMatchObject(invalid)
  expect(await host.deploy('{"release":1}', { token })).toMatchObject(invalid)
  expect(await host.deploy('{"release":"previous"}', { token })).toMatchObject(invalid)
  expect(await host.hook('{"release":"previous"}')).toMatchObject(invalid)
  expect(
    await host.rollback('{"release":1}', { token, headers: { 'content-type': 'text/plain' } }),
  ).toMatchObject(refusal(415, 'request-invalid'))
  expect(await agent.drained()).toEqual([])
  await agent.close()
})

test('only a token of scope rollback, for the stack and the body, rolls back', async () => {
  const { host, agent } = await online()
  const stranger = await TestHost.unknown(relay, host.name)
  const body = '{"release":2}'
  const bodySha256 = await sha256Hex(Buffer.from(body))
  const forbidden = refusal(403, 'unauthorized')
  const unauthorized = refusal(401, 'unauthorized')
  for (const scope of ['read', 'deploy', 'agent'] as const)
    expect
      .soft(await host.rollback(body, { token: await host.token([scope]) }), scope)
      .toMatchObject(forbidden)
  const bound = await host.token(['rollback'], { bodySha256 })
  const refused: [string, string | undefined, string, object][] = [
    ['another stack', body, await host.token(['rollback'], { stacks: ['other'] }), forbidden],
    ['another key', body, await stranger.token(['rollback']), unauthorized],
    ['another body', '{"release":1}', bound, forbidden],
    ['no body, where it is bound to one', undefined, bound, refusal(400, 'request-invalid')],
    [
      'no body, where it is bound to none',
      undefined,
      await host.token(['rollback'], { bodySha256: await sha256Hex(new Uint8Array()) }),
      refusal(400, 'request-invalid'),
    ],
  ]
  for (const [what, sent, token, expected] of refused)
    expect.soft(await host.rollback(sent, { token }), what).toMatchObject(expected)
  expect(await host.deploy('{}', { token: await host.token(['rollback']) })).toMatchObject(forbidden)
  expect(await host.rollback(body, { stack: 'nowhere' })).toMatchObject(refusal(404, 'stack-unknown'))
  expect(await agent.drained()).toEqual([])
  expect((await host.rollback(body, { token: bound })).status).toBe(202)
  await agent.close()
})

const succeeded = (release: number | undefined, image: string, of?: number): AgentEvent => ({
  type: 'succeeded',
  ms: 1,
  changed: release !== undefined,
  services: { app1: image },
  ...(release === undefined ? {} : { release }),
  ...(of === undefined ? {} : { of }),
})

/** A deploy of a stack that ends as told. */
async function rolled(
  host: TestHost,
  agent: AgentSocket,
  outcome: AgentEvent,
  stack = 'hello',
): Promise<string> {
  const { id } = (await host.hook(`{"reason":"r"}`, { path: host.hookPath(stack) })).body.deploy
  await agent.nextDeploy()
  agent.report(
    id,
    1,
    { type: 'received' },
    { type: 'started' },
    {
      type: 'planned',
      plan: {
        stack,
        upstream: 'apps',
        instances: ['app1'],
        steps: [
          {
            kind: 'update',
            service: 'app1',
            from: { image: 'hello:v0', env: {} },
            to: { image: 'hello:v1', env: {} },
            undo: false,
          },
        ],
      },
    },
    outcome,
  )
  await agent.drained()
  return id
}

test('releases are what succeeded with one, newest first, and what ran before the first', async () => {
  const { host, agent } = await online()
  expect((await host.get('/stacks/hello/releases')).body).toEqual({ releases: [] })
  const first = await rolled(host, agent, succeeded(2, 'hello:v1'))
  await rolled(host, agent, { type: 'failed', ms: 1, problem: { code: 'deadline', message: 'x' } })
  const second = await rolled(host, agent, succeeded(3, 'hello:v2'))
  await rolled(host, agent, succeeded(undefined, 'hello:v2'))
  await rolled(host, agent, succeeded(7, 'other:v1'), 'other')
  const third = await rolled(host, agent, succeeded(4, 'hello:v1', 2))
  const { body } = await host.get('/stacks/hello/releases')
  expect(releasesSchema.parse(body)).toEqual(body)
  const by = { at: expect.any(Number), actor: 'deploy', reason: 'r' }
  expect(body.releases).toEqual([
    { ...by, release: 4, deploy: third, services: { app1: 'hello:v1' }, isCurrent: true, of: 2 },
    { ...by, release: 3, deploy: second, services: { app1: 'hello:v2' }, isCurrent: false },
    { ...by, release: 2, deploy: first, services: { app1: 'hello:v1' }, isCurrent: false },
    {
      release: 1,
      deploy: null,
      at: expect.any(Number),
      actor: null,
      reason: null,
      services: { app1: 'hello:v0' },
      isCurrent: false,
    },
  ])
  const few = await host.get('/stacks/hello/releases?limit=2')
  expect(few.body.releases.map(({ release }: { release: number }) => release)).toEqual([4, 3])
  for (const limit of ['0', '101', '1.5', 'x'])
    expect((await host.get(`/stacks/hello/releases?limit=${limit}`)).status).toBe(400)
  const token = await host.token(['read'], { stacks: ['other'] })
  expect(await host.get('/stacks/hello/releases', { token })).toMatchObject(refusal(404, 'stack-unknown'))
  expect(await host.get('/stacks/nowhere/releases')).toMatchObject(refusal(404, 'stack-unknown'))
  const deployOnly = await host.token(['deploy', 'rollback'])
  expect(await host.get('/stacks/hello/releases', { token: deployOnly })).toMatchObject(
    refusal(403, 'unauthorized'),
  )
  await agent.close()
})
