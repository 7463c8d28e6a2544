// What compose makes of a stack's files: the model that it reads there, and the hashes that it gives the services.

import { z } from 'zod'
import { Problem } from '../../../shared/problems.ts'
import type { ComposeModel, ComposeProject, ComposeService } from '../../ports.ts'
import { valuesFor, withBlanks } from './blanks.ts'
import { withReplaced, type Cli } from './cli.ts'
import { readHashes, RESOLVED, withTwins } from './hashes.ts'

const serviceSchema = z.looseObject({
  image: z.string().optional(),
  environment: z.record(z.string(), z.string().nullable()).optional(),
  container_name: z.string().optional(),
  volumes: z.array(z.looseObject({ source: z.string().optional(), target: z.string() })).optional(),
})
const modelSchema = z.looseObject({ name: z.string(), services: z.record(z.string(), serviceSchema) })

export class Models {
  readonly #cli: Cli
  readonly #newest = new Map<string, ComposeModel>()

  constructor(cli: Cli) {
    this.#cli = cli
  }

  /** The model, with `replaced` texts in the place of files. Only of the files as they are does it name the blanks. */
  async read(
    stack: ComposeProject,
    replaced: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ComposeModel> {
    const read = async (files: readonly string[], env: Readonly<Record<string, string>> = {}) => {
      const { stdout, stderr } = await this.#cli.config(stack, files, AS_JSON, { signal, env })
      return { model: readModel(stdout), values: valuesFor(stderr) }
    }
    const { model, values } = await withReplaced(stack, replaced, (files) => read(files))
    const isAsked = Object.keys(replaced).length === 0 && Object.keys(values).length > 0
    const valued = isAsked ? await read(stack.compose, values).catch(undefinedIfRefused) : undefined
    const seen = isAsked ? withBlanks(model, valued?.model, values) : model
    this.#newest.set(keyOf(stack), seen)
    return seen
  }

  /** The model as it was last read: a roll looks before it touches anything, and a call takes 90 ms. */
  async newest(stack: ComposeProject, signal: AbortSignal): Promise<ComposeModel> {
    return this.#newest.get(keyOf(stack)) ?? (await this.read(stack, {}, signal))
  }

  async hashes(stack: ComposeProject, signal: AbortSignal): Promise<Record<string, string[]>> {
    const { stdout } = await this.#cli.config(stack, stack.compose, AS_JSON, { signal })
    // Each service is in the model since it was wanted, whatever its profiles.
    const resolved = { ...stack, profiles: ['*'] }
    const options = { signal, input: withTwins(stdout) }
    return readHashes((await this.#cli.config(resolved, ['-'], ['--hash', '*', ...RESOLVED], options)).stdout)
  }
}

const AS_JSON = ['--format', 'json']

function keyOf({ compose, project, envFiles, profiles }: ComposeProject): string {
  return JSON.stringify([compose, project, envFiles, profiles])
}

function undefinedIfRefused(error: unknown): undefined {
  if (error instanceof Problem && error.code === 'compose-invalid') return undefined
  throw error
}

function readModel(json: string): ComposeModel {
  const { name, services, ...rest } = modelSchema.parse(JSON.parse(json))
  return {
    project: name,
    services: Object.fromEntries(
      Object.entries(services).map(([key, service]) => [key, readService(service)]),
    ),
    // An extension (`x-app`) is there to be merged, and compose makes nothing of it.
    rest: Object.fromEntries(Object.entries(rest).filter(([key]) => !key.startsWith('x-'))),
  }
}

function readService(service: z.infer<typeof serviceSchema>): ComposeService {
  // `config` prints a compose file again, so a literal `$` comes out doubled.
  const env = Object.entries(service.environment ?? {}).map(([key, value]) => [
    key,
    value?.replaceAll('$$', '$') ?? null,
  ])
  return {
    image: service.image,
    env: Object.fromEntries(env),
    mounts: (service.volumes ?? []).map(({ source, target }) => ({ source: source ?? '', target })),
    definition: service,
    blanks: [],
  }
}

/** A service's `container_name`, where its file sets one. */
export function containerNameOf({ services }: ComposeModel, service: string): string | undefined {
  return serviceSchema.safeParse(services[service]?.definition).data?.container_name
}
