// Notices, destinations and stacks that are notified, for tests.

import type { Notice } from '../../agent/notify/notice.ts'
import type { Destination } from '../../agent/notify/kind.ts'
import { anyDestination } from '../../agent/notify/kinds.ts'
import { secretIn } from '../../agent/config/secrets.ts'

export const ID = '0123456789abcdef'
/** Of no platform: it is easily found where it should not be. */
export const TOKEN = 'VerySecretPartOfAnAddress'
export const SLACK = `https://hooks.slack.com/services/T0/B0/${TOKEN}`
export const DISCORD = `https://discord.com/api/webhooks/1/${TOKEN}`
export const TEAMS = `https://default0.1.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/2/triggers/manual/paths/invoke?api-version=1&sig=${TOKEN}`
export const GITHUB = `github_pat_${TOKEN}`
export const SIGNING = `whsec_${btoa('a secret of 24 bytes, ok')}`

export function notice(over: Partial<Notice> = {}): Notice {
  return {
    moment: 'success',
    deploy: ID,
    stack: 'hello',
    actor: 'ci',
    at: Date.UTC(2026, 10, 26, 12),
    changes: [
      { service: 'app2', from: 'ghcr.io/acme/hello:v1', to: 'ghcr.io/acme/hello:v2' },
      { service: 'app1', from: 'ghcr.io/acme/hello:v1', to: 'ghcr.io/acme/hello:v2' },
    ],
    moreChanges: 0,
    tag: 'v2',
    ms: 2420,
    changed: true,
    host: 'vps-1',
    link: `https://relay.example/watch#host=vps-1&deploy=${ID}`,
    ...over,
  }
}

/** A deploy that failed in every way at once, with texts that are too long for anybody, of the worst characters. */
export function worst(text: string, over: Partial<Notice> = {}): Notice {
  const long = text.repeat(Math.ceil(6000 / text.length))
  return notice({
    moment: 'failure',
    actor: long,
    reason: long,
    changes: Array.from({ length: 12 }, (_, index) => ({
      service: `app${index}${text}`,
      from: long,
      to: `${index}${long}`,
    })),
    moreChanges: 52,
    standing: 'before',
    problem: { code: 'container-unhealthy', message: long, cure: long, log: Array(40).fill(long) },
    undo: { code: 'internal', message: long },
    serving: Array(64).fill(long.slice(0, 100)),
    ...over,
  })
}

const ENV = { SLACK, DISCORD, TEAMS, GITHUB, SIGNING }

/** A destination as ropeway.yml would make it, with the secrets above. */
export function destination(
  entry: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv = ENV,
): Destination {
  return anyDestination((faultOf) => secretIn({ directory: '/', env }, faultOf)).parse(entry)
}
