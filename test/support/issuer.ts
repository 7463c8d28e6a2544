// A CI system for tests: an issuer of tokens with its keys on loopback, which can be replaced, counted and taken away.

import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose'
import { onTestFinished } from 'vitest'
import type { OidcTrigger } from '../../shared/triggers/oidc.ts'

export interface Issuer {
  readonly url: string
  readonly jwks: string
  /** How often its keys were asked for. */
  readonly asked: { count: number }
  /** What it answers; 200 unless a test says otherwise. */
  status: number
  /** The keys that it publishes. */
  published: JWK[]
  key: SigningKey
  /** A token as it makes them for a job of the right repository; `claims` that are undefined are left out. */
  token(claims?: Record<string, unknown>, over?: TokenParts): Promise<string>
}

export interface SigningKey {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicJwk: JWK
}

export interface TokenParts {
  readonly header?: Record<string, unknown>
  readonly key?: SigningKey
}

export async function signingKey(kid: string, alg = 'RS256'): Promise<SigningKey> {
  const pair = await generateKeyPair(alg, { extractable: true })
  return { kid, privateKey: pair.privateKey, publicJwk: { ...(await exportJWK(pair.publicKey)), kid, alg } }
}

/** Every issuer's first key: an RSA key takes a quarter of a second to make. */
const KEY = signingKey('one')

export async function issuerFor(audience: string): Promise<Issuer> {
  const key = await KEY
  const asked = { count: 0 }
  const server = createServer((_request, response) => {
    asked.count += 1
    response.writeHead(issuer.status, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ keys: issuer.published }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close().closeAllConnections())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const issuer: Issuer = {
    url,
    jwks: `${url}/keys`,
    asked,
    status: 200,
    published: [key.publicJwk],
    key,
    token: async (claims = {}, over = {}) => {
      const now = Math.floor(Date.now() / 1000)
      const { kid, privateKey } = over.key ?? issuer.key
      const said = {
        iss: url,
        aud: audience,
        sub: 'repo:acme/hello:ref:refs/heads/main',
        jti: crypto.randomUUID(),
        iat: now,
        nbf: now - 300,
        exp: now + 300,
        ...JOB,
        ...claims,
      }
      return new SignJWT(JSON.parse(JSON.stringify(said)))
        .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid, ...over.header })
        .sign(privateKey)
    },
  }
  return issuer
}

/** What a job of the right repository is. */
export const JOB = {
  repository: 'acme/hello',
  repository_id: '1296269',
  repository_owner_id: '42',
  ref: 'refs/heads/main',
  event_name: 'push',
  runner_environment: 'github-hosted',
  actor: 'octocat',
}

/** A trigger that takes its tokens. */
export function triggerOf(issuer: Issuer, audience: string, over: Partial<OidcTrigger> = {}): OidcTrigger {
  return {
    type: 'github-actions',
    stack: 'hello',
    name: 'ci',
    ttlMs: 3600_000,
    issuer: issuer.url,
    jwks: issuer.jwks,
    audience,
    bind: false,
    claims: {
      repository_id: ['1296269'],
      repository_owner_id: ['42'],
      ref: ['refs/heads/main'],
      event_name: ['push', 'workflow_dispatch', 'release', 'schedule'],
      runner_environment: ['github-hosted'],
    },
    ...over,
  }
}
