// What the relay answers over HTTP, as schemas: the relay's own types, its OpenAPI document and the command line's parser.

import { z } from 'zod'
import { STATUSES } from './deploy.ts'
import { TRUSTS, anyRequestSchema } from './request.ts'
import { DEPLOY_ID_PATTERN } from './deploy-id.ts'
import { loggedEventSchema, toldEventSchema } from './events.ts'
import { TOKENS_REVOKED_MAX } from './limits.ts'
import { TOKEN_TTL_SECONDS_MAX } from './tokens.ts'

const deployId = z.string().regex(DEPLOY_ID_PATTERN)

/** Every answer but 2xx. `code` is one of problems.ts. */
export const errorSchema = z.object({
  error: z.object({ code: z.string(), message: z.string(), cure: z.string().optional() }),
})

/** Only what an Ed25519 public key needs: whatever else a JWK carries is dropped. */
export const publicKeySchema = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string().regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/, 'not 32 bytes in base64url'),
})
export type PublicKey = z.infer<typeof publicKeySchema>

export const enrolmentSchema = z.strictObject({ publicKey: publicKeySchema })

export const enrolledSchema = z.object({ status: z.enum(['enrolled', 'known']), host: z.string() })

/** A new key of the host takes the place of the present one, whose tokens stay good for `keepSeconds`. Asked for with the present one. */
export const rotationSchema = z.strictObject({
  publicKey: publicKeySchema,
  keepSeconds: z.number().int().min(0).max(TOKEN_TTL_SECONDS_MAX),
})
export type Rotation = z.infer<typeof rotationSchema>
/** `keys` is how many keys count now. */
export const rotatedSchema = z.object({ host: z.string(), keys: z.number() })

/** The ids of all tokens that are revoked: it replaces what the relay knew. */
export const revocationSchema = z.strictObject({
  ids: z.array(z.string().min(1).max(64)).max(TOKENS_REVOKED_MAX),
})
export const revokedSchema = z.object({ host: z.string(), revoked: z.number() })

/** To `POST …/session`, beside the cookie. Milliseconds since 1970. */
export const sessionSchema = z.object({ expiresAt: z.number() })

/** To a hook and to `POST …/deploys`: 202 `accepted`, 200 `duplicate` when the same request came before. */
export const acceptedSchema = z.object({
  status: z.enum(['accepted', 'duplicate']),
  deploy: z.object({ id: deployId, host: z.string(), stack: z.string(), url: z.url() }),
  agent: z.enum(['online', 'offline']),
})

/** To a registry whose notification deploys nothing: 200, for by an error it would take it for lost. */
export const ignoredSchema = z.object({ status: z.literal('ignored'), reason: z.string() })

/** Times are milliseconds since 1970. */
export const deploySchema = z.object({
  id: deployId,
  host: z.string(),
  stack: z.string(),
  trigger: z.string(),
  actor: z.string(),
  trust: z.enum(TRUSTS),
  status: z.enum(STATUSES),
  acceptedAt: z.number(),
  finishedAt: z.number().nullable(),
})

/** `outcome` is the event that ended the deploy; where that was a failure, it has the problem. */
export const deployDetailsSchema = deploySchema.extend({
  request: anyRequestSchema,
  outcome: toldEventSchema.nullable(),
})
export type DeployDetails = z.infer<typeof deployDetailsSchema>

export const deploysSchema = z.object({ deploys: z.array(deploySchema) })

/** To `POST …/cancel`: 200 `cancelled` where no agent had it yet, 202 `cancelling` where the agent was told to. */
export const cancelSchema = z.object({ status: z.enum(['cancelled', 'cancelling']) })

/**
 * What a stack ran, and can be rolled back to while its host keeps the images. `deploy` is null, and so are `actor` and `reason`, for what
 * ran before a deploy by nobody's deploy. `of`: it is that release again, by a rollback.
 */
const releaseSchema = z.object({
  release: z.number(),
  deploy: deployId.nullable(),
  at: z.number(),
  actor: z.string().nullable(),
  reason: z.string().nullable(),
  services: z.record(z.string(), z.string()),
  isCurrent: z.boolean(),
  of: z.number().optional(),
})
export type ReleaseState = z.infer<typeof releaseSchema>

/** Newest first, as far as the relay's log goes. */
export const releasesSchema = z.object({ releases: z.array(releaseSchema) })

export const eventsSchema = z.object({ deploy: deploySchema, events: z.array(loggedEventSchema) })

/** `since` is when the agent connected, or when it was last there. */
export const hostSchema = z.object({
  host: z.string(),
  agent: z.object({
    status: z.enum(['online', 'offline']),
    since: z.number().nullable(),
    lastSeen: z.number().nullable(),
    version: z.string().nullable(),
  }),
  stacks: z.array(z.string()),
})
export type HostState = z.infer<typeof hostSchema>

/**
 * `fingerprint` tells the keys of a trigger apart; `lastUsed` is right to the minute. `stale` is the last request that was genuine and
 * refused: signed with one of them but not now, or with a CI job's token whose time is not now or whose job is another, so that its sender's
 * clock, or somebody who repeats old requests, can be found. `fault`: why nothing can come by it at all.
 */
const triggerStateSchema = z.object({
  name: z.string(),
  type: z.string(),
  ttlMs: z.number(),
  keys: z.array(z.object({ fingerprint: z.string(), lastUsed: z.number().nullable() })),
  stale: z.object({ at: z.number(), message: z.string() }).nullable(),
  fault: z.string().optional(),
})
export type TriggerState = z.infer<typeof triggerStateSchema>

export const stackSchema = z.object({
  host: z.string(),
  stack: z.string(),
  triggers: z.array(triggerStateSchema),
  latest: deploySchema.nullable(),
})
export type StackState = z.infer<typeof stackSchema>

export const healthSchema = z.object({ status: z.literal('ok') })
