// The record of a roll, for after a crash: enough to finish the roll, or to take every file and container back. The agent's journal keeps it, and
// does not read it.

import { z } from 'zod'
import { problemSchema } from '../../shared/events.ts'
import { stepSchema, type Step } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import type { StackConfig } from '../config/config.ts'
import type { Ports } from './ports.ts'
import { goneBefore, type RollState } from './context.ts'
import { wishOf } from './wanted.ts'
import type { Gates } from './gates/gates.ts'
import type { Observed } from './observe.ts'
import { strategyOf } from './strategies/index.ts'
import { rollFactsSchema } from './strategies/strategy.ts'

const textsSchema = z.record(z.string(), z.string())

// Only what the way back needs of a container. The rest is looked up anew.
const containerSchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  service: z.string(),
  imageId: z.string(),
  image: z.string(),
  env: textsSchema,
})

const observedSchema = z
  .looseObject({
    runtime: z.looseObject({
      project: z.string(),
      services: z.record(z.string(), z.looseObject({ env: z.record(z.string(), z.string().nullable()) })),
    }),
    containers: z.array(containerSchema),
    proxy: z.looseObject({
      backend: z.string(),
      networks: z.array(z.string()),
      servers: z.object({ all: z.number(), live: z.number(), others: z.number() }),
    }),
    members: z.array(
      z.looseObject({
        name: z.string(),
        service: z.string(),
        ports: z.array(z.number()),
        containers: z.array(containerSchema),
        isLive: z.boolean(),
      }),
    ),
  })
  // Fields that are left out here are trusted as they were written: the journal is this host's own. Each driver checks what it keeps for itself.
  .transform((observed) => observed as unknown as Observed)

const gatesSchema = z
  .looseObject({
    probe: z.looseObject({ kind: z.enum(['http', 'tcp', 'none']) }),
    before: z.record(z.string(), z.looseObject({ state: z.enum(['well', 'sick', 'gone']) })),
    doors: z.array(z.looseObject({ address: z.string(), port: z.number() })),
  })
  .transform((gates) => gates as unknown as Gates)

const wantedSchema = z.record(
  z.string(),
  z
    .object({
      image: z.string().optional(),
      imageId: z.string().optional(),
      env: z.record(z.string(), z.string().nullable()),
    })
    .transform(({ image, imageId, env }) => ({
      env,
      ...(image === undefined ? {} : { image }),
      ...(imageId === undefined ? {} : { imageId }),
    })),
)

const imageSchema = z.object({
  id: z.string(),
  digests: z.array(z.string()).readonly(),
  tags: z.array(z.string()).readonly(),
  text: z.string(),
})

/** What a roll is about, and what it saw before its first step: kept once, since it does not change until the roll is over. */
const constantSchema = z.object({
  wanted: wantedSchema,
  observed: observedSchema,
  gates: gatesSchema,
  facts: rollFactsSchema,
  order: z.array(z.string()),
  /** The whole plan. */
  steps: z.array(stepSchema),
  reason: z.string().optional(),
  /** The release that a rollback goes back to. */
  rollbackTarget: z.number().optional(),
  builtAt: z.number().optional(),
})

/** How far the roll has come: kept before each step. */
const pointSchema = z.object({
  images: z.record(z.string(), imageSchema),
  /** How many steps of the plan were begun. */
  begun: z.number().int().min(0),
  /** Whether the last of them came to its end. */
  isLastDone: z.boolean(),
  /** How many steps the deploy's events have named so far: the next one's index. */
  nextStep: z.number().int().min(0),
  /** On the way back: the services that are still to be taken back, and why it was begun. */
  undoing: z.object({ services: z.array(z.string()), problem: problemSchema }).optional(),
})

const noteSchema = z.object({
  /** How often the roll has begun again after an interruption. */
  attempt: z.number().int().min(0),
  /** Absent until there is a plan: then nothing was touched. */
  progress: z.unknown().optional(),
})

