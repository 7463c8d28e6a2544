// Tokens of CI jobs at the agent: what a relay that lies, or keeps them for long, may bring.

import { expect, test } from 'vitest'
import { verifyFrame } from '../../agent/verify.ts'
import { deployId } from '../../shared/deploy.ts'
import { toBase64, type DeployFrame } from '../../shared/protocol.ts'
import { IssuerKeys } from '../../shared/triggers/issuer-keys.ts'
import type { Trigger } from '../../shared/triggers/index.ts'
import { CONFUSED, FORGED } from '../support/bad-tokens.ts'
import { configFor, HOST, SECRET, stackConfig } from '../support/host.ts'
import { issuerFor, triggerOf } from '../support/issuer.ts'

const AUDIENCE = 'https://relay.example/hooks/vps-1/hello/ci'

async function scene() {
  const issuer = await issuerFor(AUDIENCE)
  const trigger = triggerOf(issuer, AUDIENCE) as Trigger
  const config = configFor('https://relay.example', [stackConfig('hello', SECRET, [trigger])])
  const trusted = { publicKeys: async () => [], revoked: async () => [], issuers: new IssuerKeys() }
  const verify = async (token: string, jti: string, afterMs = 0) => {
    const frame: DeployFrame = {
      type: 'deploy',
      id: await deployId(HOST, 'hello', 'ci', '@oidc', jti),
      stack: 'hello',
      trigger: 'ci',
      acceptedAt: Date.now(),
      proof: { kind: 'oidc', token, body: toBase64(new TextEncoder().encode('{}')) },
    }
    return verifyFrame(frame, config, trusted, new Date(Date.now() + afterMs))
  }
  return { issuer, verify }
}

test('a token that waited is taken for what it was, and says until when it may wait', async () => {
  const { issuer, verify } = await scene()
  const { deploy } = await verify(await issuer.token({ jti: 'a' }), 'a', 1800_000)
  expect(deploy).toMatchObject({ actor: 'ci:octocat', trust: 'signed', trigger: 'ci' })
  expect(deploy.expiresAt - Date.now()).toBeLessThanOrEqual((300 + 30 + 3600) * 1000)
})

test.each([...Object.entries(FORGED), ...Object.entries(CONFUSED)])('%s is declined', async (_, make) => {
  const { issuer, verify } = await scene()
  await expect(verify(await make(issuer, AUDIENCE), 'a')).rejects.toMatchObject({
    code: 'request-unverified',
  })
})

test('where the issuer is out and its keys are not known, nothing is said of the request', async () => {
  const { issuer, verify } = await scene()
  issuer.status = 500
  await expect(verify(await issuer.token({ jti: 'a' }), 'a')).rejects.toMatchObject({
    code: 'issuer-unreachable',
  })
})
