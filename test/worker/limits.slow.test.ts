// Too many requests: those of one source before any hub is asked, and those that were verified in the hub.

import { randomUUID } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import type { Limits, Relay } from '../../agent/relay/relay.ts'
import { TestHost, ask, testRelay, type Answer } from '../support/relay.ts'

let relay: Relay
afterEach(() => relay.stop())

const NO_LIMIT = 1_000_000
const start = async (limits: Limits) => {
  relay = await testRelay({
    limits: { requests: NO_LIMIT, failures: NO_LIMIT, perTrigger: NO_LIMIT, perHost: NO_LIMIT, ...limits },
  })
}

const LIMITED = { status: 429, body: { error: { code: 'rate-limited' } } }
const retryAfter = ({ headers }: Answer) => Number(headers.get('retry-after'))
const statuses = (answers: Answer[]) => answers.map(({ status }) => status)

const REQUESTS_MAX = 12
const from = (address: string) => ({ headers: { 'cf-connecting-ip': address } })

function burst(one: () => Promise<Answer>): Promise<Answer[]> {
  return Promise.all(Array.from({ length: 2 * REQUESTS_MAX + 1 }, one))
}

describe('of one source to one host', () => {
  test('the one too many is answered 429, and the hub hears nothing of it', async () => {
    await start({ requests: REQUESTS_MAX })
    const host = await TestHost.enrolled(relay)
    const agent = await host.agent()
    const answers = await burst(() => host.hook('{}', from('192.0.2.1')))
    const accepted = answers.filter(({ status }) => status === 202)
    const limited = answers.filter(({ status }) => status === 429)
    expect(accepted.length).toBeGreaterThanOrEqual(REQUESTS_MAX)
    expect(limited.length).toBe(answers.length - accepted.length)
    expect(limited.length).toBeGreaterThan(0)
    for (const answer of limited) {
      expect(answer).toMatchObject(LIMITED)
      expect(retryAfter(answer)).toBe(60 / REQUESTS_MAX)
    }
    const { body } = await host.get('/deploys?limit=100', { headers: { 'cf-connecting-ip': '192.0.2.9' } })
    expect(body.deploys.length).toBe(accepted.length)
    await agent.close()
  })

  test('another source, and another host, are not touched', async () => {
    await start({ requests: REQUESTS_MAX })
    const host = await TestHost.enrolled(relay)
    const other = await TestHost.enrolled(relay)
    await (await host.agent()).close()
    await (await other.agent()).close()
    expect(statuses(await burst(() => host.hook('{}', from('192.0.2.1'))))).toContain(429)
    expect((await host.hook('{}', from('192.0.2.2'))).status).toBe(202)
    expect((await other.hook('{}', from('192.0.2.1'))).status).toBe(202)
  })

  test('38: only CF-Connecting-IP names a source', async () => {
    await start({ requests: REQUESTS_MAX })
    const host = await TestHost.enrolled(relay)
    await (await host.agent()).close()
    let i = 0
    const pretending = () => {
      const address = `198.51.100.${++i}`
      const headers = {
        ...from('192.0.2.1').headers,
        'x-forwarded-for': address,
        'x-real-ip': address,
        'true-client-ip': address,
        forwarded: `for=${address}`,
      }
      return host.hook('{}', { headers })
    }
    expect(statuses(await burst(pretending))).toContain(429)
  })

  test('every route of a host counts, and those of none do not', async () => {
    await start({ requests: REQUESTS_MAX })
    const nobody = `nobody-${randomUUID()}`
    for (const [method, path] of [
      ['POST', `/hooks/${nobody}/hello/deploy`],
      ['POST', `/hooks/${nobody}/hello/deploy/${'s'.repeat(32)}`],
      ['GET', `/hooks/${nobody}/hello/deploy`],
      ['GET', `/v1/hosts/${nobody}`],
      ['GET', `/v1/hosts/${nobody}/deploys`],
      ['POST', `/v1/hosts/${nobody}/session`],
      ['POST', `/v1/hosts/${nobody}/enroll`],
      ['GET', `/agent/${nobody}`],
    ] as const) {
      // A source of its own for each.
      const init = { method, headers: { 'cf-connecting-ip': randomUUID() } }
      expect
        .soft(statuses(await burst(() => ask(relay.url + path, init))), `${method} ${path}`)
        .toContain(429)
    }
    expect(statuses(await burst(() => ask(`${relay.url}/healthz`, from('192.0.2.1'))))).not.toContain(429)
  })
})

