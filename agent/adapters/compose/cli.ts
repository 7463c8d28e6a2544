// One call of docker compose for a stack: the plugin, the stack's files and options, and this agent's mark, by which the next one finds it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { Problem } from '../../../shared/problems.ts'
import { jsonOf } from '../../json.ts'
import type { ComposeProject, Engine } from '../../ports.ts'
import { lastLines, run, type CommandOptions, type Result } from '../command.ts'
import { markOf } from './orphans.ts'

export class Cli {
  readonly #engine: Pick<Engine, 'envFiles'>
  #plugin: Promise<string> | undefined

  constructor(engine: Pick<Engine, 'envFiles'>) {
    this.#engine = engine
    // Ahead of time: it takes as long as a compose call. Whoever needs it is told when it fails.
    this.#path().catch(() => {})
  }

  /** `files` are the stack's own, or copies that stand in for them. */
  async run(
    stack: ComposeProject,
    files: readonly string[],
    args: readonly string[],
    options: CommandOptions,
  ): Promise<Result> {
    const [path, mark, envFiles] = await Promise.all([
      this.#path(),
      markOf(stack),
      // What it was started with is what its files are to be read with.
      stack.envFiles ?? this.#engine.envFiles(stack.compose, stack.project, options.signal),
    ])
    const env = { ...options.env, ...mark }
    return await run(path, [...optionsOf(stack, files, envFiles), ...args], { ...options, env })
  }

  /** What `docker compose config` prints. Throws `compose-invalid`. */
  async config(
    stack: ComposeProject,
    files: readonly string[],
    args: readonly string[],
    options: CommandOptions,
  ): Promise<Pick<Result, 'stdout' | 'stderr'>> {
    const { exitCode, stdout, stderr } = await this.run(stack, files, ['config', ...args], options)
    if (exitCode === 0) return { stdout, stderr }
    throw new Problem('compose-invalid', `docker compose refuses ${stack.compose.join(', ')}`, {
      log: lastLines(stderr),
      cure: /env file/.test(stderr)
        ? `correct stacks.${stack.name}.env_files; where it is left out, its containers were started with that file`
        : 'run `docker compose config` there and mend what it says',
    })
  }

  // A failure is not kept: somebody may install the plugin.
  async #path(): Promise<string> {
    this.#plugin ??= findPlugin(AbortSignal.timeout(FIND_MS_MAX))
    this.#plugin.catch(() => (this.#plugin = undefined))
    return await this.#plugin
  }
}

function optionsOf(stack: ComposeProject, files: readonly string[], envFiles: readonly string[]): string[] {
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

/** The engine answers at once or not at all. */
const FIND_MS_MAX = 10_000

const pluginsSchema = z.array(z.looseObject({ Name: z.string(), Path: z.string() })).nullable()

// The plugin is run by itself, as compose documents it can be: through `docker` each call takes 60 ms more, most of them spent on
// looking at every other plugin. Where it cannot be found, `docker compose` would not work either.
async function findPlugin(signal: AbortSignal): Promise<string> {
  const { stdout, stderr } = await run('docker', ['info', '--format', '{{json .ClientInfo.Plugins}}'], {
    signal,
  })
  const plugins = pluginsSchema.safeParse(jsonOf(stdout))
  const path = plugins.data?.find(({ Name }) => Name === 'compose')?.Path
  if (path !== undefined) return path
  throw new Problem('compose-failed', 'docker has no compose plugin', {
    log: lastLines(stderr),
    cure: 'install docker compose 2.26 or newer',
  })
}

/**
 * The stack's files for a call, those that are replaced as copies in a folder of our own, since the user's sees only the finished edit. The
 * text `added` is one more file after them.
 */
export async function withReplaced<T>(
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
