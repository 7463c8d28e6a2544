// Cancelling: what no agent has the hub ends itself, all else it hands on as it came; and who may not.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { cancelSchema } from '../../shared/api.ts'
import { fromBase64 } from '../../shared/protocol.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { ROLL, TestHost, testRelay, type AgentSocket } from '../support/relay.ts'

let relay: Relay
beforeAll(async () => {
  relay = await testRelay()
}, 60_000)
afterAll(() => relay.stop())

/** A host with its agent, which has taken one deploy of `hello` in and works on it. */
async function running(): Promise<{ host: TestHost; agent: AgentSocket; id: string }> {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent(['hello', 'other'])
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  agent.report(id, 1, { type: 'received' }, { type: 'started' })
  await agent.drained()
  return { host, agent, id }
}

const statusOf = async (host: TestHost, id: string): Promise<string> =>
  (await host.get(`/deploys/${id}`)).body.status
const refusal = (status: number, code: string) => ({ status, body: { error: { code } } })
const bound = async (host: TestHost, body: string) =>
  host.token(['deploy'], { bodySha256: await sha256Hex(Buffer.from(body)) })

test('a deploy that no agent was offered is cancelled at once, whoever watches is told by whom, and no agent gets it', async () => {
  const host = await TestHost.enrolled(relay)
  await (await host.agent()).close()
  const { id } = (await host.hook()).body.deploy
  const viewer = await host.watch(id)
  const answer = await host.cancel(id)
  expect(answer).toMatchObject({ status: 200, body: { status: 'cancelled' } })
  expect(cancelSchema.parse(answer.body)).toEqual(answer.body)
  expect((await viewer.rest()).map(({ event }) => event)).toMatchObject([
    { type: 'accepted' },
    { type: 'cancelled', by: 'tester' },
  ])
  expect((await host.get(`/deploys/${id}`)).body).toMatchObject({
    status: 'cancelled',
    outcome: { type: 'cancelled', by: 'tester' },
  })
  const agent = await host.agent()
  expect(await agent.drained()).toEqual([])
  expect(await host.cancel(id)).toMatchObject(refusal(409, 'not-cancellable'))
  await agent.close()
})

test('of one that runs, the agent gets the token and the body as they came, and says how it ends', async () => {
  const { host, agent, id } = await running()
  const body = ` {"cancel": "${id}"}`
  const token = await bound(host, body)
  expect(await host.cancel(id, { token, body })).toMatchObject({
    status: 202,
    body: { status: 'cancelling' },
  })
  const frame = await agent.next()
  expect(frame).toEqual({ type: 'cancel', deploy: id, proof: { token, body: expect.any(String) } })
  expect(frame.type === 'cancel' && new TextDecoder().decode(fromBase64(frame.proof.body))).toBe(body)
  expect(await statusOf(host, id)).toBe('running')
  agent.report(id, 3, { type: 'cancelled', ms: 5, by: 'tester' })
  await agent.drained()
  expect(await statusOf(host, id)).toBe('cancelled')
  expect(await host.cancel(id)).toMatchObject(refusal(409, 'not-cancellable'))
  expect(await agent.drained()).toEqual([])
  await agent.close()
})

test('one that was offered is the agent’s, also before it has said a word', async () => {
  const host = await TestHost.enrolled(relay)
  const agent = await host.agent()
  const { id } = (await host.hook()).body.deploy
  await agent.nextDeploy()
  expect((await host.cancel(id)).status).toBe(202)
  expect(await agent.next()).toMatchObject({ type: 'cancel', deploy: id })
  await agent.close()
})

test('while its agent is away, a deploy that it may have is not cancelled', async () => {
  const { host, agent, id } = await running()
  await agent.close()
  const answer = await host.cancel(id)
  expect(answer).toMatchObject(refusal(409, 'agent-offline'))
  expect(answer.body.error.cure).toContain('ask again when it is back')
  const back = await host.agent()
  // The wish is not kept.
  expect((await back.drained()).map(({ type }) => type)).toEqual(['deploy'])
  await back.close()
})

test('a silent agent, which has not said hello, gets no cancel', async () => {
  const { host, id } = await running()
  const silent = await host.silentAgent()
  expect(await host.cancel(id)).toMatchObject(refusal(409, 'agent-offline'))
  await silent.close()
})

test('one that is over is not cancelled', async () => {
  const { host, agent, id } = await running()
  agent.report(id, 3, ...ROLL.slice(2))
  await agent.drained()
  const answer = await host.cancel(id)
  expect(answer).toMatchObject(refusal(409, 'not-cancellable'))
  expect(answer.body.error.message).toBe('the deploy is over: succeeded')
  expect(await agent.drained()).toEqual([])
  await agent.close()
})

