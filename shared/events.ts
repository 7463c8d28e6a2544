// The append-only facts of one deploy. The core emits these; words, colours and log lines are made at the edge (words.ts).

import { z } from 'zod'
import { TRUSTS, deployRequestSchema, rollbackRequestSchema } from './request.ts'
import { STEPS_MAX } from './limits.ts'
import { openEnum, unknownWord, wordSchema, wordsOf } from './open.ts'
import { planOf, stepSchema, toldStepSchema, type ToldStep } from './plan.ts'
import { PROBLEMS, type ProblemCode } from './problems.ts'

const problemCodes = Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]

const problemOf = <C extends z.ZodType<string>>(code: C) =>
  z.object({
    code,
    message: z.string(),
    cure: z.string().optional(),
    log: z.array(z.string()).readonly().optional(),
  })
export const problemSchema = problemOf(z.enum(problemCodes))
/** As others are told of it: its message says what is wrong, whatever the code. */
const toldProblemSchema = problemOf(wordSchema)

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
    trust: openEnum(TRUSTS),
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
      state: openEnum(['as-before', 'as-wanted', 'half-way', 'changed', 'unreadable']),
    }),
  ),
  repair: z.array(z.string()),
})
export type Damage = z.infer<typeof damageSchema>

const failedOf = <P extends z.ZodType>(problem: P) => eventOf('failed', { ms: z.number(), problem })
const superseded = eventOf('superseded', { by: z.string() })
const expired = eventOf('expired', {})

const agentEventsOf = <S extends z.ZodType<ToldStep>, P extends z.ZodType>(step: S, problem: P) =>
  [
    /** The agent has it on its disk. */
    eventOf('received', {}),
    /** The agent works on it: preflight has begun. */
    eventOf('started', {}),
    eventOf('warning', {
      problem: z.object({ code: z.string(), message: z.string(), cure: z.string().optional() }),
    }),
    /** Preflight is over; nothing was touched yet. Steps are named by their index in `plan.steps`; a second plan begins anew at 0. */
    eventOf('planned', { plan: planOf(step) }),
    eventOf('step-started', { step: z.number() }),
    eventOf('step-progress', { step: z.number(), facts: factsSchema }),
    eventOf('step-finished', { step: z.number(), ms: z.number(), facts: factsSchema }),
    eventOf('step-failed', { step: z.number(), ms: z.number(), problem }),
    /**
     * The agent is back after its end in the middle of the roll. By what it finds it begins `again`, as nothing was touched; goes `forward`,
     * as every instance runs the new version; or goes `back`.
     */
    eventOf('recovering', { way: openEnum(['again', 'forward', 'back']) }),
    /**
     * What is left of the plan, after `recovering` forward. `from` is the index of the first of these steps; without it they go on after those
     * that were named before. Those which an earlier event named from there on were never begun.
     */
    eventOf('resuming', { steps: z.array(step), from: stepIndex.optional() }),
    /** The roll goes back. `from` as above. */
    eventOf('undoing', { steps: z.array(step), from: stepIndex.optional() }),
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
    failedOf(problem),
    eventOf('stuck', {
      ms: z.number(),
      problem,
      undo: problem,
      damage: damageSchema.optional(),
    }),
    superseded,
    /** `by` cancelled it: before it began, or, with `ms`, while it ran, and everything was undone. */
    eventOf('cancelled', { ms: z.number().optional(), by: z.string().optional() }),
    expired,
  ] as const

/** What this version's agent may say of a deploy. */
export const agentEventSchema = z.discriminatedUnion('type', agentEventsOf(stepSchema, problemSchema))
export type AgentEvent = z.infer<typeof agentEventSchema>

/** Why an agent does not take a deploy in: what was signed is not in order, is too old, or is older than what it has from the same sender. */
const declinedOf = <P extends z.ZodType>(problem: P) => [failedOf(problem), superseded, expired] as const
export const declinedEventSchema = z.discriminatedUnion('type', declinedOf(problemSchema))
export type DeclinedEvent = z.infer<typeof declinedEventSchema>

export const deployEventSchema = z.discriminatedUnion('type', [
  ...hubEventSchemas,
  ...agentEventSchema.options,
])
export type DeployEvent = z.infer<typeof deployEventSchema>

/**
 * An event of a newer neighbour: kept as it came, shown by its `text`, and without a say in how the deploy goes. A type that is added above has
 * that text among its fields.
 */
const unknownEventSchema = z.looseObject({
  type: unknownWord(wordsOf(deployEventSchema, 'type')),
  text: z.string().optional(),
})

const toldByAgents = agentEventsOf(toldStepSchema, toldProblemSchema)

/** An event as others are told of it, who may know less than whoever tells it. */
export const toldEventSchema = z.union([
  z.discriminatedUnion('type', [...hubEventSchemas, ...toldByAgents]),
  unknownEventSchema,
])
export type ToldEvent = z.infer<typeof toldEventSchema>

/** What an agent declines with, or says instead that we do not know. */
export const toldDeclinedSchema = z.union([
  z.discriminatedUnion('type', declinedOf(toldProblemSchema)),
  unknownEventSchema,
])
export type ToldDeclined = z.infer<typeof toldDeclinedSchema>

const loggedAs = <S extends z.ZodType>(event: S) =>
  z.object({ seq: z.number().int().positive(), at: z.number(), event })

/** An event with its place in the deploy's log. `at` is milliseconds since 1970 by the clock of whoever emitted it. */
export const loggedEventSchema = loggedAs(toldEventSchema)
export type LoggedEvent = z.infer<typeof loggedEventSchema>

/** The same from an agent. */
export const agentLoggedEventSchema = loggedAs(
  z.union([z.discriminatedUnion('type', toldByAgents), unknownEventSchema]),
)
export type AgentLoggedEvent = z.infer<typeof agentLoggedEventSchema>