type Constant = z.infer<typeof constantSchema>
export type Point = z.infer<typeof pointSchema>
export type Progress = Constant & Point
export interface RollRecord {
  readonly attempt: number
  /** What an attempt was about, also where nothing of it was begun since. */
  readonly about?: Constant | undefined
  readonly progress?: Progress | undefined
}

/** The facts of a record: a line of text. */
export function writeFacts(progress: Constant): string {
  const { wanted, observed, gates, facts, order, steps, reason, rollbackTarget, builtAt } = progress
  return JSON.stringify({ wanted, observed, gates, facts, order, steps, reason, rollbackTarget, builtAt })
}

/** The note of a record: a line of text. */
export function writeNote({ attempt, progress }: { attempt: number; progress?: Point | undefined }): string {
  if (!progress) return JSON.stringify({ attempt })
  const { images, begun, isLastDone, nextStep, undoing } = progress
  return JSON.stringify({ attempt, progress: { images, begun, isLastDone, nextStep, undoing } })
}

/** A whole record as text. */
export function writeRecord({ attempt, progress }: RollRecord): string {
  const note = writeNote({ attempt, progress })
  return progress ? joinRecord(writeFacts(progress), note) : note
}

/** The text of a record from its two parts; the first is missing until there is a plan. */
export function joinRecord(facts: string | undefined, note: string): string {
  return facts === undefined ? note : `${facts}\n${note}`
}

/** Reads a record. Throws `journal-unusable` for one that is damaged, or that another version of the agent wrote. */
export function readRecord(text: string): RollRecord {
  try {
    const lines = text.split('\n')
    const { attempt, progress } = noteSchema.parse(JSON.parse(lines.at(-1) ?? ''))
    const about = lines.length > 1 ? constantSchema.parse(JSON.parse(lines[0] ?? '')) : undefined
    if (progress === undefined) return { attempt, about }
    if (about === undefined) throw new Error('a note of progress without the facts')
    return { attempt, about, progress: { ...about, ...pointSchema.parse(progress) } }
  } catch (cause) {
    throw new Problem(
      'journal-unusable',
      'the note of how far the roll had come is damaged, or another version of the agent’s',
      {
        cause,
        cure: 'compare what runs with the compose file and the nginx configuration',
      },
    )
  }
}

/** Whose files are not as any step of the roll wrote them. */
export interface Changed {
  readonly proxy: Problem | undefined
  readonly runtime: Problem | undefined
}

/**
 * The state of a recorded roll in the world as it is now. `changed` says which file is not as any step of the roll wrote it. Somebody else wrote that
 * file, so it does not tell who is out or updated.
 */
export async function resumeRoll(
  deployId: string,
  stack: StackConfig,
  progress: Progress,
  ports: Ports,
  signal: AbortSignal,
): Promise<{ state: RollState; changed: Changed | undefined }> {
  const { observed, gates, wanted, facts, order } = progress
  const images = new Map(Object.entries(progress.images))
  const proxy = ports.proxies.open(observed.proxy)
  const runtime = ports.runtimes.open(stack, observed.runtime, wishOf(order, wanted, images))
  proxy.look(await ports.engine.containers(observed.runtime.project, signal))
  const byRuntime = await runtime.resume()
  const byProxy = await proxy.resume(strategyOf(facts).routes(facts), goneBefore(gates))
  return {
    state: {
      deployId,
      stack,
      wanted,
      facts,
      ports,
      observed,
      gates,
      proxy,
      runtime,
      order,
      known: undefined,
      images,
    },
    changed: byProxy || byRuntime ? { proxy: byProxy, runtime: byRuntime } : undefined,
  }
}

/** The steps that were begun. */
export function begunSteps({ steps, begun }: Pick<Progress, 'steps' | 'begun'>): Step[] {
  return steps.slice(0, begun)
}

/** The services that may be at the new version, by the note alone: the world does not show an update that was begun and is half done. */
export function servicesToUndo(progress: Progress): string[] {
  const { undoing } = progress
  return undoing
    ? undoing.services
    : begunSteps(progress).flatMap((step) => (step.kind === 'update' ? [step.service] : []))
}