describe('of one source with bad credentials', () => {
  const FAILURES_MAX = 8

  test('names that nobody has are asked for so often, and no more; who asks from elsewhere is not touched', async () => {
    await start({ failures: FAILURES_MAX })
    const host = await TestHost.enrolled(relay)
    const agent = await host.agent()
    const guess = () => ask(`${relay.url}/v1/hosts/${randomUUID()}`, from('192.0.2.1'))
    const first = await Promise.all(Array.from({ length: FAILURES_MAX }, guess))
    expect(new Set(statuses(first))).toEqual(new Set([401]))
    const next = await guess()
    expect(next).toMatchObject(LIMITED)
    expect(retryAfter(next)).toBeGreaterThan(0)
    // The guesser cannot go on with what is right by chance either.
    expect((await host.hook('{}', from('192.0.2.1'))).status).toBe(429)
    expect((await host.hook('{}', from('192.0.2.2'))).status).toBe(202)
    await agent.close()
  })

  test('what is not a matter of credentials does not count', async () => {
    await start({ failures: 2 })
    const host = await TestHost.enrolled(relay)
    await (await host.agent()).close()
    for (let i = 0; i < 6; i++) expect((await host.hook('nonsense')).status).toBe(400)
    expect((await host.hook()).status).toBe(202)
  })
})

describe('that were verified', () => {
  const wrong = { secret: `whsec_${Buffer.alloc(32, 'wrong').toString('base64')}` }

  test('a trigger’s are limited, another trigger’s go on', async () => {
    await start({ perTrigger: 2 })
    const host = await TestHost.enrolled(relay)
    const agent = await host.agent(['hello', 'other'])
    expect(statuses([await host.hook(), await host.hook()])).toEqual([202, 202])
    const limited = await host.hook()
    expect(limited).toMatchObject(LIMITED)
    // Two in a minute: the next one has room after half of it.
    expect(retryAfter(limited)).toBeGreaterThan(20)
    expect(retryAfter(limited)).toBeLessThanOrEqual(30)
    expect((await host.hook('{}', { path: host.hookPath('other') })).status).toBe(202)
    expect((await agent.drained()).length).toBe(3)
    await agent.close()
  })

  test('a host’s are limited over all triggers and tokens', async () => {
    await start({ perHost: 2 })
    const host = await TestHost.enrolled(relay)
    const other = await TestHost.enrolled(relay)
    await (await host.agent(['hello', 'other'])).close()
    await (await other.agent()).close()
    expect((await host.hook()).status).toBe(202)
    expect((await host.hook('{}', { path: host.hookPath('other') })).status).toBe(202)
    const limited = await host.deploy('{}')
    expect(limited).toMatchObject(LIMITED)
    expect(retryAfter(limited)).toBeGreaterThan(0)
    expect((await other.hook()).status).toBe(202)
  })

  test('what is not verified uses nothing up', async () => {
    await start({ perTrigger: 2, perHost: 2 })
    const host = await TestHost.enrolled(relay)
    await (await host.agent()).close()
    const refused = await Promise.all(Array.from({ length: 20 }, () => host.hook('{}', wrong)))
    expect(new Set(statuses(refused))).toEqual(new Set([401]))
    const other = await TestHost.enrolled(relay)
    const token = await other.token(['deploy'])
    expect((await host.deploy('{}', { token })).status).toBe(401)
    expect(statuses([await host.hook(), await host.hook(), await host.hook()])).toEqual([202, 202, 429])
    // Whoever cannot sign does not learn that the limit is reached.
    expect((await host.hook('{}', wrong)).status).toBe(401)
  })

  test('the same request again does not count, nor is it refused', async () => {
    await start({ perTrigger: 2 })
    const host = await TestHost.enrolled(relay)
    await (await host.agent()).close()
    const id = `msg_${randomUUID()}`
    expect((await host.hook('{}', { id })).status).toBe(202)
    for (let i = 0; i < 5; i++) expect((await host.hook('{}', { id })).status).toBe(200)
    expect(statuses([await host.hook(), await host.hook()])).toEqual([202, 429])
    expect((await host.hook('{}', { id })).status).toBe(200)
  })
})
