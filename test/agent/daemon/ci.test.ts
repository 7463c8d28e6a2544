// Tokens of CI jobs at the agent: what a relay that lies, or keeps them for long, may bring.

import { decodeJwt, type JWTPayload } from 'jose'
import { expect, test } from 'vitest'
import { verifyFrame } from '../../../agent/daemon/verify.ts'
import { deployId } from '../../../shared/deploy-id.ts'
import { toBase64, type DeployFrame } from '../../../shared/protocol.ts'
import { IssuerKeys } from '../../../shared/triggers/issuer-keys.ts'
import { sha256Hex } from '../../../shared/tokens.ts'
import type { Trigger } from '../../../shared/triggers/index.ts'
import type { OidcTrigger } from '../../../shared/triggers/oidc.ts'
import { CONFUSED, FORGED } from '../../support/bad-tokens.ts'
import { configFor, HOST, SECRET, stackConfig } from '../../support/host.ts'
import { issuerFor, triggerOf } from '../../support/issuer.ts'

const encoder = new TextEncoder()
const AUDIENCE = 'https://relay.example/hooks/vps-1/hello/ci'

async function scene(over: Partial<OidcTrigger> = {}) {
  const issuer = await issuerFor(AUDIENCE)
  const trigger = triggerOf(issuer, AUDIENCE, over) as Trigger
  const config = configFor('https://relay.example', [stackConfig('hello', SECRET, [trigger])])
  const trusted = { publicKeys: async () => [], revoked: async () => [], issuers: new IssuerKeys() }
  // As a relay would deliver it. The id is what a good token's would be, so that it is nothing but the token that is declined.
  const verify = async (token: string, { afterMs = 0, like = token, body = '{}' } = {}) => {
    const frame: DeployFrame = {
      type: 'deploy',
      id: await deployId(HOST, 'hello', 'ci', '@oidc', ...(await idParts(like, trigger.type, body))),
      stack: 'hello',
      trigger: 'ci',
      acceptedAt: Date.now(),
      proof: { kind: 'oidc', token, body: toBase64(encoder.encode(body)) },
    }
    return verifyFrame(frame, config, trusted, new Date(Date.now() + afterMs))
  }
  return { issuer, verify }
}

async function idParts(token: string, type: string, body: string): Promise<string[]> {
  const { jti } = payloadOf(token)
  const id = jti ?? (await sha256Hex(encoder.encode(token.slice(0, token.lastIndexOf('.')))))
  return type === 'github-actions' ? [id] : [id, await sha256Hex(encoder.encode(body))]
}

function payloadOf(token: string): JWTPayload {
  try {
    return decodeJwt(token)
  } catch {
    return {}
  }
}

test('a token that waited is taken for what it was, and says until when it may wait', async () => {
  const { issuer, verify } = await scene()
  const { deploy } = await verify(await issuer.token(), { afterMs: 1800_000 })
  expect(deploy).toMatchObject({ actor: 'ci:octocat', trust: 'signed', trigger: 'ci' })
  expect(deploy.expiresAt - Date.now()).toBeLessThanOrEqual((300 + 30 + 3600) * 1000)
})

test.each([...Object.entries(FORGED), ...Object.entries(CONFUSED)])('%s is declined', async (_, make) => {
  const { issuer, verify } = await scene()
  await expect(verify(await make(issuer, AUDIENCE))).rejects.toMatchObject({
    code: 'request-unverified',
  })
})

test('where the issuer is out and its keys are not known, nothing is said of the request', async () => {
  const { issuer, verify } = await scene()
  issuer.status = 500
  await expect(verify(await issuer.token())).rejects.toMatchObject({
    code: 'issuer-unreachable',
  })
})

test('a token of the future is put down to a clock', async () => {
  const { issuer, verify } = await scene()
  const iat = Math.floor(Date.now() / 1000) + 600
  await expect(verify(await issuer.token({ iat, nbf: iat, exp: iat + 300 }))).rejects.toMatchObject({
    code: 'request-stale',
  })
})

// Google's have no id of their own.
test('a token without an id runs once, however its signature is written', async () => {
  const claims = { email: ['deploy@acme.example'] }
  const { issuer, verify } = await scene({ type: 'google', claims })
  const token = await issuer.token({ jti: undefined, email: 'deploy@acme.example', email_verified: true })
  const { deploy } = await verify(token)
  // 256 bytes leave four bits of the last of 342 characters over.
  const others = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_']
    .map((last) => token.slice(0, -1) + last)
    .filter((other) => other !== token)
  const taken = await Promise.allSettled(others.map((other) => verify(other, { like: token })))
  const ids = taken.flatMap((one) => (one.status === 'fulfilled' ? [one.value.deploy.id] : []))
  expect(ids).toEqual(Array.from({ length: 15 }, () => deploy.id))
  const dot = token.lastIndexOf('.') + 1
  await expect(verify(`${token.slice(0, dot)}\n${token.slice(dot)}`, { like: token })).rejects.toMatchObject({
    code: 'request-unverified',
  })
  const unsworn = await issuer.token({ jti: undefined, email: 'deploy@acme.example', email_verified: 'true' })
  await expect(verify(unsworn)).rejects.toMatchObject({ code: 'request-unverified' })
})
