// The append-only facts of one deploy. The core emits these; words, colours and log lines are made at the edge (words.ts).

import { z } from 'zod'
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

export const deployEventSchema = z.discriminatedUnion('type', [
  /** The hub has stored the request. `trust` says whether the agent can verify it again (signed) or must treat it as a hint. */
  eventOf('accepted', {
    stack: z.string(),
    trigger: z.string(),
    actor: z.string(),
    trust: z.enum(['signed', 'hint']),
    image: z.string().optional(),
    env: z.record(z.string(), z.string()).optional(),
    reason: z.string().optional(),
  }),
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
  eventOf('failed', { ms: z.number(), problem: problemSchema }),
  eventOf('stuck', { ms: z.number(), problem: problemSchema, undo: problemSchema }),
  eventOf('superseded', { by: z.string() }),
  eventOf('cancelled', {}),
  eventOf('expired', {}),
])
export type DeployEvent = z.infer<typeof deployEventSchema>

/** An event with its place in the deploy's log. `at` is milliseconds since 1970 by the clock of whoever emitted it. */
export const loggedEventSchema = z.object({
  seq: z.number().int().positive(),
  at: z.number(),
  event: deployEventSchema,
})
export type LoggedEvent = z.infer<typeof loggedEventSchema>
