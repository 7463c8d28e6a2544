// What the relay answers over HTTP, as schemas: the relay's own types, its OpenAPI document and the command line's parser.

import { z } from 'zod'
import { DEPLOY_ID_PATTERN, STATUSES } from './deploy.ts'
import { deployEventSchema, loggedEventSchema } from './events.ts'
import { deployRequestSchema } from './request.ts'

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

/** To a hook and to `POST …/deploys`: 202 `accepted`, 200 `duplicate` when the same request came before. */
export const acceptedSchema = z.object({
  status: z.enum(['accepted', 'duplicate']),
  deploy: z.object({ id: deployId, host: z.string(), stack: z.string(), url: z.url() }),
  agent: z.enum(['online', 'offline']),
})

/** Times are milliseconds since 1970. */
export const deploySchema = z.object({
  id: deployId,
  host: z.string(),
  stack: z.string(),
  trigger: z.string(),
  actor: z.string(),
  status: z.enum(STATUSES),
  acceptedAt: z.number(),
  finishedAt: z.number().nullable(),
})

/** `outcome` is the event that ended the deploy; where that was a failure, it has the problem. */
export const deployDetailsSchema = deploySchema.extend({
  request: deployRequestSchema,
  outcome: deployEventSchema.nullable(),
})
export type DeployDetails = z.infer<typeof deployDetailsSchema>

export const deploysSchema = z.object({ deploys: z.array(deploySchema) })

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

export const stackSchema = z.object({
  host: z.string(),
  stack: z.string(),
  triggers: z.array(z.object({ name: z.string(), type: z.string() })),
  latest: deploySchema.nullable(),
})
export type StackState = z.infer<typeof stackSchema>

export const healthSchema = z.object({ status: z.literal('ok') })
