// A deploy as data: the ordered steps of a roll, the sentence for each, and what reverses each. No behaviour: that is agent/roll/steps.

import { z } from 'zod'
import { unknownWord, wordSchema, wordsOf } from './open.ts'

/** What one service runs: the compose file's image text, and the env variables that the request sets. */
const versionSchema = z.object({
  image: z.string().optional(),
  env: z.record(z.string(), z.string().nullable()),
})
export type Version = z.infer<typeof versionSchema>

const stepOf = <K extends string, S extends z.ZodRawShape>(kind: K, shape: S) =>
  z.object({ kind: z.literal(kind), ...shape })

const stepsOf = <W extends z.ZodType<string>>(when: W) =>
  z.discriminatedUnion('kind', [
    /** Fetch the wanted image before any traffic moves. Writes nothing but the engine's image store. */
    stepOf('pull', { image: z.string() }),
    /** One edit of the nginx configuration and one confirmed reload: a service's servers out, another's back, or neither. */
    stepOf('switch', { out: z.string().optional(), back: z.string().optional() }),
    /** Wait until no connection from nginx to the service is left, at most the drain timeout. */
    stepOf('drain', { service: z.string() }),
    /** Run a command of the stack in a one-off container of a service: `before` on the new image and before anything is touched, `after` at the end. */
    stepOf('command', { when, service: z.string(), command: z.array(z.string()) }),
    /** Edit the compose file for one service and let compose recreate its container; `undo` writes the file as it was before. */
    stepOf('update', {
      service: z.string(),
      from: versionSchema,
      to: versionSchema,
      undo: z.boolean(),
      force: z.boolean().optional(),
    }),
    /** Wait until the service's container is healthy by Docker's check and by the probe. */
    stepOf('await-healthy', { service: z.string() }),
    /** Watch the service in traffic for the soak time before going on. */
    stepOf('soak', { service: z.string(), ms: z.number() }),
    /** Every server is back: see it through nginx, with both files as they should be. */
    stepOf('verify', {}),
  ])

export const stepSchema = stepsOf(z.enum(['before', 'after']))
export type Step = z.infer<typeof stepSchema>
export type StepKind = Step['kind']

/**
 * A step as others are told of it, who may not know its kind: they keep it as it came, and show its `text`. A kind that is added above has that
 * text among its fields.
 */
export const toldStepSchema = z.union([
  stepsOf(wordSchema),
  z.looseObject({ kind: unknownWord(wordsOf(stepSchema, 'kind')), text: z.string().optional() }),
])
export type ToldStep = z.infer<typeof toldStepSchema>

/** A plan of steps of our own, or of those that others are told of. */
export const planOf = <S extends z.ZodType<ToldStep>>(step: S) =>
  z.object({
    stack: z.string(),
    upstream: z.string(),
    /** The services that are rolled, in that order: last to first, as they stand in the upstream. */
    instances: z.array(z.string()),
    steps: z.array(step),
  })
export type Plan = z.infer<ReturnType<typeof planOf<typeof stepSchema>>>

/** What is to be rolled: one entry a service, in the order of the upstream. */
export interface Target {
  readonly service: string
  readonly from: Version
  readonly to: Version
  /** False for a service whose servers the user has marked `down`: it is updated, and stays out. */
  readonly isLive: boolean
}

interface Command {
  readonly service: string
  readonly command: string[]
}

export interface PlanOptions {
  /** What is to be fetched: one image, or, going back to a release, each that it had. */
  readonly images?: readonly string[]
  readonly soakMs: number
  /** Recreate what runs already, too. */
  readonly force?: boolean
  readonly before?: Command | undefined
  readonly after?: Command | undefined
}

/**
 * The rolling order. Last to first; putting one back and taking the next out is one reload, so N instances cost N+1 reloads,
 * unless a soak time asks to watch each in traffic before the next is touched.
 */
