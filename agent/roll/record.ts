// What a crash must not take with it: enough to finish the roll, or to take every file and container back. The agent's journal keeps it,
// opaque to it.

import { z } from 'zod'
import { problemSchema } from '../../shared/events.ts'
import { stepSchema, type Step } from '../../shared/plan.ts'
import { Problem } from '../../shared/problems.ts'
import type { StackConfig } from '../config/config.ts'
import type { Container, Encoding, Ports } from '../ports.ts'
import { composeTexts, missingIn, nginxTextWith, type RollState } from './context.ts'
import type { Gates } from './gates.ts'
import type { Observed } from './observe.ts'
import { rollFactsSchema, type RollFacts } from './strategies/strategy.ts'
import { isTorn } from './torn.ts'

const textsSchema = z.record(z.string(), z.string())

// Of a container only what the way back asks: the rest is looked up anew.
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
    model: z.looseObject({
      project: z.string(),
      services: z.record(z.string(), z.looseObject({ env: z.record(z.string(), z.string().nullable()) })),
    }),
    composeTexts: textsSchema,
    proxy: z.looseObject({
      container: containerSchema,
      upstream: z.looseObject({ name: z.string(), servers: z.array(z.looseObject({ address: z.string() })) }),
      settings: z.looseObject({}),
      file: z.object({
        hostPath: z.string(),
        path: z.string(),
        text: z.string(),
        how: z.enum(['in-place', 'rename']),
      }),
    }),
    instances: z.array(
      z.looseObject({
        service: z.string(),
        servers: z.array(z.looseObject({ address: z.string(), port: z.number() })),
        containers: z.array(containerSchema),
        isLive: z.boolean(),
      }),
    ),
  })
  // What is left out here is as it was written: the journal is this host's own.
  .transform((observed) => observed as unknown as Observed)

const gatesSchema = z
  .looseObject({
    probe: z.looseObject({ kind: z.enum(['http', 'tcp', 'none']) }),
    before: z.record(z.string(), z.looseObject({ state: z.enum(['well', 'sick', 'gone']) })),
    doors: z.array(z.looseObject({ address: z.string(), port: z.number() })),
  })
  .transform((gates) => gates as unknown as Gates)

/** For a note that was written before gates were rehearsed: nothing is known of what ran, so a connection is enough. */
const UNKNOWN_GATES: Gates = {
  probe: { kind: 'tcp' },
  from: 'agent',
  families: [4, 6],
  isDockerAsked: true,
  before: {},
  doors: [],
  notes: [],
}

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
  gates: gatesSchema.default(UNKNOWN_GATES),
  facts: rollFactsSchema,
  order: z.array(z.string()),
  /** The whole plan. */
  steps: z.array(stepSchema),
  reason: z.string().optional(),
  /** The release that a rollback goes back to. */
  goesBackTo: z.number().optional(),
  builtAt: z.number().optional(),
})

/** How far it has come: kept before each step. */
const pointSchema = z.object({
  images: z.record(z.string(), imageSchema),
  /** How many steps of the plan were begun. */
  begun: z.number().int().min(0),
  /** Whether the last of them came to its end. */
  isLastDone: z.boolean(),
  /** How many steps the deploy's events have named so far: the next one's index. */
  told: z.number().int().min(0),
  /** On the way back: the services that are still to be taken back, and why it was begun. */
  goesBack: z.object({ taken: z.array(z.string()), problem: problemSchema }).optional(),
})

const progressSchema = constantSchema.extend(pointSchema.shape)

/** For a record that was written before strategies were named: what its steps say of them. */
const factsOfSteps = z.object({ steps: z.array(stepSchema) }).transform(({ steps }): RollFacts => {
  const targets = steps.flatMap((step) => {
    if (step.kind !== 'update') return []
    const { service, from, to } = step
    const isLive = steps.some((other) => other.kind === 'switch' && other.out === service)
    return [{ service, from, to, isLive }]
  })
  return {
    strategy: 'in-place',
    targets,
    images: steps.flatMap((step) => (step.kind === 'pull' ? [step.image] : [])),
    soakMs: steps.find((step) => step.kind === 'soak')?.ms ?? 0,
    force: steps.some((step) => step.kind === 'update' && step.force === true),
  }
})

const noteSchema = z.object({
  /** How often the roll has begun again after an interruption. */
  attempt: z.number().int().min(0),
  /** Absent until there is a plan: then nothing was touched. */
  progress: z.unknown().optional(),
})

type Constant = z.infer<typeof constantSchema>
type Point = z.infer<typeof pointSchema>
export type Progress = z.infer<typeof progressSchema>
export interface RollRecord {
  readonly attempt: number
  readonly progress?: Progress | undefined
}

/** What of a record does not change, as text of one line. */
export function writeFacts(progress: Constant): string {
  const { wanted, observed, gates, facts, order, steps, reason, goesBackTo, builtAt } = progress
  return JSON.stringify({ wanted, observed, gates, facts, order, steps, reason, goesBackTo, builtAt })
}

