#!/usr/bin/env node
// The command line: which commands there are and what each may be told. A command's own code is loaded only when it runs.

import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { inspect } from 'node:util'
import { Command, CommanderError } from 'commander'
import { reportOf, type ProblemCode } from '../shared/problems.ts'
import { describeProblem } from '../shared/words.ts'
import { EXIT, type Io } from './cli/io.ts'
import type { ResolveOptions } from './cli/resolve.ts'

const DATA_DEFAULT = '/var/lib/ropeway'
const RELAY_DATA_DEFAULT = '/var/lib/ropeway-relay'
const RELAY_PORT_DEFAULT = '8787'
/** After a command is done, for what it left open; then the process ends regardless. */
const LINGER_MS_MAX = 1000

/** Problems that only a change of the command, its environment or its files can cure. */
const USAGE: readonly ProblemCode[] = [
  'config-invalid',
  'usage-invalid',
  'key-unusable',
  'journal-unusable',
  'stack-unknown',
]

const io: Io = {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: firstSignal(),
  version: versionOf(),
}

let exitCode: number = EXIT.success

// commander passes a command's arguments, its options, and itself; the last is of no use here.
function action<Args extends unknown[]>(
  load: () => Promise<{ run(...args: [...Args, Io]): Promise<number> }>,
) {
  return async (...args: [...Args, Command]) => {
    const { run } = await load()
    exitCode = await run(...(args.slice(0, -1) as Args), io)
  }
}

const program = new Command('ropeway')
  .description('Deploys a Docker Compose stack behind nginx with no failed request.')
  .version(io.version)
  .exitOverride()
  .configureOutput({
    outputError: (text, write) => write(text.replace(/^error: (.*)\n/, 'ropeway: $1 (usage-invalid).\n')),
  })

const collect = (value: string, before: readonly string[] = []) => [...before, value]

function command(nameAndArgs: string, description: string): Command {
  return program
    .command(nameAndArgs)
    .description(description)
    .option('--json', 'print JSON, for scripts')
    .allowExcessArguments(false)
    .exitOverride()
}

function hostCommand(nameAndArgs: string, description: string): Command {
  return command(nameAndArgs, description)
    .option('--config <file>', 'default: ./ropeway.yml, then /etc/ropeway/ropeway.yml')
    .option('--data <dir>', 'the host’s key and journal', DATA_DEFAULT)
}

function remoteCommand(nameAndArgs: string, description: string): Command {
  return hostCommand(nameAndArgs, description)
    .option('--relay <url>', 'with a token in ROPEWAY_TOKEN; also ROPEWAY_RELAY')
    .option('--host <name>', 'with a token in ROPEWAY_TOKEN; also ROPEWAY_HOST')
}

function requestOptions(to: Command): Command {
  return to
    .option('--image <ref>', 'repository:tag or repository@sha256:…')
    .option('--tag <tag>', 'in the place of --image: in the repository that the stack runs')
    .option('--digest <digest>', 'the same, as sha256:…')
    .option('--env <key=value>', 'an environment variable; {service} becomes the service’s name', collect)
    .option('--reason <text>', 'for the deploy’s log')
    .option('--force', 'recreate the containers even where they run what is asked for')
    .option('--built-at <time>', 'as 2026-11-25T09:30:00Z; an older build does not replace a newer one')
}

command('relay', 'run the relay on this machine; the enrolment key comes from ROPEWAY_ENROLL_KEY')
  .option('--port <number>', 'port to listen on', RELAY_PORT_DEFAULT)
  .option('--data <dir>', 'where the relay keeps its storage', RELAY_DATA_DEFAULT)
  .option('--bind <address>', 'address to listen on', '127.0.0.1')
  .option('--url <origin>', 'the address by which others reach it, behind a proxy')
  .action(action(() => import('./cli/relay.ts')))

