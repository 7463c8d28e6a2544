// A strategy: the steps from where a stack stands to where it shall be, as one pure function. The same function plans a roll from its start,
// from half way after a crash, and back.

import { z } from 'zod'
import { versionSchema, type Route, type Step } from '../../../shared/plan.ts'
import type { ProxySeen } from '../proxy.ts'

const targetSchema = z.object({
  service: z.string(),
  /** The names of its members. */
  members: z.array(z.string()),
  /** What it ran before the roll, and what it is to run. */
  from: versionSchema,
  to: versionSchema,
  /** False for a service that the user has taken out: it is updated, and stays out. */
  isLive: z.boolean(),
})
/** One service that is rolled. */
export type Target = z.infer<typeof targetSchema>

const commandSchema = z.object({ service: z.string(), command: z.array(z.string()) })

/** What a roll is about. It is known before anything is touched, and does not change until the roll is over. Plain JSON. */
export const rollFactsSchema = z.object({
  /** A name of strategies/index.ts. */
  strategy: z.string(),
  /** All that get requests, by name, in the proxy's order. */
  members: z.array(z.string()),
  /** In the order in which they are rolled. */
  targets: z.array(targetSchema),
  /** The images to pull: one for a deploy, all that a release had for a rollback. */
  images: z.array(z.string()),
  soakMs: z.number(),
  /** Whether a service is recreated even where it runs the wanted version already. */
  force: z.boolean(),
  before: commandSchema.optional(),
  after: commandSchema.optional(),
})
export type RollFacts = z.infer<typeof rollFactsSchema>

/** Where a roll stands. */
export interface Standing {
  /** The services that are, or may be, at the wanted version. */
  readonly updated: ReadonlySet<string>
  /** The members that are out. */
  readonly out: ReadonlySet<string>
  /** Whether the proxy is known to have loaded its text as it stands. */
  readonly isLoaded: boolean
  /** The services of which no container is up. */
  readonly dead: readonly string[]
}

/** Where every roll begins. */
export const UNTOUCHED: Standing = { updated: new Set(), out: new Set(), isLoaded: true, dead: [] }

/** The version that is asked for, or the one that ran before. */
export type Goal = 'wanted' | 'former'

export interface Strategy {
  /** Throws `upstream-too-small` where the strategy cannot roll the members that this proxy has. Asked before anything is touched. */
  check(proxy: ProxySeen): void
  /** The steps from any standing to a goal, none where it is reached. Steps may be repeated, so how far one came does not matter. */
  plan(facts: RollFacts, standing: Standing, goal: Goal): Step[]
  /** Every route that a roll passes through. After a crash, the proxy's text is compared with them. */
  routes(facts: RollFacts): Route[]
}
