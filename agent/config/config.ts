// ropeway.yml as a type that cannot be wrong, and the way there: text, YAML, schema (schema.ts), all faults at once.

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Chat } from '../../shared/chat/chat.ts'
import { Problem } from '../../shared/problems.ts'
import type { Trigger } from '../../shared/triggers/index.ts'
import type { Destination } from '../notify/kind.ts'
import type { ComposeProject } from '../ports.ts'
import { chatFrom } from './chats.ts'
import { configSchema } from './schema.ts'
import { parseSource } from './source.ts'

/** One stack of ropeway.yml. What is undefined is inferred from the compose file and the nginx configuration (roll/observe.ts). */
export interface StackConfig extends ComposeProject {
  readonly proxy: {
    readonly service?: string | undefined
    /** An absolute path. */
    readonly config?: string | undefined
    readonly upstream?: string | undefined
  }
  readonly instances: readonly string[] | undefined
  readonly health: HealthConfig
  readonly drainTimeoutMs: number
  readonly soakMs: number
  /** The whole roll, without the way back. */
  readonly deadlineMs: number
  readonly before: CommandConfig | undefined
  readonly after: CommandConfig | undefined
  /** So many releases, and their images, are kept to go back to. */
  readonly releasesKept: number
  /** `images`: repositories in full, as ImageRef has them; undefined: the repositories that run today. */
  readonly allow: { readonly images: readonly string[] | undefined; readonly env: readonly string[] }
  readonly triggers: readonly Trigger[]
  /** Who is told of its deploys. */
  readonly notify: readonly Destination[]
}

export interface CommandConfig {
  /** The compose service whose image, env and mounts it runs with; undefined: the first that is rolled. */
  readonly service: string | undefined
  readonly command: readonly string[]
  readonly timeoutMs: number
  /** What a recovery does that finds it begun: nobody knows how far it came. */
  readonly onRetry: 'run' | 'skip' | 'fail'
}

export interface HealthConfig {
  /** `tcp`: a connection is enough. `docker`: Docker's healthcheck alone tells. Undefined: an HTTP request, where the backend speaks HTTP. */
  readonly by: 'tcp' | 'docker' | undefined
  readonly path: string | undefined
  /** The Host header of a request. */
  readonly host: string | undefined
  readonly status: { readonly min: number; readonly max: number } | undefined
  readonly intervalMs: number
  readonly successes: number
  readonly timeoutMs: number
}

export interface Config {
  /** The file it was read from. */
  readonly path: string
  /** The relay's origin, without a trailing slash. */
  readonly relay: string
  readonly host: string
  readonly stacks: readonly StackConfig[]
  /** The bots that people ask for deploys. */
  readonly chats: readonly Chat[]
}

const PLACES = ['./ropeway.yml', '/etc/ropeway/ropeway.yml']

/** The file to read: the one that was named, else the first that exists of the usual places. */
export function findConfig(explicit?: string): string {
  if (explicit !== undefined) return resolve(explicit)
  const found = PLACES.map((place) => resolve(place)).find((place) => existsSync(place))
  if (found !== undefined) return found
  throw new Problem(
    'config-invalid',
    `there is no ${PLACES.map((place) => resolve(place)).join(' and no ')}`,
    {
      cure: 'write one or name it with --config',
    },
  )
}

/**
 * Reads ropeway.yml. Throws one `config-invalid` that lists every fault, each with its line and path. Only the agent has the
 * secrets in its environment: other commands read without, and then see no triggers and nobody to notify.
 */
export async function loadConfig(
  path: string,
  env: NodeJS.ProcessEnv,
  { withSecrets = true }: { withSecrets?: boolean } = {},
): Promise<Config> {
  const file = resolve(path)
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Problem('config-invalid', `${file} cannot be read: ${(cause as Error).message}`, { cause })
  })
  const { value, faults, locate } = parseSource(text)
  const parsed = configSchema({ directory: dirname(file), env: withSecrets ? env : undefined }).safeParse(
    value,
  )
  const found = parsed.success || !locate ? faults : [...faults, ...parsed.error.issues.flatMap(locate)]
  if (!parsed.success || found.length > 0) {
    const lines = found
      .toSorted((a, b) => a.line - b.line)
      .map(({ line, path: at, message }) => `line ${line}: ${at === '' ? '' : `${at}: `}${message}`)
    const count = lines.length === 1 ? 'a fault' : `${lines.length} faults`
    throw new Problem('config-invalid', `${file} has ${count}`, { log: [...new Set(lines)] })
  }
  const { relay, host, stacks, chat } = parsed.data
  return {
    path: file,
    relay,
    host,
    stacks: Object.entries(stacks).map(([name, { triggers, notify, ...stack }]) => ({
      ...stack,
      name,
      notify: withSecrets ? notify : [],
      triggers: Object.entries(withSecrets ? triggers : {}).map(([trigger, said]): Trigger => {
        const named = { stack: name, name: trigger }
        if ('keys' in said) return { ...said, ...named, keys: said.keys.map(({ key }) => key) }
        // By its address a token is good at this one door, and at no other host's or stack's.
        const { audience = `${relay}/hooks/${host}/${name}/${trigger}` } = said
        return { ...said, ...named, audience }
      }),
    })),
    chats: Object.entries(withSecrets ? chat : {}).map(([named, said]) =>
      chatFrom(named, said, (stack) => stacks[stack]?.allow.images),
    ),
  }
}

/** The stack of that name, or a Problem that names those there are. */
export function stackOf(config: Config, name: string): StackConfig {
  const stack = config.stacks.find((each) => each.name === name)
  if (stack) return stack
  throw new Problem('stack-unknown', `${config.path} has no stack ${JSON.stringify(name)}`, {
    cure: `it has ${config.stacks.map((each) => each.name).join(', ')}`,
  })
}
