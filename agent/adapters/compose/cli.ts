// The Compose port: the real `docker compose`, so that its own config hash stays true and a manual `up` finds nothing to do.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { LOG_LINE_CHARS_MAX, LOG_LINES_MAX } from '../../../shared/limits.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Compose, ComposeModel, ComposeProject, ComposeService, HostPorts } from '../../ports.ts'
import { valuesFor, withBlanks } from './blanks.ts'
import { run, type CommandOptions } from '../command.ts'
import { readHashes, RESOLVED, withTwins } from './hashes.ts'
import { upInOrder, type ServiceNames } from './up-in-order.ts'
import { dependenciesOf, isAsDefined } from './dependencies.ts'
import { endOrphans, markOf } from './orphans.ts'

const serviceSchema = z.looseObject({
  image: z.string().optional(),
  environment: z.record(z.string(), z.string().nullable()).optional(),
  container_name: z.string().optional(),
  volumes: z.array(z.looseObject({ source: z.string().optional(), target: z.string() })).optional(),
})
const modelSchema = z.looseObject({ name: z.string(), services: z.record(z.string(), serviceSchema) })

export function composeCli(ports: Pick<HostPorts, 'engine' | 'clock'>): Compose {
  // Found once and ahead of time: it takes as long as a compose call. A failure is not kept.
  let program: Promise<string> | undefined
  const plugin = async () => {
    program ??= findPlugin(AbortSignal.timeout(FIND_MS_MAX))
    program.catch(() => (program = undefined))
    return await program
  }
  plugin().catch(() => {}) // whoever needs it will be told
  const compose = async (
    stack: ComposeProject,
    files: readonly string[],
    args: readonly string[],
    options: CommandOptions,
  ) => {
    const [path, mark, envFiles] = await Promise.all([
      plugin(),
      markOf(stack),
      // What it was started with is what its files are to be read with.
      stack.envFiles ?? ports.engine.envFiles(stack.compose, stack.project, options.signal),
    ])
    const env = { ...options.env, ...mark }
    return await run(path, [...composeArgs(stack, files, envFiles), ...args], { ...options, env })
  }
  const config = async (
    stack: ComposeProject,
    files: readonly string[],
    options: readonly string[],
    how: CommandOptions,
  ) => {
    const { exitCode, stdout, stderr } = await compose(stack, files, ['config', ...options], how)
    if (exitCode === 0) return { stdout, stderr }
    throw new Problem('compose-invalid', `docker compose refuses ${stack.compose.join(', ')}`, {
      log: lastLines(stderr),
      cure: /env file/.test(stderr)
        ? `correct stacks.${stack.name}.env_files; where it is left out, its containers were started with that file`
        : 'run `docker compose config` there and mend what it says',
    })
  }

  // Of the last look at each stack's files: a roll looks before it touches anything, and a call takes 90 ms.
  const models = new Map<string, ComposeModel>()
  const model: Compose['model'] = async (stack, replaced, signal) => {
    const read = async (files: readonly string[], env: Readonly<Record<string, string>> = {}) => {
      const { stdout, stderr } = await config(stack, files, ['--format', 'json'], { signal, env })
      return [readModel(stdout), valuesFor(stderr)] as const
    }
    const [said, values] = await withReplaced(stack, replaced, (files) => read(files))
    const isAsked = Object.keys(replaced).length === 0 && Object.keys(values).length > 0
    const valued = isAsked ? await read(stack.compose, values).catch(refused) : undefined
    const seen = isAsked ? withBlanks(said, valued?.[0], values) : said
    models.set(keyOf(stack), seen)
    return seen
  }
  const namesOf = async (
    stack: ComposeProject,
    service: string,
    signal: AbortSignal,
  ): Promise<ServiceNames> => {
    const { project, services } = models.get(keyOf(stack)) ?? (await model(stack, {}, signal))
    const definition = serviceSchema.safeParse(services[service]?.definition)
    return { project, service, containerName: definition.data?.container_name }
  }
  const hashes: Compose['hashes'] = async (stack, signal) => {
    const input = withTwins((await config(stack, stack.compose, ['--format', 'json'], { signal })).stdout)
    // Each is in the model since it was wanted, whatever its profiles.
    const options = ['--hash', '*', ...RESOLVED]
    return readHashes((await config({ ...stack, profiles: ['*'] }, ['-'], options, { signal, input })).stdout)
  }

  // Whether an `up` has to be told of the service's dependencies, since compose hashes them too, and would change none of them.
  const mayName = async (stack: ComposeProject, service: string, signal: AbortSignal): Promise<boolean> => {
    const said = models.get(keyOf(stack)) ?? (await model(stack, {}, signal))
    const dependencies = dependenciesOf(said, service)
    if (dependencies.length === 0) return false
    const known = await hashes(stack, signal)
    if ((known[service]?.length ?? 0) < 2) return false
    const containers = await ports.engine.containers(said.project, signal, dependencies)
    const areAsDefined = await Promise.all(
      dependencies.map(async (name) => {
        const defined = said.services[name]
        const image = await ports.engine.image(defined?.image ?? `${said.project}-${name}`, signal)
        const own = containers.filter((one) => one.service === name)
        return defined !== undefined && isAsDefined(defined, known[name]?.[0], image?.id, own)
      }),
    )
    return areAsDefined.every(Boolean)
  }

  return {
    model,

    hashes,

    async up(stack, service, signal, { recreate = false } = {}) {
      const call = async (...options: string[]) => {
        const args = ['up', '--no-build', '--pull', 'never', ...options, service]
        const { exitCode, stderr } = await compose(stack, stack.compose, args, { signal })
        if (exitCode === 0) return undefined
        return new Problem(
          isEngineAway(stderr) ? 'engine-unreachable' : 'compose-failed',
          `docker compose could not recreate service ${service}`,
          {
            log: lastLines(stderr),
          },
        )
      }
      const force = recreate ? ['--force-recreate'] : []
      // In two calls a container gets the hash that a plain `up` gives, and nothing that it depends on is started: a migration has run.
      const up = (await mayName(stack, service, signal))
        ? async () =>
            (await call('--no-start', ...force)) ?? (await call('--detach', '--no-deps', '--no-recreate'))
        : async () => await call('--detach', '--no-deps', ...force)
      await upInOrder(await namesOf(stack, service, signal), ports, up, signal)
    },

    async run(stack, service, { command, name, replaced }, signal) {
      let log = ''
      const onText = (text: string) => (log = (log + text).slice(-LOG_CHARS_MAX))
      // Of compose's own lines only its errors are wanted among those of the command.
      const args = ['--progress', 'quiet', 'run', '--rm', '--no-deps', '--no-TTY', '--name', name, service]
      const { exitCode } = await withReplaced(
        stack,
        replaced,
        async (files) => await compose(stack, files, [...args, ...command], { signal, onText }),
        neverFetched(service),
      )
      return { exitCode, log: log === '' ? [] : lastLines(log) }
    },

    endOrphans,
  }
}

