// A host at a real relay with a trigger that a registry calls, and that registry.

import { createHash, randomBytes } from 'node:crypto'
import type { Relay } from '../../agent/relay/relay.ts'
import { HINT_TTL_MS } from '../../shared/limits.ts'
import { keyFormOf } from '../../shared/triggers/credentials.ts'
import type { Trigger } from '../../shared/triggers/index.ts'
import type { PushTrigger } from '../../shared/triggers/pushes.ts'
import { REGISTRIES, type RegistryType } from '../../shared/triggers/registries/index.ts'
import type { Registry } from '../../shared/triggers/registries/registry.ts'
import { issuerFor, type Issuer } from './issuer.ts'
import { hmacHex, SENDERS, type Sent } from './notifications.ts'
import { ask, TestHost, type AgentSocket, type Answer } from './relay.ts'

const EMAIL = 'ropeway@acme.iam.gserviceaccount.com'

export interface PushScene {
  readonly host: TestHost
  readonly agent: AgentSocket
  readonly secret: string
  readonly issuer: Issuer | undefined
  /** As the registry would: `change` makes it somebody else. */
  send(
    sent: Sent,
    change?: { headers?: Record<string, string>; path?: string; as?: RegistryType },
  ): Promise<Answer>
  push(tag: string): Promise<Answer>
}

/** The trigger `push` of stack hello. */
export function pushTrigger(
  type: RegistryType,
  { secret, issuer, audience }: { secret: string; issuer?: Issuer | undefined; audience: string },
  over: Partial<PushTrigger> = {},
): Trigger {
  const { path } = SENDERS[type]
  const rule = {
    stack: 'hello',
    name: 'push',
    ttlMs: HINT_TTL_MS,
    image: `registry.example/${path}`,
    path,
    ...(over.semver === undefined ? { tags: ['v*'] } : {}),
    settleMs: 0,
    ...over,
  }
  if (type === 'artifact-registry') {
    const { url = '', jwks = '' } = issuer ?? {}
    return { type, ...rule, issuer: url, jwks, audience, claims: { email: [EMAIL] } } as Trigger
  }
  const { credential } = REGISTRIES[type] as Registry
  const hash = createHash('sha256').update(secret).digest('hex')
  return { type, ...rule, keys: [keyFormOf(credential, secret) === 'hash' ? hash : secret] } as Trigger
}

export async function pushScene(
  relay: Relay,
  type: RegistryType,
  over: Partial<PushTrigger> = {},
): Promise<PushScene> {
  const host = await TestHost.enrolled(relay)
  const secret = randomBytes(24).toString('hex')
  const audience = `${relay.url}${host.hookPath('hello', 'push')}`
  const issuer = type === 'artifact-registry' ? await issuerFor(audience) : undefined
  const agent = await host.agent(
    ['hello'],
    [pushTrigger(type, { secret, issuer, audience }, over), host.trigger()],
  )
  const send: PushScene['send'] = async ({ body, headers = {} }, change = {}) => {
    const as = change.as ?? type
    const path = change.path ?? host.hookPath('hello', 'push')
    const shown = await credentialOf(as, { secret, body, issuer })
    return ask(`${relay.url}${path}${shown.path ?? ''}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...shown.headers, ...headers, ...change.headers },
      body,
    })
  }
  return { host, agent, secret, issuer, send, push: (tag) => send(SENDERS[type].push(tag)) }
}

/** How a registry shows who it is. */
export async function credentialOf(
  type: RegistryType,
  { secret, body, issuer }: { secret: string; body: string; issuer?: Issuer | undefined },
): Promise<{ headers?: Record<string, string>; path?: string }> {
  const { credential } = REGISTRIES[type] as Registry
  if (credential === 'path') return { path: `/${secret}` }
  if (credential === 'authorization') return { headers: { authorization: `Bearer ${secret}` } }
  if (credential === 'gitlab') return { headers: { 'x-gitlab-token': secret } }
  if (credential === 'google') {
    const claims = { email: EMAIL, email_verified: true, sub: '1', azp: '1' }
    return { headers: { authorization: `Bearer ${(await issuer?.token(claims)) ?? ''}` } }
  }
  return { headers: { [credential.header]: credential.prefix + hmacHex(secret, body) } }
}
