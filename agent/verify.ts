// The agent's own check of what the relay delivers: the relay is not trusted, only what a trigger's sender or a token's holder signed.

import { decodeJwt, type JWK } from 'jose'
import { REQUEST_TTL_MS, SIGNATURE_AGE_SECONDS_MAX } from '../shared/limits.ts'
import { Problem } from '../shared/problems.ts'
import { fromBase64, type DeployFrame } from '../shared/protocol.ts'
import type { DeployRequest } from '../shared/request.ts'
import { verifyToken } from '../shared/tokens.ts'
import { askedByToken, verifyTriggered, type Asked } from '../shared/triggers/index.ts'
import { stackOf, type Config, type StackConfig } from './config.ts'

/** A request may have waited in the hub for an absent agent; only the time that was signed can say how long ago it was made. */
const AGE_SECONDS_MAX = REQUEST_TTL_MS / 1000 + SIGNATURE_AGE_SECONDS_MAX

export interface Verified {
  readonly stack: StackConfig
  readonly request: DeployRequest
  readonly actor: string
}

/**
 * What a delivered frame really asks for. Throws `stack-unknown`, or `request-unverified` for whatever the host has not signed for:
 * a wrong secret, an altered body, another stack, a forged id, a time long past.
 */
export async function verifyFrame(
  frame: DeployFrame,
  config: Config,
  publicJwk: JWK,
  now: Date,
): Promise<Verified> {
  const stack = stackOf(config, frame.stack)
  const asked = await ask(frame, config, stack, publicJwk, now).catch((cause: unknown) => {
    if (!(cause instanceof Problem) || cause.code !== 'unauthorized') throw cause
    throw new Problem('request-unverified', cause.message, { cause })
  })
  // The id is made from what was signed: a frame with another one is an old request that wants to run twice.
  if (asked.id !== frame.id)
    throw new Problem('request-unverified', `what was signed belongs to deploy ${asked.id}, not to this one`)
  return { stack, request: asked.request, actor: asked.actor }
}

async function ask(
  frame: DeployFrame,
  config: Config,
  stack: StackConfig,
  publicJwk: JWK,
  now: Date,
): Promise<Asked> {
  const { proof } = frame
  const body = fromBase64(proof.body)
  switch (proof.kind) {
    case 'hook': {
      const trigger = stack.triggers.find((each) => each.name === frame.trigger)
      if (!trigger)
        throw new Problem(
          'unauthorized',
          `stack ${stack.name} has no trigger ${JSON.stringify(frame.trigger)}`,
        )
      return verifyTriggered(
        config.host,
        trigger,
        { headers: proof.headers, body },
        now.getTime(),
        AGE_SECONDS_MAX,
      )
    }
    case 'token': {
      const claims = await verifyToken(proof.token, publicJwk, {
        host: config.host,
        audience: config.relay,
        now: whenSent(proof.token, now),
      })
      return askedByToken(config.host, stack.name, claims, { idempotencyKey: proof.idempotencyKey, body })
    }
  }
}

// The latest moment at which the token can have been sent to the hub: now, or its last second if that was within the time for which
// the hub keeps requests. What the token says of itself is not verified here, it only chooses the clock by which verifyToken judges.
function whenSent(token: string, now: Date): Date {
  let expiresAt = 0
  try {
    expiresAt = (decodeJwt(token).exp ?? 0) * 1000
  } catch {
    // verifyToken says what is wrong with it.
  }
  return new Date(Math.min(now.getTime(), Math.max(expiresAt - 1000, now.getTime() - REQUEST_TTL_MS)))
}
