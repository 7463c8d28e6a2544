// Sessions and their cookie: what a browser may do with one, and what nobody may.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { SignJWT, type JWTPayload } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { Relay } from '../../agent/relay/relay.ts'
import { sessionSchema } from '../../shared/api.ts'
import { SESSION_SECONDS } from '../../shared/limits.ts'
import type { Claims } from '../../shared/tokens.ts'
import { isSession, makeSession, verifySession } from '../../worker/hub/session.ts'
import { TestHost, ask, testRelay, type Answer } from '../support/relay.ts'

const UNAUTHORIZED = {
  status: 401,
  body: { error: { code: 'unauthorized', message: 'the credentials are missing, wrong or expired' } },
}

const cookieOf = (answer: Answer) => answer.headers.get('set-cookie')?.split(';')[0] ?? ''

describe('the session itself', () => {
  const key = randomBytes(32)
  const now = new Date('2026-11-23T12:00:00Z')
  const where = { host: 'vps-1', audience: 'https://relay.example' }
  const claims: Claims = {
    actor: 'anna',
    id: 'token-1',
    issuedAt: now.getTime() - 1000,
    expiresAt: now.getTime() + 3600_000,
    scopes: ['read', 'deploy', 'agent'],
    stacks: ['hello'],
    bodySha256: undefined,
  }
  const make = (change: Partial<Claims> = {}) =>
    makeSession(key, { ...where, claims: { ...claims, ...change }, now })
  const verify = (token: string, expected: Partial<Parameters<typeof verifySession>[2]> = {}, by = key) =>
    verifySession(token, by, { ...where, now, ...expected })
  const later = (seconds: number) => new Date(now.getTime() + seconds * 1000)
  const unauthorized = { code: 'unauthorized' }

  test('it says who its token was made for, and may only read', async () => {
    const { token } = await make()
    expect(isSession(token)).toBe(true)
    expect(await verify(token)).toEqual({
      actor: 'anna',
      id: 'token-1',
      issuedAt: now.getTime(),
      expiresAt: later(SESSION_SECONDS).getTime(),
      scopes: ['read'],
      stacks: ['hello'],
      bodySha256: undefined,
    })
    expect((await verify((await make({ stacks: undefined })).token)).stacks).toBeUndefined()
  })

  test('it lives its time, or as long as its token if that is less', async () => {
    const { token, expiresAt } = await make()
    expect(expiresAt).toBe(later(SESSION_SECONDS).getTime())
    await verify(token, { now: later(SESSION_SECONDS - 1) })
    await expect(verify(token, { now: later(SESSION_SECONDS) })).rejects.toMatchObject(unauthorized)

    const short = await make({ expiresAt: later(10).getTime() })
    expect(short.expiresAt).toBe(later(10).getTime())
    await verify(short.token, { now: later(9) })
    await expect(verify(short.token, { now: later(10) })).rejects.toMatchObject(unauthorized)
  })

  test('it ends when its token is revoked', async () => {
    const { token } = await make()
    await verify(token, { revoked: ['token-2'] })
    await expect(verify(token, { revoked: ['token-2', 'token-1'] })).rejects.toMatchObject(unauthorized)
  })

  test('it counts for one host, one relay and one key', async () => {
    const { token } = await make()
    await expect(verify(token, { host: 'vps-2' })).rejects.toMatchObject(unauthorized)
    await expect(verify(token, { audience: 'https://other.example' })).rejects.toMatchObject(unauthorized)
    await expect(verify(token, {}, randomBytes(32))).rejects.toMatchObject(unauthorized)
  })

  const at = now.getTime() / 1000
  const good = { iss: 'vps-1', aud: where.audience, sub: 'anna', jti: 'x', iat: at, exp: at + 60 }
  const sign = (payload: JWTPayload, header: { alg?: string; typ?: string } = {}) =>
    new SignJWT(payload)
      .setProtectedHeader({ alg: 'HS256', typ: 'ropeway-session+jwt', ...header })
      .sign(header.alg === 'HS512' ? Buffer.concat([key, key]) : key)

  test('whoever had the key could forge it, as the next test does', async () => {
    expect((await verify(await sign(good))).scopes).toEqual(['read'])
    expect((await verify(await sign({ ...good, scope: ['deploy', 'agent'] }))).scopes).toEqual(['read'])
  })

  test.each<[string, JWTPayload, { alg?: string; typ?: string }]>([
    ...(['iss', 'aud', 'sub', 'jti', 'iat', 'exp'] as const).map(
      (name) =>
        [
          `has no ${name}`,
          Object.fromEntries(Object.entries(good).filter(([claim]) => claim !== name)),
          {},
        ] as [string, JWTPayload, object],
    ),
    ['lives longer than sessions do', { ...good, iat: at - SESSION_SECONDS - 1 }, {}],
    ['comes from the future', { ...good, iat: at + 60, exp: at + 120 }, {}],
    ['has an empty actor', { ...good, sub: '' }, {}],
    ['has stacks that are none', { ...good, stacks: ['../x'] }, {}],
    ['is of another type', good, { typ: 'ropeway+jwt' }],
    ['is of the general type', good, { typ: 'JWT' }],
    ['is of another algorithm', good, { alg: 'HS512' }],
  ])('one that %s is refused', async (_, payload, header) => {
    const by = header.alg === 'HS512' ? Buffer.concat([key, key]) : key
    await expect(verify(await sign(payload, header), {}, by)).rejects.toMatchObject(unauthorized)
  })

  test('what is no session is not taken for one', async () => {
    for (const token of ['', 'nonsense', 'a.b.c', await sign(good, { typ: 'JWT' })])
      expect(isSession(token)).toBe(false)
  })
})

