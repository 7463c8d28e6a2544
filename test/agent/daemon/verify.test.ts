import { expect, test } from 'vitest'
import { verdictOf, verifyFrame, whyDeclined } from '../../../agent/daemon/verify.ts'
import { REQUEST_TTL_MS, SIGNATURE_AGE_SECONDS_MAX } from '../../../shared/limits.ts'
import { Problem } from '../../../shared/problems.ts'
import type { DeployFrame } from '../../../shared/protocol.ts'
import { IssuerKeys } from '../../../shared/triggers/issuer-keys.ts'
import { configFor, hintFrame, hookFrame } from '../../support/host.ts'

const NEWEST = { id: '0123456789abcdef', signedAt: 500 }
const SUPERSEDED = { type: 'superseded', by: NEWEST.id }
const EXPIRED = { type: 'expired' }

test.each([
  // expiresAt, signedAt, newest, now, the answer
  [1000, 400, undefined, 1000, undefined],
  [1000, 400, undefined, 1001, EXPIRED],
  [Infinity, undefined, undefined, 1e15, undefined],
  [1000, 499, NEWEST, 1000, SUPERSEDED],
  [1000, 500, NEWEST, 1000, undefined],
  [1000, 501, NEWEST, 1000, undefined],
  [1000, undefined, NEWEST, 1000, undefined],
  [1000, 499, NEWEST, 1001, EXPIRED],
] as const)(
  'good until %d, signed at %d, after %o, at %d: %o',
  (expiresAt, signedAt, newest, now, answer) => {
    expect(whyDeclined({ expiresAt, signedAt }, newest, now)).toEqual(answer)
  },
)

test('a proof of a kind that only a newer relay knows is declined with the cure', async () => {
  const frame = { ...(await hookFrame()), proof: { kind: 'brewed' } } as unknown as DeployFrame
  const trusted = { publicKeys: async () => [], revoked: async () => [], issuers: new IssuerKeys() }
  const fault = await verifyFrame(frame, configFor('http://relay'), trusted, new Date()).catch(verdictOf)
  expect(fault).toMatchObject({
    type: 'failed',
    problem: { code: 'request-invalid', cure: expect.stringContaining('update') },
  })
})

test.each(['request-unverified', 'request-stale', 'request-invalid', 'stack-unknown'] as const)(
  '%s says something of the request',
  (code) => {
    expect(verdictOf(new Problem(code, 'm'))).toEqual({
      type: 'failed',
      ms: 0,
      problem: { code, message: 'm' },
    })
  },
)

test.each([new Problem('key-unusable', 'm'), new Problem('internal', 'm'), new Error('EIO'), 'text'])(
  '%s says something of this host, and answers nothing',
  (error) => {
    expect(verdictOf(error)).toBeUndefined()
  },
)

const nobody = { publicKeys: async () => [], revoked: async () => [], issuers: new IssuerKeys() }

test('what was verified is what was signed, and when: nothing of the relay’s words', async () => {
  const atSeconds = Math.floor(Date.now() / 1000) - 60
  const frame = await hookFrame({ body: '{"reason":"r"}', atSeconds })
  const { deploy } = await verifyFrame(
    { ...frame, acceptedAt: 1 },
    configFor('https://relay.example'),
    nobody,
    new Date(),
  )
  expect(deploy).toEqual({
    id: frame.id,
    stack: 'hello',
    trigger: 'deploy',
    actor: 'deploy',
    trust: 'signed',
    request: { reason: 'r' },
    signedAt: atSeconds * 1000,
    expiresAt: atSeconds * 1000 + REQUEST_TTL_MS + SIGNATURE_AGE_SECONDS_MAX * 1000,
  })
})

test('a hint has no time and no wishes', async () => {
  const frame = await hintFrame('a')
  const { deploy } = await verifyFrame(frame, configFor('https://relay.example'), nobody, new Date())
  expect(deploy).toMatchObject({ trust: 'hint', request: {}, signedAt: undefined, expiresAt: Infinity })
})
