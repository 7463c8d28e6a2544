// Any endpoint of one's own: the notice as JSON, signed by Standard Webhooks 1.0. Each try of a notice has the same `webhook-id`, so that
// the receiver can tell a repetition, and a timestamp and signature of its own.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

import { isIssuerUrl } from '../../shared/triggers/issuer-keys.ts'
import { secretFault, signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { printOf } from '../config/secrets.ts'
import { destinationSchema, JSON_HEADERS, outcomeOf, type SecretSchema, type Sender } from './kind.ts'
import { titleOf } from './message.ts'
import type { Notice } from './notice.ts'

/** A receiver that has gone for good says so, by the specification. */
const GONE = 410

const TYPES = {
  start: 'deploy.started',
  success: 'deploy.succeeded',
  failure: 'deploy.failed',
  stuck: 'deploy.stuck',
} as const

export const standardWebhooks = (secret: SecretSchema) =>
  destinationSchema(
    'standard-webhooks',
    { url: secret(urlFault), secret: secret(secretFault) },
    senderOf,
    (own) => printOf(own.secret),
  )

function senderOf({ url, secret }: { url: string; secret: string }): Sender {
  return async (notice, { send, nowMs }) => {
    const body = JSON.stringify(payloadOf(notice))
    const signed = await signStandardWebhook(secret, {
      id: `${notice.deploy}-${notice.moment}`,
      timestampSeconds: Math.floor(nowMs / 1000),
      body: new TextEncoder().encode(body),
    })
    const answer = await send({ method: 'POST', url, headers: { ...JSON_HEADERS, ...signed }, body })
    const outcome = outcomeOf(answer)
    // The receiver is a program of the user's, which may be away or wrong for an hour: it gets what it has missed.
    return outcome.isSent ? outcome : { ...outcome, isFinal: 'status' in answer && answer.status === GONE }
  }
}

/** What is sent: `type` and `timestamp` as the specification has them, and the facts. */
export function payloadOf({ moment, at, link, ...facts }: Notice): Record<string, unknown> {
  const notice = { moment, at, link, ...facts }
  return {
    type: TYPES[moment],
    timestamp: new Date(at).toISOString(),
    data: { ...facts, title: titleOf(notice), ...(link === undefined ? {} : { url: link }) },
  }
}

// The same that may be trusted with an issuer's keys: https, or this machine's own loopback. A query may carry what the receiver needs.
function urlFault(text: string): string | undefined {
  const url = URL.parse(text)
  const isRight =
    url !== null && isIssuerUrl(`${url.origin}${url.pathname}`) && !url.username && !url.password && !url.hash
  return isRight ? undefined : 'is not an https address (http is for 127.0.0.1 alone)'
}
