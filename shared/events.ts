// The append-only facts of one deploy. The core emits these; words, colours and log lines are made at the edge (words.ts).

import { z } from 'zod'
import { TRUSTS } from './deploy.ts'
import { STEPS_MAX } from './limits.ts'
import { planSchema, stepSchema } from './plan.ts'
import { PROBLEMS, type ProblemCode } from './problems.ts'
import { deployRequestSchema, rollbackRequestSchema } from './request.ts'

const problemCodes = Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]

export const problemSchema = z.object({
  code: z.enum(problemCodes),
  message: z.string(),
  cure: z.string().optional(),
  log: z.array(z.string()).readonly().optional(),
})

/** Small facts about a step: `cut: 3`, `digest: "sha256:…"`. */
const factsSchema = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
export type Facts = z.infer<typeof factsSchema>

const eventOf = <T extends string, S extends z.ZodRawShape>(type: T, shape: S) =>
  z.object({ type: z.literal(type), ...shape })

/** What the hub alone says: it has stored the request, or it has not kept all of the log. */
const hubEventSchemas = [
  /** The hub has stored the request. `trust` says whether the agent can verify it again (signed) or must treat it as a hint. */
  eventOf('accepted', {
    stack: z.string(),
    trigger: z.string(),
    actor: z.string(),
    trust: z.enum(TRUSTS),
    image: z.string().optional(),
    tag: z.string().optional(),
    digest: z.string().optional(),
    env: z.record(z.string(), z.string()).optional(),
    reason: z.string().optional(),
    force: deployRequestSchema.shape.force,
    builtAt: z.string().optional(),
    upgradeOnly: deployRequestSchema.shape.upgradeOnly,
    services: deployRequestSchema.shape.services,
    /** It is a rollback, to this release. */
    release: rollbackRequestSchema.shape.release.optional(),
  }),
  /** In the place of events that are no longer kept: never stored, only said to whoever asks for them. */
  eventOf('gap', { from: z.number(), to: z.number() }),
] as const

const stepIndex = z.int().min(0).max(STEPS_MAX)

/** What a person finds where even the way back failed. `files`: those that a roll writes. `repair`: commands, in their order. */
const damageSchema = z.object({
  serving: z.array(z.string()),
  notServing: z.array(z.object({ service: z.string(), why: z.string() })),
  files: z.array(
    z.object({
      path: z.string(),
      state: z.enum(['as-before', 'as-wanted', 'half-way', 'changed', 'unreadable']),
    }),
  ),
  repair: z.array(z.string()),
})
export type Damage = z.infer<typeof damageSchema>

const failed = eventOf('failed', { ms: z.number(), problem: problemSchema })
const superseded = eventOf('superseded', { by: z.string() })
const expired = eventOf('expired', {})

const agentEventSchemas = [
  /** The agent has it on its disk. */
  eventOf('received', {}),
  /** The agent works on it: preflight has begun. */
  eventOf('started', {}),
  eventOf('warning', {
    problem: z.object({ code: z.string(), message: z.string(), cure: z.string().optional() }),
  }),
  /** Preflight is over; nothing was touched yet. Steps are named by their index in `plan.steps`; a second plan begins anew at 0. */
  eventOf('planned', { plan: planSchema }),
  eventOf('step-started', { step: z.number() }),
  eventOf('step-progress', { step: z.number(), facts: factsSchema }),
  eventOf('step-finished', { step: z.number(), ms: z.number(), facts: factsSchema }),
  eventOf('step-failed', { step: z.number(), ms: z.number(), problem: problemSchema }),
  /**
   * The agent is back after its end in the middle of the roll. By what it finds it begins `again`, as nothing was touched; goes `forward`,
   * as every instance runs the new version; or goes `back`.
   */
  eventOf('recovering', { way: z.enum(['again', 'forward', 'back']) }),
  /**
   * What is left of the plan, after `recovering` forward. `from` is the index of the first of these steps; without it they go on after those
   * that were named before. Those which an earlier event named from there on were never begun.
   */
  eventOf('resuming', { steps: z.array(stepSchema), from: stepIndex.optional() }),
  /** The roll goes back. `from` as above. */
  eventOf('undoing', { steps: z.array(stepSchema), from: stepIndex.optional() }),
  /**
   * `release` is the number by which the stack can be rolled back to what it runs now; after a rollback `of` is that of the release which it
   * is again. `services` says what each runs in short, `images` in full: `repository:tag@sha256:…`, or the ID of an image that no registry
   * has. Agents did not always say it.
   */
  eventOf('succeeded', {
    ms: z.number(),
    changed: z.boolean(),
    services: z.record(z.string(), z.string()),
    images: z.record(z.string(), z.string()).optional(),
    release: z.number().optional(),
    of: z.number().optional(),
  }),
  failed,
  eventOf('stuck', {
    ms: z.number(),
    problem: problemSchema,
    undo: problemSchema,
    damage: damageSchema.optional(),
  }),
  superseded,
  /** `by` cancelled it: before it began, or, with `ms`, while it ran, and everything was undone. */
  eventOf('cancelled', { ms: z.number().optional(), by: z.string().optional() }),
  expired,
] as const

/** What an agent may say of a deploy. */
export const agentEventSchema = z.discriminatedUnion('type', agentEventSchemas)
export type AgentEvent = z.infer<typeof agentEventSchema>

/** Why an agent does not take a deploy in: what was signed is not in order, is too old, or is older than what it has from the same sender. */
export const declinedEventSchema = z.discriminatedUnion('type', [failed, superseded, expired])
export type DeclinedEvent = z.infer<typeof declinedEventSchema>

export const deployEventSchema = z.discriminatedUnion('type', [...hubEventSchemas, ...agentEventSchemas])
export type DeployEvent = z.infer<typeof deployEventSchema>

const loggedAs = <S extends z.ZodType>(event: S) =>
  z.object({ seq: z.number().int().positive(), at: z.number(), event })

/** An event with its place in the deploy's log. `at` is milliseconds since 1970 by the clock of whoever emitted it. */
export const loggedEventSchema = loggedAs(deployEventSchema)
export type LoggedEvent = z.infer<typeof loggedEventSchema>

/** The same from an agent. */
export const agentLoggedEventSchema = loggedAs(agentEventSchema)
export type AgentLoggedEvent = z.infer<typeof agentLoggedEventSchema>