/** What of it does, as text of one line. */
export function writeNote({ attempt, progress }: { attempt: number; progress?: Point | undefined }): string {
  if (!progress) return JSON.stringify({ attempt })
  const { images, begun, isLastDone, told, goesBack } = progress
  return JSON.stringify({ attempt, progress: { images, begun, isLastDone, told, goesBack } })
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

/** A record from its text. Throws `journal-unusable` for one that is damaged: then nobody knows what was done. */
export function readRecord(text: string): RollRecord {
  try {
    const lines = text.split('\n')
    const { attempt, progress } = noteSchema.parse(JSON.parse(lines.at(-1) ?? ''))
    if (progress === undefined) return { attempt }
    const constant: unknown = lines.length > 1 ? JSON.parse(lines[0] ?? '') : {}
    const whole: Readonly<Record<string, unknown>> = Object.assign({}, constant, progress)
    const facts = whole['facts'] ?? factsOfSteps.parse(whole)
    return { attempt, progress: progressSchema.parse({ ...whole, facts }) }
  } catch (cause) {
    throw new Problem('journal-unusable', 'the note of how far the roll had come is damaged', {
      cause,
      cure: 'compare what runs with the compose file and the nginx configuration',
    })
  }
}

/** How far a roll has come. */
export function progressOf(
  state: RollState,
  rest: Omit<Progress, 'wanted' | 'observed' | 'gates' | 'facts' | 'order' | 'images'>,
): Progress {
  const { wanted, observed, gates, facts, order, images } = state
  return {
    ...rest,
    wanted: { ...wanted },
    observed,
    gates,
    facts,
    order: [...order],
    images: Object.fromEntries(images),
  }
}

/**
 * The state of a recorded roll in the world as it is now. `changed` says which file is not as any step of the roll wrote it: then somebody
 * else did, and by that file nobody knows who is out or updated.
 */
export async function resumeRoll(
  deployId: string,
  stack: StackConfig,
  progress: Progress,
  ports: Ports,
  signal: AbortSignal,
): Promise<{ state: RollState; changed: Problem | undefined }> {
  const { observed, gates, wanted, facts, order, images } = progress
  const containers = await ports.engine.containers(observed.model.project, signal)
  // One that cannot be read is as good as one that somebody else has written.
  const read = async (path: string, encoding: Encoding) =>
    await ports.files.read(path, encoding).catch(() => '')
  const texts: Record<string, string> = {}
  for (const path of stack.compose) texts[path] = await read(path, 'utf-8')
  const state: RollState = {
    deployId,
    stack,
    wanted,
    facts,
    ports,
    observed,
    gates,
    proxy: proxyAmong(containers, observed),
    order,
    updated: new Set(),
    out: new Set(),
    known: undefined,
    nginxText: await read(observed.proxy.file.hostPath, 'bytes'),
    composeTexts: texts,
    images: new Map(Object.entries(images)),
    retiring: [],
    isLoaded: false,
  }
  const [out, updated] = [outNow(state), updatedNow(state)]
  if (out === 'torn') state.tornText = state.nginxText
  else if (!(out instanceof Problem)) for (const service of out) state.out.add(service)
  if (!(updated instanceof Problem)) for (const service of updated) state.updated.add(service)
  return { state, changed: [out, updated].find((found) => found instanceof Problem) }
}

function proxyAmong(containers: readonly Container[], { proxy }: Observed): Container {
  const ofService = containers.filter(({ service }) => service === proxy.container.service)
  return ofService.find(({ state }) => state === 'running') ?? ofService[0] ?? proxy.container
}

// The file is one of those that this roll writes, or one of them half written, or somebody else's.
function outNow(state: RollState): readonly string[] | 'torn' | Problem {
  const { file } = state.observed.proxy
  const missing = subsets([...missingIn({ gates: state.gates, updated: new Set() })])
  const sets = [[], ...state.order.flatMap((service) => missing.map(() => [service]))]
  const texts = [
    file.text,
    ...state.order.flatMap((service) =>
      missing.map((names) => nginxTextWith(state, new Set([service]), new Set(names))),
    ),
  ]
  const found = sets[texts.indexOf(state.nginxText)]
  if (found) return found
  // nginx never loaded it: whoever is out by what it did load, the way back takes out and puts back by name.
  if (file.how === 'in-place' && texts.some((to) => texts.some((from) => isTorn(state.nginxText, from, to))))
    return 'torn'
  return new Problem('nginx-changed', `${file.hostPath} is not as any step of the roll wrote it`, {
    cure: 'put every server back by hand and reload nginx',
  })
}

// Each file by itself: with several, the crash may have come between two writes of one update.
function updatedNow(state: RollState): readonly string[] | Problem {
  const candidates = subsets(state.order).map((set) => ({ set, texts: composeTexts(state, new Set(set)) }))
  const sets: string[][] = []
  for (const [path, text] of Object.entries(state.composeTexts)) {
    const found = candidates.find(({ texts }) => texts[path] === text)
    if (!found)
      return new Problem('compose-changed', `${path} is not as any step of the roll wrote it`, {
        cure: 'see what changed there',
      })
    sets.push(found.set)
  }
  return sets.flat()
}

/** Beyond this many instances only the sets that a roll passes through by itself are looked for. */
const SUBSETS_INSTANCES_MAX = 8

// The way there passes through prefixes of the order; the way back, where a service had died, through others.
function subsets(order: readonly string[]): string[][] {
  if (order.length > SUBSETS_INSTANCES_MAX) return [...order, ''].map((_, count) => order.slice(0, count))
  return order.reduce<string[][]>((sets, service) => [...sets, ...sets.map((set) => [...set, service])], [[]])
}

/** The steps that were begun. */
export function begunOf({ steps, begun }: Pick<Progress, 'steps' | 'begun'>): Step[] {
  return steps.slice(0, begun)
}

/** The services that may be at the new version, by the note alone. */
export function takenBy(progress: Progress): string[] {
  const { goesBack } = progress
  return goesBack
    ? goesBack.taken
    : begunOf(progress).flatMap((step) => (step.kind === 'update' ? [step.service] : []))
}
