// An issuer's keys over time: replaced, out, and lied about. The clock is an argument; the issuer is a server on loopback.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { jwtVerify } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import {
  ISSUER_ANSWER_BYTES_MAX,
  ISSUER_COOLDOWN_MS,
  ISSUER_KEYS_FRESH_MS,
  ISSUER_KEYS_STALE_MS_MAX,
} from '../../shared/limits.ts'
import { IssuerKeys, type Issuer, type KnownKeys } from '../../shared/triggers/issuer-keys.ts'
import { issuerFor, signingKey } from '../support/issuer.ts'

const START = 1_700_000_000_000
const AUDIENCE = 'https://relay.example/hooks/vps-1/hello/ci'

/** An issuer, and what a trigger says of it. */
async function scene() {
  const issuer = await issuerFor(AUDIENCE)
  return { issuer, where: { issuer: issuer.url, jwks: issuer.jwks } }
}

/** Whether a token of the issuer's is good by the keys that are known at that time. */
async function isGood(keys: IssuerKeys, where: Issuer, token: string, nowMs: number): Promise<boolean> {
  return await jwtVerify(token, keys.keysOf(where, nowMs)).then(
    () => true,
    () => false,
  )
}

test('a new key counts from its first token on, once the pause since the last question is over', async () => {
  const { issuer, where } = await scene()
  const keys = new IssuerKeys()
  const old = await issuer.token()
  expect(await isGood(keys, where, old, START)).toBe(true)
  const two = await signingKey('two')
  issuer.published = [issuer.key.publicJwk, two.publicJwk]
  const fresh = await issuer.token({}, { key: two })
  expect(await isGood(keys, where, fresh, START + ISSUER_COOLDOWN_MS - 1)).toBe(false)
  expect(issuer.asked.count).toBe(1)
  expect(await isGood(keys, where, fresh, START + ISSUER_COOLDOWN_MS)).toBe(true)
  expect(issuer.asked.count).toBe(2)
  expect(await isGood(keys, where, old, START + ISSUER_COOLDOWN_MS)).toBe(true)
})

test('a key that the issuer has taken back is good no more once what is known is not fresh', async () => {
  const { issuer, where } = await scene()
  const keys = new IssuerKeys()
  const token = await issuer.token()
  expect(await isGood(keys, where, token, START)).toBe(true)
  issuer.published = [(await signingKey('two')).publicJwk]
  expect(await isGood(keys, where, token, START + ISSUER_KEYS_FRESH_MS - 1)).toBe(true)
  expect(await isGood(keys, where, token, START + ISSUER_KEYS_FRESH_MS)).toBe(false)
})

test('while the issuer is out, its last keys count, up to a limit, and after a restart too', async () => {
  const { issuer, where } = await scene()
  const store = new Map<string, KnownKeys>()
  const kept = {
    get: (place: string) => store.get(place),
    put: (place: string, known: KnownKeys) => void store.set(place, known),
  }
  const token = await issuer.token()
  expect(await isGood(new IssuerKeys(kept), where, token, START)).toBe(true)
  issuer.status = 503
  const restarted = new IssuerKeys(kept)
  expect(await isGood(restarted, where, token, START + ISSUER_KEYS_STALE_MS_MAX)).toBe(true)
  await expect(
    jwtVerify(token, restarted.keysOf(where, START + ISSUER_KEYS_STALE_MS_MAX + ISSUER_COOLDOWN_MS)),
  ).rejects.toMatchObject({ code: 'issuer-unreachable' })
})

/** A server that answers as told; its address. */
async function answering(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close().closeAllConnections())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test.each([
  ['that is its own', (url: string) => ({ issuer: url, jwks_uri: `${url}/keys` }), true],
  ['of another issuer', (url: string) => ({ issuer: `${url}/`, jwks_uri: `${url}/keys` }), false],
  [
    'whose keys anybody on the way could change',
    (url: string) => ({ issuer: url, jwks_uri: 'http://keys.example/' }),
    false,
  ],
])('keys are found by a discovery document %s: %#', async (_, document, isFound) => {
  const issuer = await issuerFor(AUDIENCE)
  const url: string = await answering((request, response) => {
    const isDocument = request.url === '/.well-known/openid-configuration'
    response.end(JSON.stringify(isDocument ? document(url) : { keys: issuer.published }))
  })
  expect(await isGood(new IssuerKeys(), { issuer: url }, await issuer.token(), START)).toBe(isFound)
})

test('neither a redirect nor an answer without end brings keys', async () => {
  const issuer = await issuerFor(AUDIENCE)
  const elsewhere = await answering((_request, response) => {
    response.writeHead(302, { location: issuer.jwks }).end()
  })
  const long = await answering((_request, response) => {
    response.end(JSON.stringify({ keys: issuer.published, more: 'x'.repeat(ISSUER_ANSWER_BYTES_MAX) }))
  })
  for (const jwks of [elsewhere, long])
    expect(await isGood(new IssuerKeys(), { issuer: issuer.url, jwks }, await issuer.token(), START)).toBe(
      false,
    )
  expect(issuer.asked.count).toBe(0)
})
