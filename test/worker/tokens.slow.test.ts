// Who may do what with which token. Every refusal is a 401 of the same words, unless the token is good and only not enough.

import { randomUUID } from 'node:crypto'
import { SignJWT, UnsecuredJWT, exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Relay } from '../../agent/relay/relay.ts'
import { sha256Hex } from '../../shared/tokens.ts'
import { TestHost, testRelay } from '../support/relay.ts'

let relay: Relay
let host: TestHost
let other: TestHost
beforeAll(async () => {
  relay = await testRelay()
  host = await TestHost.enrolled(relay)
  other = await TestHost.enrolled(relay)
  await (await host.agent(['hello', 'other'])).close()
}, 30_000)
afterAll(() => relay.stop())

const now = () => Math.floor(Date.now() / 1000)
const HEADER = { alg: 'EdDSA', typ: 'ropeway+jwt' }

/** A token with one thing changed, signed by the host's own key unless that is what is changed. */
async function forge(change: {
  header?: Record<string, unknown>
  claims?: Record<string, unknown>
  key?: Parameters<SignJWT['sign']>[0]
}): Promise<string> {
  const claims = {
    iss: host.name,
    aud: host.url,
    sub: 'tester',
    jti: randomUUID(),
    iat: now(),
    exp: now() + 60,
    scope: ['read', 'deploy', 'agent'],
    ...change.claims,
  }
  const present = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined))
  return new SignJWT(present)
    .setProtectedHeader({ ...HEADER, ...change.header } as { alg: string })
    .sign(change.key ?? host.privateKey)
}

const rsa = () => generateKeyPair('RS256').then(({ privateKey }) => privateKey)
const ec = () => generateKeyPair('ES256').then(({ privateKey }) => privateKey)

const FORGED: [string, () => Promise<string>][] = [
  ['of another algorithm (RS256)', async () => forge({ header: { alg: 'RS256' }, key: await rsa() })],
  ['of another algorithm (ES256)', async () => forge({ header: { alg: 'ES256' }, key: await ec() })],
  [
    'of HS256 with the public key as secret',
    () => forge({ header: { alg: 'HS256' }, key: Buffer.from(host.publicKey.x, 'base64url') }),
  ],
  [
    'of no algorithm',
    async () =>
      new UnsecuredJWT({ scope: ['read', 'deploy', 'agent'], jti: 'x', sub: 'x' })
        .setIssuer(host.name)
        .setAudience(host.url)
        .setIssuedAt()
        .setExpirationTime('1m')
        .encode(),
  ],
  ['of another type', () => forge({ header: { typ: 'JWT' } })],
  ['with a critical header', () => forge({ header: { crit: ['x'], x: 1 } }).catch(() => 'a.b.c')],
  [
    'with its own key inside',
    async () => {
      const keys = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
      return forge({ header: { jwk: await exportJWK(keys.publicKey) }, key: keys.privateKey })
    },
  ],
  ['without expiry', () => forge({ claims: { exp: undefined } })],
  ['without time of issue', () => forge({ claims: { iat: undefined } })],
  ['without id', () => forge({ claims: { jti: undefined } })],
  ['without subject', () => forge({ claims: { sub: undefined } })],
  ['without scope', () => forge({ claims: { scope: undefined } })],
  ['with an unknown scope', () => forge({ claims: { scope: ['root'] } })],
  ['with an empty scope', () => forge({ claims: { scope: [] } })],
  ['with stacks that are no list', () => forge({ claims: { stacks: 'hello' } })],
  ['for another audience', () => forge({ claims: { aud: 'https://relay.example' } })],
  ['for an audience that only begins right', () => forge({ claims: { aud: `${host.url}/` } })],
  ['for no audience', () => forge({ claims: { aud: undefined } })],
  ['of another issuer', () => forge({ claims: { iss: other.name } })],
  ['of no issuer', () => forge({ claims: { iss: undefined } })],
  ['that has expired', () => forge({ claims: { iat: now() - 200, exp: now() - 100 } })],
  ['from the future', () => forge({ claims: { iat: now() + 600, exp: now() + 900 } })],
  ['not valid yet', () => forge({ claims: { nbf: now() + 600 } })],
  ['issued over a year ago', () => forge({ claims: { iat: now() - 400 * 24 * 3600 } })],
  ['with another host’s key', () => forge({ key: other.privateKey })],
  ['of another host', () => other.token(['read', 'deploy', 'agent'])],
  [
    'that was altered',
    async () => {
      const [header, payload, signature] = (await forge({})).split('.')
      const claims = JSON.parse(Buffer.from(payload!, 'base64url').toString())
      const altered = Buffer.from(JSON.stringify({ ...claims, sub: 'admin' })).toString('base64url')
      return [header, altered, signature].join('.')
    },
  ],
  ['that is no token', async () => 'nonsense'],
  ['that is 10 kB long', () => forge({ claims: { sub: 'x'.repeat(10_000) } })],
]

