// A host at a real relay with a trigger that takes CI jobs' tokens, and the CI system that makes them.

import type { Relay } from '../../agent/relay/relay.ts'
import type { Trigger } from '../../shared/triggers/index.ts'
import type { OidcTrigger } from '../../shared/triggers/oidc.ts'
import { issuerFor, triggerOf, type Issuer } from './issuer.ts'
import { ask, TestHost, type AgentSocket, type Answer } from './relay.ts'

export interface CiScene {
  readonly host: TestHost
  readonly issuer: Issuer
  readonly agent: AgentSocket
  readonly audience: string
  send(token: string, body?: string, headers?: Record<string, string>): Promise<Answer>
}

export async function ciScene(relay: Relay, over: Partial<OidcTrigger> = {}): Promise<CiScene> {
  const host = await TestHost.enrolled(relay)
  const path = host.hookPath('hello', 'ci')
  const audience = `${relay.url}${path}`
  const issuer = await issuerFor(audience)
  const agent = await host.agent(['hello'], [triggerOf(issuer, audience, over) as Trigger, host.trigger()])
  const send: CiScene['send'] = (token, body = '{"reason":"ci"}', headers = {}) =>
    ask(audience, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      body,
    })
  return { host, issuer, agent, audience, send }
}