function keyOf({ compose, project, envFiles, profiles }: ComposeProject): string {
  return JSON.stringify([compose, project, envFiles, profiles])
}

function refused(error: unknown): undefined {
  if (error instanceof Problem && error.code === 'compose-invalid') return undefined
  throw error
}

function composeArgs(stack: ComposeProject, files: readonly string[], envFiles: readonly string[]): string[] {
  return [
    ...files.flatMap((file) => ['-f', file]),
    ...envFiles.flatMap((file) => ['--env-file', file]),
    // Always named, so that a copy of a file elsewhere is read as if it stood here.
    '--project-directory',
    dirname(stack.compose[0] ?? '.'),
    ...(stack.project === undefined ? [] : ['-p', stack.project]),
    ...stack.profiles.flatMap((profile) => ['--profile', profile]),
  ]
}

// Candidates of an edit are checked as files in a directory of our own: the user's folder sees only the finished edit.
async function withReplaced<T>(
  stack: ComposeProject,
  replaced: Readonly<Record<string, string>>,
  use: (files: string[]) => Promise<T>,
  added?: string,
): Promise<T> {
  if (Object.keys(replaced).length === 0 && added === undefined) return await use([...stack.compose])
  const folder = await mkdtemp(join(tmpdir(), 'ropeway-compose-'))
  const copy = async (name: string, text: string) => {
    const path = join(folder, name)
    await writeFile(path, text, { mode: 0o600 })
    return path
  }
  try {
    const files = await Promise.all(
      stack.compose.map(async (path, index) => {
        const text = replaced[path]
        return text === undefined ? path : await copy(`${index}-${basename(path)}`, text)
      }),
    )
    if (added !== undefined) files.push(await copy('added.yml', added))
    return await use(files)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

// `run` has no flag against it before compose 2.28, and a service's own `pull_policy` or `build` would have its way.
function neverFetched(service: string): string {
  return `services:\n  ${JSON.stringify(service)}: { pull_policy: never, build: !reset null }\n`
}

/** More than LOG_LINES_MAX lines need, as they are shortened. */
const LOG_CHARS_MAX = 64 * 1024

// In compose's own words: it has no exit code for it.
function isEngineAway(stderr: string): boolean {
  return /Cannot connect to the Docker daemon|error during connect|connection reset by peer|unexpected EOF/.test(
    stderr,
  )
}

/** The engine answers at once or not at all. */
const FIND_MS_MAX = 10_000

const pluginsSchema = z.array(z.looseObject({ Name: z.string(), Path: z.string() })).nullable()

// The plugin is run by itself, as compose documents it can be: through `docker` each call takes 60 ms more, most of them spent on
// looking at every other plugin. Where it cannot be found, `docker compose` would not work either.
async function findPlugin(signal: AbortSignal): Promise<string> {
  const { stdout, stderr } = await run('docker', ['info', '--format', '{{json .ClientInfo.Plugins}}'], {
    signal,
  })
  const plugins = pluginsSchema.safeParse(parseJson(stdout))
  const path = plugins.data?.find(({ Name }) => Name === 'compose')?.Path
  if (path !== undefined) return path
  throw new Problem('compose-failed', 'docker has no compose plugin', {
    log: lastLines(stderr),
    cure: 'install docker compose 2.26 or newer',
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
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

/** The end of a program's output, as an event may carry it. */
export function lastLines(text: string): string[] {
  return text
    .trimEnd()
    .split(/\r?\n/)
    .slice(-LOG_LINES_MAX)
    .map((line) => line.slice(0, LOG_LINE_CHARS_MAX))
}