test.each(FORGED)('a token %s is refused', async (_, make) => {
  const token = await make()
  const refused = {
    status: 401,
    body: { error: { code: 'unauthorized', message: 'the credentials are missing, wrong or expired' } },
  }
  expect(await host.get('', { token })).toMatchObject(refused)
  expect(await host.deploy('{}', { token })).toMatchObject(refused)
  await expect(host.silentAgent(token)).rejects.toThrow('HTTP 401')
})

test('the forger’s tool itself makes good tokens', async () => {
  expect((await host.get('', { token: await forge({}) })).status).toBe(200)
})

test('no token, or none by Bearer', async () => {
  for (const authorization of ['', 'Bearer', 'Bearer ', `Basic ${btoa('a:b')}`, await host.token(['read'])])
    expect((await host.get('', { headers: { authorization } })).status).toBe(401)
})

test('an unknown host answers as an unknown token does', async () => {
  const nobody = await TestHost.unknown(relay)
  const [unknown, bad] = [await nobody.get(''), await host.get('', { token: await other.token(['read']) })]
  expect(unknown.status).toBe(401)
  expect(unknown.body).toEqual(bad.body)
  await expect(nobody.silentAgent()).rejects.toThrow('HTTP 401')
  expect((await nobody.deploy('{}')).status).toBe(401)
  for (const path of [
    '/deploys',
    '/stacks/hello',
    '/deploys/0000000000000000',
    '/deploys/0000000000000000/events',
  ])
    expect((await nobody.get(path)).status).toBe(401)
})

test('a good token without the scope is forbidden', async () => {
  const [read, deploy, agent] = [
    await host.token(['read']),
    await host.token(['deploy']),
    await host.token(['agent']),
  ]
  const forbidden = { status: 403, body: { error: { code: 'unauthorized' } } }
  for (const path of ['', '/deploys', '/stacks/hello', '/deploys/0000000000000000'])
    expect(await host.get(path, { token: deploy })).toMatchObject(forbidden)
  expect(await host.deploy('{}', { token: read })).toMatchObject(forbidden)
  expect(await host.deploy('{}', { token: agent })).toMatchObject(forbidden)
  await expect(host.silentAgent(read)).rejects.toThrow('HTTP 403')
})

test('a token for one stack deploys no other', async () => {
  const token = await host.token(['deploy'], { stacks: ['hello'] })
  expect((await host.deploy('{}', { token })).status).toBe(202)
  expect(await host.deploy('{}', { token, stack: 'other' })).toMatchObject({ status: 403 })
  expect(await host.deploy('{}', { token, stack: 'unknown' })).toMatchObject({ status: 403 })
  expect(await host.deploy('{}', { stack: 'unknown' })).toMatchObject({
    status: 404,
    body: { error: { code: 'stack-unknown' } },
  })
})

test('a token made for one body deploys that body, once', async () => {
  const body = '{"reason":"this"}'
  const token = await host.token(['deploy'], { bodySha256: await sha256Hex(Buffer.from(body)) })
  expect(await host.deploy('{"reason":"that"}', { token })).toMatchObject({ status: 403 })
  const first = await host.deploy(body, { token })
  const again = await host.deploy(body, { token, headers: { 'idempotency-key': 'other' } })
  expect([first.status, again.status]).toEqual([202, 200])
  expect(again.body.deploy.id).toBe(first.body.deploy.id)
})

test('a body that makes no sense is refused once the token is good', async () => {
  expect(await host.deploy('{"image":"UPPER"}')).toMatchObject({
    status: 400,
    body: { error: { code: 'request-invalid' } },
  })
  expect((await host.deploy('{"image":"UPPER"}', { token: await other.token(['deploy']) })).status).toBe(401)
})
