// The triggers of ropeway.yml: who may ask for a deploy, and how each is verified.

import { z } from 'zod'
import { REQUEST_TTL_MS_MAX } from '../../shared/limits.ts'
import { keyFormOf, SIGNING_SECRET_PATTERN } from '../../shared/triggers/credentials.ts'
import { defaultTtlMs, TRIGGER_TYPES, URL_SECRET_PATTERN } from '../../shared/triggers/index.ts'
import { REGISTRIES, type KeyedRegistryType } from '../../shared/triggers/registries/index.ts'
import type { Registry } from '../../shared/triggers/registries/registry.ts'
import { publicKeyFault, secretFault } from '../../shared/triggers/standard-webhooks.ts'
import { ciTrigger } from './ci-triggers.ts'
import { artifactRegistryTrigger, registryTrigger } from './registry-triggers.ts'
import { printOf, secretIn, sha256, type FaultOf, type Surroundings } from './secrets.ts'
import { absent, listOf, parseLifetime } from './values.ts'

/** A key as the relay gets it. Two with the same `print` are one secret, however it is written. */
interface Key {
  readonly key: string
  readonly print: string
}

/** Below this, a request could expire on its way. */
const TTL_MS_MIN = 1000
/** The old and the new one, while a sender is told the new one. */
const KEYS_MAX = 2

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export function triggerSchema(surroundings: Surroundings) {
  const secret = (faultOf: FaultOf, keyOf: (text: string) => string) =>
    secretIn(surroundings, faultOf).transform((text): Key => ({ key: keyOf(text), print: printOf(text) }))

  const ofRegistry = <T extends KeyedRegistryType>(type: T) => {
    const { credential } = REGISTRIES[type] as Registry
    const keyOf = (text: string) => (keyFormOf(credential, text) === 'hash' ? sha256(text) : text)
    const faultOf = (text: string) =>
      credential === 'gitlab' && text.startsWith('whsec_')
        ? secretFault(text)
        : typeof credential === 'object'
          ? signingSecretFault(text)
          : urlSecretFault(text)
    return registryTrigger(type, listOf(secret(faultOf, keyOf), KEYS_MAX), ttl(type))
  }

  return z.discriminatedUnion(
    'type',
    [
      standardWebhooks(listOf(secret(secretFault, asItIs), KEYS_MAX)),
      standardWebhooksV1a(),
      url(listOf(secret(urlSecretFault, sha256), KEYS_MAX)),
      ciTrigger('github-actions', ttl('github-actions')),
      ciTrigger('gitlab-ci', ttl('gitlab-ci')),
      ciTrigger('google', ttl('google')),
      ciTrigger('oidc', ttl('oidc')),
      ofRegistry('docker-hub'),
      ofRegistry('ghcr'),
      ofRegistry('distribution'),
      ofRegistry('harbor'),
      ofRegistry('quay'),
      ofRegistry('gitlab'),
      ofRegistry('gitea'),
      ofRegistry('ecr'),
      artifactRegistryTrigger(ttl('artifact-registry')),
      ofRegistry('acr'),
      ofRegistry('zot'),
      ofRegistry('jfrog'),
    ],
    { error: `should be one of ${TRIGGER_TYPES.join(', ')}` },
  )
}

const asItIs = (text: string) => text

const standardWebhooks = (secret: z.ZodType<Key[]>) =>
  z
    .strictObject({
      type: z.literal('standard-webhooks'),
      secret,
      publicKey: absent('belongs to type standard-webhooks-v1a; this one has a secret'),
      ttl: ttl('standard-webhooks'),
    })
    .transform(({ type, secret: keys, ttl: ttlMs }) => ({ type, keys, ttlMs }))

const standardWebhooksV1a = () =>
  z
    .strictObject({
      type: z.literal('standard-webhooks-v1a'),
      publicKey: listOf(publicKey, KEYS_MAX),
      secret: absent('belongs to type standard-webhooks; this one has the sender’s publicKey'),
      ttl: ttl('standard-webhooks-v1a'),
    })
    .transform(({ type, publicKey: keys, ttl: ttlMs }) => ({ type, keys, ttlMs }))

const url = (secret: z.ZodType<Key[]>) =>
  z
    .strictObject({
      type: z.literal('url'),
      secret,
      publicKey: absent('belongs to type standard-webhooks-v1a; this one has a secret'),
      ttl: ttl('url'),
    })
    .transform(({ type, secret: keys, ttl: ttlMs }) => ({ type, keys, ttlMs }))

const publicKey = z.unknown().transform((value, ctx): Key => {
  const fault = typeof value === 'string' ? publicKeyFault(value) : 'should be the key itself, as whpk_…'
  if (fault === undefined) return { key: String(value), print: String(value) }
  ctx.addIssue({ code: 'custom', message: fault })
  return z.NEVER
})

const ttl = (type: Parameters<typeof defaultTtlMs>[0]) => ttlOf(defaultTtlMs(type))

// oxlint-disable-next-line typescript/explicit-function-return-type -- the schema's type is what zod infers
export const ttlOf = (defaultMs: number) =>
  z
    .unknown()
    .transform((value, ctx) => {
      const ms = parseLifetime(value)
      if (ms !== undefined && ms >= TTL_MS_MIN && ms <= REQUEST_TTL_MS_MAX) return ms
      ctx.addIssue({
        code: 'custom',
        message:
          ms === undefined
            ? 'should be a duration as 30m, 24h or 7d'
            : `should be from ${TTL_MS_MIN / 1000}s to ${REQUEST_TTL_MS_MAX / 24 / 3600_000}d`,
      })
      return z.NEVER
    })
    .default(defaultMs)

function urlSecretFault(text: string): string | undefined {
  return URL_SECRET_PATTERN.test(text)
    ? undefined
    : 'is not 24 to 128 letters, digits, - and _, as `openssl rand -hex 24` makes them'
}

function signingSecretFault(text: string): string | undefined {
  return SIGNING_SECRET_PATTERN.test(text)
    ? undefined
    : 'is not 24 to 128 printable characters without spaces, as `openssl rand -hex 24` makes them'
}
