// `docker compose run`: a command in a one-off container of a service. Nothing is pulled, and nothing else is started.

import type { Compose, ComposeProject } from '../../ports.ts'
import { lastLines } from '../command.ts'
import { withReplaced, type Cli } from './cli.ts'

/** More than LOG_LINES_MAX lines need, as they are shortened. */
const LOG_CHARS_MAX = 64 * 1024

/** As the port says. */
export async function runOneOff(
  cli: Cli,
  stack: ComposeProject,
  service: string,
  { command, name, replaced }: Parameters<Compose['run']>[2],
  signal: AbortSignal,
): Promise<{ exitCode: number; log: string[] }> {
  let log = ''
  const onText = (text: string) => (log = (log + text).slice(-LOG_CHARS_MAX))
  // Of compose's own lines only its errors are wanted among those of the command.
  const args = ['--progress', 'quiet', 'run', '--rm', '--no-deps', '--no-TTY', '--name', name, service]
  const { exitCode } = await withReplaced(
    stack,
    replaced,
    async (files) => await cli.run(stack, files, [...args, ...command], { signal, onText }),
    neverFetched(service),
  )
  return { exitCode, log: log === '' ? [] : lastLines(log) }
}

// `run` has no flag against it before compose 2.28, and a service's own `pull_policy` or `build` would have its way.
function neverFetched(service: string): string {
  return `services:\n  ${JSON.stringify(service)}: { pull_policy: never, build: !reset null }\n`
}