hostCommand(
  'enroll',
  'make this host’s key and enroll it; the enrolment key comes from ROPEWAY_ENROLL_KEY',
).action(action(() => import('./cli/enroll.ts')))

hostCommand('agent', 'wait for deploys and run them').action(action(() => import('./cli/agent.ts')))

requestOptions(hostCommand('plan <stack>', 'show what a deploy would do; changes nothing')).action(
  action(() => import('./cli/plan.ts')),
)

requestOptions(remoteCommand('deploy <stack>', 'deploy and follow it; exits 0 only when it succeeded'))
  .option('--no-wait', 'print the deploy’s id and end')
  .action(action(() => import('./cli/deploy.ts')))

remoteCommand('rollback <stack>', 'go back to an earlier release and follow the roll')
  .option('--to <release>', 'its number, as `history` shows it; default: the one before')
  .option('--reason <text>', 'for the deploy’s log')
  .option('--yes', 'do not ask')
  .option('--no-wait', 'print the deploy’s id and end')
  .action(action(() => import('./cli/rollback.ts')))

remoteCommand(
  'cancel <deploy-or-stack>',
  'end a deploy that waits or runs; exits 0 only when it was cancelled',
).action(action(() => import('./cli/cancel.ts')))

remoteCommand('history <stack>', 'the releases of a stack').action(action(() => import('./cli/history.ts')))

remoteCommand('status [stack]', 'the agent and the last deploys').action(
  action(() => import('./cli/status.ts')),
)

remoteCommand('watch [deploy-or-stack]', 'follow a deploy, by default the latest, to its end').action(
  action(() => import('./cli/watch.ts')),
)

hostCommand('resolve <stack>', 'unlock a stack that is stuck, once it is whole again')
  .option('--force', 'even while it is not')
  .action(
    action(async () => {
      const { run } = await import('./cli/resolve.ts')
      return { run: (stack: string, options: ResolveOptions, to: Io) => run(stack, options, to) }
    }),
  )

hostCommand('notifications <stack>', 'who was told of its deploys, and who could not be').action(
  action(() => import('./cli/notifications.ts')),
)

hostCommand('token', 'print a token for a person or a CI job')
  .option('--scope <list>', 'read, deploy, rollback', 'read')
  .option('--stack <name>', 'only for this stack; may be repeated', collect)
  .option('--ttl <time>', 'as 15m, 1h or 30d', '1h')
  .option('--actor <name>', 'who acts, for the deploys’ logs')
  .action(action(() => import('./cli/token.ts')))

hostCommand('revoke [token-or-id...]', 'end tokens before their time; - reads them from standard input')
  .option('--list', 'show what is revoked')
  .action(action(() => import('./cli/revoke.ts')))

hostCommand('rotate-key', 'replace this host’s key; run again, it finishes what was interrupted')
  .option('--keep <time>', 'tokens signed by the present key count this long; 0s revokes them all', '24h')
  .action(action(() => import('./cli/rotate-key.ts')))

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader has gone, as `head` does: there is nobody left to write to.
  if (error.code === 'EPIPE') process.exit(EXIT.failed)
  throw error
})

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) exitCode = error.exitCode === 0 ? EXIT.success : EXIT.usage
  else {
    const report = reportOf(error)
    process.stderr.write(`ropeway: ${describeProblem(report)}\n`)
    // A bug: whoever reports it needs all of it.
    if (report.code === 'internal') process.stderr.write(`${inspect(error)}\n`)
    exitCode = USAGE.includes(report.code) ? EXIT.usage : EXIT.failed
  }
}
process.exitCode = exitCode
setTimeout(() => process.exit(), LINGER_MS_MAX).unref()

// The first signal asks the command to end; a second one has Node's own effect and ends the process.
function firstSignal(): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort())
  return controller.signal
}

function versionOf(): string {
  const path = findPackageJSON(import.meta.url)
  return path === undefined
    ? 'unknown'
    : (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version
}