describe('over HTTP', () => {
  let relay: Relay
  let host: TestHost
  let deploy: string
  beforeAll(async () => {
    relay = await testRelay()
    host = await TestHost.enrolled(relay)
    await (await host.agent(['hello', 'other'])).close()
    deploy = (await host.hook()).body.deploy.id
  }, 30_000)
  afterAll(() => relay.stop())

  const at = (path: string) => `${relay.url}/v1/hosts/${host.name}${path}`
  const begin = (token: string) =>
    ask(at('/session'), { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  const session = async (token?: string) => cookieOf(await begin(token ?? (await host.token(['read']))))

  test('a token buys a cookie that scripts and other sites cannot use', async () => {
    const answer = await begin(await host.token(['read'], { ttlSeconds: 3600 }))
    expect(answer.status).toBe(200)
    const { expiresAt } = sessionSchema.parse(answer.body)
    expect(Object.keys(answer.body)).toEqual(['expiresAt'])
    expect(expiresAt - Date.now()).toBeGreaterThan((SESSION_SECONDS - 10) * 1000)
    const [value, ...attributes] = answer.headers.get('set-cookie')!.split('; ')
    expect(value).toMatch(new RegExp(`^ropeway-${host.name}=[\\w-]+\\.[\\w-]+\\.[\\w-]+$`))
    expect(attributes).toEqual([
      'HttpOnly',
      'SameSite=Strict',
      `Path=/v1/hosts/${host.name}/`,
      expect.stringMatching(/^Max-Age=8\d\d$/),
    ])
  })

  test('on a relay with TLS the cookie goes over TLS only', async () => {
    const secure = await testRelay({ relayUrl: 'https://ropeway.example' })
    try {
      const there = await TestHost.enrolled(secure)
      const answer = await ask(`${secure.url}/v1/hosts/${there.name}/session`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${await there.token(['read'], { audience: 'https://ropeway.example' })}`,
        },
      })
      expect(answer.headers.get('set-cookie')).toMatch(/; Secure$/)
    } finally {
      await secure.stop()
    }
  })

  test('the cookie reads what its token may read', async () => {
    const cookie = await session()
    for (const path of ['/stacks/hello', '/deploys', `/deploys/${deploy}`])
      expect((await ask(at(path), { headers: { cookie } })).status).toBe(200)
    const stream = await fetch(at(`/deploys/${deploy}/events`), { headers: { cookie } })
    expect(stream.headers.get('content-type')).toContain('text/event-stream')
    await stream.body?.cancel()

    const other = await session(await host.token(['read'], { stacks: ['other'] }))
    expect((await ask(at(`/deploys/${deploy}`), { headers: { cookie: other } })).status).toBe(404)
  })

  test('37: the cookie alone changes nothing, whatever Origin says', async () => {
    const cookie = await session()
    const json = { cookie, 'content-type': 'application/json' }
    for (const origin of [relay.url, 'https://evil.example', undefined])
      for (const [method, path, body] of [
        ['POST', '/stacks/hello/deploys', '{}'],
        ['POST', '/session', undefined],
        ['POST', '/keys', '{}'],
        ['PUT', '/revoked', '{"ids":[]}'],
        ['HEAD', '/deploys', undefined],
      ] as const) {
        const headers = { ...json, ...(origin === undefined ? {} : { origin }) }
        const answer = await ask(at(path), { method, headers, ...(body === undefined ? {} : { body }) })
        expect.soft(answer.status, `${method} ${path}`).toBe(401)
        expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
      }
    expect((await ask(at('/deploys'), { headers: { cookie } })).body.deploys.length).toBe(1)
  })

  test('where Authorization says something, the cookie says nothing', async () => {
    const cookie = await session()
    for (const authorization of ['Bearer wrong', 'Basic YTpi', 'Bearer '])
      expect(await ask(at('/deploys'), { headers: { cookie, authorization } })).toMatchObject(UNAUTHORIZED)
  })

  test('the session may only read, however it is sent, and makes no other', async () => {
    const token = (await session()).split('=')[1]!
    expect((await begin(token)).status).toBe(401)
    expect((await host.deploy('{}', { token })).status).toBe(403)
    await expect(host.silentAgent(token)).rejects.toThrow('HTTP 403')
  })

  test('the cookie opens no agent’s socket', async () => {
    const socket = new WebSocket(`${relay.url.replace('http', 'ws')}/agent/${host.name}`, {
      headers: { cookie: await session() },
    })
    const [error] = await once(socket, 'error')
    expect(String(error)).toContain('401')
  })

  test('the cookie of one host reads nothing of another', async () => {
    const other = await TestHost.enrolled(relay)
    const value = (await session()).split('=')[1]
    for (const cookie of [`ropeway-${other.name}=${value}`, `ropeway-${host.name}=${value}`])
      expect(await ask(`${relay.url}/v1/hosts/${other.name}/deploys`, { headers: { cookie } })).toMatchObject(
        UNAUTHORIZED,
      )
  })

  test('only a good token that may read buys a session', async () => {
    expect((await begin(await host.token(['deploy']))).status).toBe(403)
    const other = await TestHost.enrolled(relay)
    expect(await begin(await other.token(['read']))).toMatchObject(UNAUTHORIZED)
    expect(await ask(at('/session'), { method: 'POST' })).toMatchObject(UNAUTHORIZED)
    for (const answer of [
      await begin(await other.token(['read'])),
      await begin(await host.token(['deploy'])),
    ])
      expect(answer.headers.get('set-cookie')).toBeNull()
  })

  test('revoking the token ends its session', async () => {
    const token = await host.token(['read'])
    const [mine, another] = [await session(token), await session()]
    const id = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).jti
    expect(await host.put('/revoked', { ids: [id] })).toMatchObject({ status: 200, body: { revoked: 1 } })
    expect(await ask(at('/deploys'), { headers: { cookie: mine } })).toMatchObject(UNAUTHORIZED)
    expect((await host.get('/deploys', { token })).status).toBe(401)
    expect((await ask(at('/deploys'), { headers: { cookie: another } })).status).toBe(200)
  })

  test('keys and revocations take nothing but what they name, from nobody but the agent', async () => {
    const rotation = { publicKey: host.publicKey, keepSeconds: 0 }
    for (const [path, method, body] of [
      ['/revoked', 'PUT', {}],
      ['/revoked', 'PUT', { ids: [], more: 1 }],
      ['/revoked', 'PUT', { ids: [1] }],
      ['/keys', 'POST', { ...rotation, more: 1 }],
      ['/keys', 'POST', { ...rotation, keepSeconds: -1 }],
      ['/keys', 'POST', { keepSeconds: 0 }],
      ['/keys', 'POST', []],
    ] as const)
      expect
        .soft(await host.put(path, body, { method }), `${path} ${JSON.stringify(body)}`)
        .toMatchObject({ status: 400, body: { error: { code: 'request-invalid' } } })
    for (const scopes of [['read'], ['deploy'], ['read', 'deploy', 'rollback']] as const) {
      expect((await host.put('/revoked', { ids: [] }, { scopes })).status).toBe(403)
      expect((await host.put('/keys', rotation, { method: 'POST', scopes })).status).toBe(403)
    }
    const authorization = `Bearer ${await host.token(['agent'])}`
    const plain = { method: 'PUT', headers: { authorization }, body: '{"ids":[]}' }
    expect((await ask(at('/revoked'), plain)).status).toBe(415)
    const long = { authorization, 'content-type': 'application/json' }
    expect(
      (await ask(at('/revoked'), { method: 'PUT', headers: long, body: ' '.repeat(40_000) })).status,
    ).toBe(413)
  })
})