test('nothing that is not meant for this deploy by who may deploy its stack cancels it', async () => {
  const { host, agent, id } = await running()
  const other = (await host.hook('{}', { path: host.hookPath('other') })).body.deploy.id
  await agent.nextDeploy()
  const stranger = await TestHost.unknown(relay, host.name)
  const own = `{"cancel":"${id}"}`
  const refused: [string, Parameters<TestHost['cancel']>[1], object][] = [
    ['a read token', { token: await host.token(['read']) }, refusal(403, 'unauthorized')],
    ['a rollback token', { token: await host.token(['rollback']) }, refusal(403, 'unauthorized')],
    ['the agent’s token', { token: await host.token(['agent']) }, refusal(403, 'unauthorized')],
    // Another stack's deploy is as good as none.
    [
      'a token for another stack',
      { token: await host.token(['deploy'], { stacks: ['other'] }) },
      refusal(404, 'not-found'),
    ],
    ['another host’s key', { token: await stranger.token(['deploy']) }, refusal(401, 'unauthorized')],
    [
      'an expired token',
      { token: await host.token(['deploy'], { now: new Date(Date.now() - 3_600_000) }) },
      refusal(401, 'unauthorized'),
    ],
    [
      'a token for another deploy’s cancel',
      { token: await bound(host, `{"cancel":"${other}"}`) },
      refusal(403, 'unauthorized'),
    ],
    [
      'the same with the body that it is bound to',
      { token: await bound(host, `{"cancel":"${other}"}`), body: `{"cancel":"${other}"}` },
      refusal(400, 'request-invalid'),
    ],
    ['a token for a deploy', { token: await bound(host, '{}') }, refusal(403, 'unauthorized')],
    ['a deploy’s body', { body: '{}' }, refusal(400, 'request-invalid')],
    ['no body', { body: '' }, refusal(400, 'request-invalid')],
    ['the id twice', { body: `{"cancel":"${other}","cancel":"${id}"}` }, refusal(400, 'request-invalid')],
    ['more than the id', { body: `{"cancel":"${id}","force":true}` }, refusal(400, 'request-invalid')],
    ['a body that is no JSON', { body: own.slice(1) }, refusal(400, 'request-invalid')],
  ]
  for (const [what, init, expected] of refused)
    expect.soft(await host.cancel(id, init), what).toMatchObject(expected)
  expect(await host.cancel('0000000000000000')).toMatchObject(refusal(404, 'not-found'))
  expect(await host.cancel('no-id', { body: own })).toMatchObject(refusal(404, 'not-found'))
  expect(await agent.drained()).toEqual([])
  expect(await statusOf(host, id)).toBe('running')
  // The tool itself cancels.
  expect((await host.cancel(id, { token: await bound(host, own), body: own })).status).toBe(202)
  await agent.close()
})

test('a revoked token cancels nothing', async () => {
  const { host, agent, id } = await running()
  const token = await host.token(['deploy'])
  const { jti } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { jti: string }
  expect((await host.put('/revoked', { ids: [jti] })).status).toBe(200)
  expect(await host.cancel(id, { token })).toMatchObject(refusal(401, 'unauthorized'))
  expect(await agent.drained()).toEqual([])
  await agent.close()
})

test('a token that was bound to a cancel asks for no deploy and no rollback', async () => {
  const { host, agent, id } = await running()
  const body = `{"cancel":"${id}"}`
  const bodySha256 = await sha256Hex(Buffer.from(body))
  const token = await host.token(['deploy', 'rollback'], { bodySha256 })
  expect(await host.deploy(body, { token })).toMatchObject(refusal(400, 'request-invalid'))
  expect(await host.rollback(body, { token })).toMatchObject(refusal(400, 'request-invalid'))
  expect(await host.deploy('{}', { token })).toMatchObject(refusal(403, 'unauthorized'))
  expect(await agent.drained()).toEqual([])
  await agent.close()
})

test('a browser’s session cancels nothing', async () => {
  const { host, agent, id } = await running()
  const session = await host.put('/session', {}, { method: 'POST', scopes: ['read', 'deploy'] })
  const cookie = session.headers.get('set-cookie')?.split(';')[0] ?? ''
  expect(cookie).toContain('ropeway-')
  const answer = await fetch(`${relay.url}/v1/hosts/${host.name}/deploys/${id}/cancel`, {
    method: 'POST',
    headers: { cookie, 'content-type': 'application/json' },
    body: `{"cancel":"${id}"}`,
  })
  expect(answer.status).toBe(401)
  const asToken = await host.cancel(id, { token: cookie.slice(cookie.indexOf('=') + 1) })
  expect(asToken.status).toBe(403)
  expect(await agent.drained()).toEqual([])
  await agent.close()
})

test('cancels are counted with what else is asked for by token', async () => {
  const limited = await testRelay({ limits: { requests: 1e6, failures: 1e6, perTrigger: 3, perHost: 1e6 } })
  try {
    const host = await TestHost.enrolled(limited)
    const agent = await host.agent()
    const { id } = (await host.hook()).body.deploy
    await agent.nextDeploy()
    const answers = []
    for (let i = 0; i < 4; i++) answers.push(await host.cancel(id))
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 429])
    expect(Number(answers[3]?.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await host.deploy('{}')).status).toBe(429)
    expect((await agent.drained()).length).toBe(3)
    await agent.close()
  } finally {
    await limited.stop()
  }
})

test('a deploy that the agent has said to have is offered as such, and no other', async () => {
  const { host, agent, id } = await running()
  const unheard = (await host.hook('{}', { path: host.hookPath('other') })).body.deploy.id
  expect(await agent.nextDeploy()).not.toHaveProperty('received')
  await agent.close()
  const back = await host.agent(['hello', 'other'])
  expect(await back.nextDeploy()).toMatchObject({ id, received: true })
  const second = await back.nextDeploy()
  expect(second.id).toBe(unheard)
  expect(second).not.toHaveProperty('received')
  await back.close()
})

const failed = (code: 'interrupted' | 'request-unverified') =>
  ({ type: 'failed', ms: 0, problem: { code, message: 'x' } }) as const

test('an agent that has lost a deploy which it had ends it, by just that word', async () => {
  const { host, agent, id } = await running()
  agent.send({ type: 'declined', deploy: id, event: failed('request-unverified') })
  agent.send({ type: 'declined', deploy: id, event: { type: 'expired' } })
  await agent.drained()
  expect(await statusOf(host, id)).toBe('running')
  const viewer = await host.watch(id)
  agent.send({ type: 'declined', deploy: id, event: failed('interrupted') })
  expect((await viewer.rest()).at(-1)?.event).toEqual(failed('interrupted'))
  expect(await statusOf(host, id)).toBe('failed')
  await agent.close()
})
