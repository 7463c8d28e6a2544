// A deploy as data: the ordered steps of a roll, and the sentence for each. What they do is in agent/roll/steps, which of them in which order in
// agent/roll/strategies.

import { z } from 'zod'
import { unknownWord, wordSchema, wordsOf } from './open.ts'

/** What one service runs: the compose file's image text, and the env variables that the request sets. */
export const versionSchema = z.object({
  image: z.string().optional(),
  env: z.record(z.string(), z.string().nullable()),
})
export type Version = z.infer<typeof versionSchema>

/**
 * Who gets new requests, whole and never a difference, so that it can be repeated, compared, and gone back to: as the user has written it, or
 * these members, while others are out.
 */
export const routeSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('as-written') }),
  z.object({ kind: z.literal('members'), serving: z.array(z.string()), out: z.array(z.string()) }),
])
export type Route = z.infer<typeof routeSchema>
export const AS_WRITTEN: Route = { kind: 'as-written' }

const stepOf = <K extends string, S extends z.ZodRawShape>(kind: K, shape: S) =>
  z.object({ kind: z.literal(kind), ...shape })

const stepsOf = <W extends z.ZodType<string>, R extends z.ZodType<Route | undefined>>(when: W, route: R) =>
  z.discriminatedUnion('kind', [
    /** Fetch the wanted image before any traffic moves. Writes nothing but the engine's image store. */
    stepOf('pull', { image: z.string() }),
    /** One edit of the proxy's configuration and one confirmed reload, to a route. `out` and `back`: who is out by it and was not before, and the reverse. */
    stepOf('switch', { out: z.string().optional(), back: z.string().optional(), route }),
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

export const stepSchema = stepsOf(z.enum(['before', 'after']), routeSchema)
export type Step = z.infer<typeof stepSchema>
export type StepKind = Step['kind']

/**
 * A step as others are told of it, who may not know its kind: they keep it as it came, and show its `text`. A kind that is added above has that
 * text among its fields.
 */
export const toldStepSchema = z.union([
  stepsOf(wordSchema, routeSchema.optional()),
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