export function planSteps(targets: readonly Target[], options: PlanOptions): Step[] {
  const { before, after, force = false } = options
  const steps: Step[] = (options.images ?? []).map((image) => ({ kind: 'pull', image }))
  if (before) steps.push({ kind: 'command', when: 'before', ...before })
  let back: string | undefined
  for (const { service, from, to, isLive } of targets.toReversed()) {
    if (isLive) {
      steps.push(
        { kind: 'switch', out: service, ...(back === undefined ? {} : { back }) },
        { kind: 'drain', service },
      )
      back = undefined
    }
    steps.push(
      { kind: 'update', service, from, to, undo: false, ...(force ? { force } : {}) },
      { kind: 'await-healthy', service },
    )
    if (!isLive) continue
    if (options.soakMs > 0)
      steps.push({ kind: 'switch', back: service }, { kind: 'soak', service, ms: options.soakMs })
    else back = service
  }
  if (back !== undefined) steps.push({ kind: 'switch', back })
  steps.push({ kind: 'verify' })
  if (after) steps.push({ kind: 'command', when: 'after', ...after })
  return steps
}

/** Where a roll stands, as the way back finds it. */
export interface Standing {
  /** The services that are, or may be, at the new version. */
  readonly taken: ReadonlySet<string>
  /** Whose servers are out. */
  readonly out: ReadonlySet<string>
  /** Whether nginx is known to run by its file as it is. */
  readonly isLoaded: boolean
}

/**
 * The way back of a roll, from where it stands: the way there, reversed, so that it loses no request either. What was rolled last goes back
 * first. Each step may be repeated, so it does not matter how far the last one had come.
 */
export function planBack(steps: readonly Step[], { taken, out, isLoaded }: Standing): Step[] {
  const isLive = (service: string) => steps.some((step) => step.kind === 'switch' && step.out === service)
  const back: Step[] = []
  let [waiting] = out
  for (const step of steps.toReversed()) {
    if (step.kind !== 'update' || !taken.has(step.service)) continue
    const { service, from, to } = step
    // One that is out already by what nginx runs needs no second taking out.
    const isOut = waiting === service && isLoaded
    if (isLive(service) && !isOut) {
      const other = waiting === service ? undefined : waiting
      back.push(
        { kind: 'switch', out: service, ...(other === undefined ? {} : { back: other }) },
        { kind: 'drain', service },
      )
      waiting = service
    }
    back.push({ kind: 'update', service, from: to, to: from, undo: true }, { kind: 'await-healthy', service })
  }
  if (waiting !== undefined) back.push({ kind: 'switch', back: waiting })
  else if (!isLoaded) back.push({ kind: 'switch' })
  return back.length === 0 ? [] : [...back, { kind: 'verify' }]
}

/** The sentence for a step, the same in a dry run, a log and a viewer. */
export function describeStep(step: ToldStep): string {
  switch (step.kind) {
    case 'pull':
      return `pull ${step.image}`
    case 'switch':
      return (
        [step.back && `put ${step.back} back`, step.out && `take ${step.out} out`]
          .filter(Boolean)
          .join(', ') || 'reload nginx'
      )
    case 'command':
      return `run \`${step.command.join(' ')}\` in ${step.service}, ${step.when} the roll`
    case 'drain':
      return `drain ${step.service}`
    case 'update':
      return `update ${step.service} to ${describeVersion(step.to)}`
    case 'await-healthy':
      return `wait until ${step.service} is healthy`
    case 'soak':
      return `watch ${step.service} for ${step.ms / 1000} s`
    case 'verify':
      return 'verify through nginx'
    default:
      return step.text ?? step.kind
  }
}

export function describeVersion(version: Version): string {
  const env = Object.entries(version.env).map(([key, value]) =>
    value === null ? `no ${key}` : `${key}=${value}`,
  )
  return [version.image && shortImage(version.image), ...env].filter(Boolean).join(' ') || 'what it ran'
}

/** `repo:tag@sha256:0123456789ab…`: a digest's first 12 digits are enough for a person. */
export function shortImage(image: string): string {
  return image.replace(/(sha256:[a-f0-9]{12})[a-f0-9]{52}/, '$1…')
}
