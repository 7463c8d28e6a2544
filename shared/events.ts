// The append-only facts of one deploy. The core emits these; words, colours and log lines are made at the edge (words.ts).

import { z } from 'zod'
import { TRUSTS } from './deploy.ts'
import { planSchema, stepSchema } from './plan.ts'
import { PROBLEMS, type ProblemCode } from './problems.ts'

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
    env: z.record(z.string(), z.string()).optional(),
    reason: z.string().optional(),
  }),
  /** In the place of events that are no longer kept: never stored, only said to whoever asks for them. */
  eventOf('gap', { from: z.number(), to: z.number() }),
] as const

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
  /** Preflight is over; nothing was touched yet. Steps are named by their index in `plan.steps`. */
  eventOf('planned', { plan: planSchema }),
  eventOf('step-started', { step: z.number() }),
  eventOf('step-progress', { step: z.number(), facts: factsSchema }),
  eventOf('step-finished', { step: z.number(), ms: z.number(), facts: factsSchema }),
  eventOf('step-failed', { step: z.number(), ms: z.number(), problem: problemSchema }),
  /** The roll goes back. The indices of these steps go on after those of the plan. */
  eventOf('undoing', { steps: z.array(stepSchema) }),
  eventOf('succeeded', { ms: z.number(), changed: z.boolean(), services: z.record(z.string(), z.string()) }),
  failed,
  eventOf('stuck', { ms: z.number(), problem: problemSchema, undo: problemSchema }),
  superseded,
  eventOf('cancelled', {}),
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
