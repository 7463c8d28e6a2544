// The command line: which commands there are and what each may be told. A command's own code is loaded only when it runs.

import { inspect } from 'node:util'
import { Command, CommanderError } from 'commander'
import { reportOf, type ProblemCode } from '../../shared/problems.ts'
import { describeProblem } from '../../shared/words.ts'
import { EXIT, type Io } from './io.ts'
import type { ResolveOptions } from './resolve.ts'

const DATA_DEFAULT = '/var/lib/ropeway'
const RELAY_DATA_DEFAULT = '/var/lib/ropeway-relay'
const RELAY_PORT_DEFAULT = '8787'

/** Problems that only a change of the command, its environment or its files can cure. */
const USAGE: readonly ProblemCode[] = [
  'config-invalid',
  'usage-invalid',
  'key-unusable',
  'journal-unusable',
  'stack-unknown',
]

/** Runs a command line, as `['deploy', 'hello']`. Resolves with its exit code: what went wrong is on `io.stderr` then. */
export async function runProgram(args: readonly string[], io: Io): Promise<number> {
  const program = new Program(io)
  try {
    return await program.run(args)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.success : EXIT.usage
    const report = reportOf(error)
    io.stderr.write(`ropeway: ${describeProblem(report)}\n`)
    // A bug: whoever reports it needs all of it.
    if (report.code === 'internal') io.stderr.write(`${inspect(error)}\n`)
    return USAGE.includes(report.code) ? EXIT.usage : EXIT.failed
  }
}

const collect = (value: string, before: readonly string[] = []) => [...before, value]

class Program {
  readonly #io: Io
  readonly #root: Command
  #exitCode: number = EXIT.success

  constructor(io: Io) {
    this.#io = io
    this.#root = new Command('ropeway')
      .description('Deploys a Docker Compose stack behind nginx with no failed request.')
      .version(io.version)
      .exitOverride()
      .configureOutput({
        writeOut: (text) => void io.stdout.write(text),
        writeErr: (text) => void io.stderr.write(text),
        outputError: (text, write) => write(text.replace(/^error: (.*)\n/, 'ropeway: $1 (usage-invalid).\n')),
      })
    this.#addPrograms()
    this.#addDeploys()
    this.#addHost()
  }

  async run(args: readonly string[]): Promise<number> {
    await this.#root.parseAsync(args, { from: 'user' })
    return this.#exitCode
  }

  // commander passes a command's arguments, its options, and itself; the last is of no use here.
  #action<Args extends unknown[]>(
    load: () => Promise<{ run(...args: [...Args, Io]): Promise<number> }>,
  ): (...args: [...Args, Command]) => Promise<void> {
    return async (...args) => {
      const { run } = await load()
      this.#exitCode = await run(...(args.slice(0, -1) as Args), this.#io)
    }
  }

  #command(nameAndArgs: string, description: string): Command {
    return this.#root
      .command(nameAndArgs)
      .description(description)
      .option('--json', 'print JSON, for scripts')
      .allowExcessArguments(false)
      .exitOverride()
  }

  #hostCommand(nameAndArgs: string, description: string): Command {
    return this.#command(nameAndArgs, description)
      .option('--config <file>', 'default: ./ropeway.yml, then /etc/ropeway/ropeway.yml')
      .option('--data <dir>', 'the host’s key and journal', DATA_DEFAULT)
  }

  #remoteCommand(nameAndArgs: string, description: string): Command {
    return this.#hostCommand(nameAndArgs, description)
      .option('--relay <url>', 'with a token in ROPEWAY_TOKEN; also ROPEWAY_RELAY')
      .option('--host <name>', 'with a token in ROPEWAY_TOKEN; also ROPEWAY_HOST')
  }

  #addPrograms(): void {
    this.#command('relay', 'run the relay on this machine; the enrolment key comes from ROPEWAY_ENROLL_KEY')
      .option('--port <number>', 'port to listen on', RELAY_PORT_DEFAULT)
      .option('--data <dir>', 'where the relay keeps its storage', RELAY_DATA_DEFAULT)
      .option('--bind <address>', 'address to listen on', '127.0.0.1')
      .option('--url <origin>', 'the address by which others reach it, behind a proxy')
      .action(this.#action(() => import('./relay.ts')))

    this.#hostCommand(
      'enroll',
      'make this host’s key and enroll it; the enrolment key comes from ROPEWAY_ENROLL_KEY',
    ).action(this.#action(() => import('./enroll.ts')))

    this.#hostCommand('agent', 'wait for deploys and run them').action(
      this.#action(() => import('./agent.ts')),
    )
  }

  #addDeploys(): void {
    requestOptions(this.#hostCommand('plan <stack>', 'show what a deploy would do; changes nothing')).action(
      this.#action(() => import('./plan.ts')),
    )

    requestOptions(
      this.#remoteCommand('deploy <stack>', 'deploy and follow it; exits 0 only when it succeeded'),
    )
      .option('--no-wait', 'print the deploy’s id and end')
      .action(this.#action(() => import('./deploy.ts')))

    this.#remoteCommand('rollback <stack>', 'go back to an earlier release and follow the roll')
      .option('--to <release>', 'its number, as `history` shows it; default: the one before')
      .option('--reason <text>', 'for the deploy’s log')
      .option('--yes', 'do not ask')
      .option('--no-wait', 'print the deploy’s id and end')
      .action(this.#action(() => import('./rollback.ts')))

    this.#remoteCommand(
      'cancel <deploy-or-stack>',
      'end a deploy that waits or runs; exits 0 only when it was cancelled',
    ).action(this.#action(() => import('./cancel.ts')))

    this.#remoteCommand('history <stack>', 'the releases of a stack').action(
      this.#action(() => import('./history.ts')),
    )

    this.#remoteCommand('status [stack]', 'the agent and the last deploys').action(
      this.#action(() => import('./status.ts')),
    )

    this.#remoteCommand(
      'watch [deploy-or-stack]',
      'follow a deploy, by default the latest, to its end',
    ).action(this.#action(() => import('./watch.ts')))
  }

  #addHost(): void {
    this.#hostCommand('resolve <stack>', 'unlock a stack that is stuck, once it is whole again')
      .option('--force', 'even while it is not')
      .action(
        this.#action(async () => {
          const { run } = await import('./resolve.ts')
          return { run: (stack: string, options: ResolveOptions, to: Io) => run(stack, options, to) }
        }),
      )

    this.#hostCommand('notifications <stack>', 'who was told of its deploys, and who could not be').action(
      this.#action(() => import('./notifications.ts')),
    )

    this.#hostCommand('token', 'print a token for a person or a CI job')
      .option('--scope <list>', 'read, deploy, rollback', 'read')
      .option('--stack <name>', 'only for this stack; may be repeated', collect)
      .option('--ttl <time>', 'as 15m, 1h or 30d', '1h')
      .option('--actor <name>', 'who acts, for the deploys’ logs')
      .action(this.#action(() => import('./token.ts')))

    this.#hostCommand(
      'revoke [token-or-id...]',
      'end tokens before their time; - reads them from standard input',
    )
      .option('--list', 'show what is revoked')
      .action(this.#action(() => import('./revoke.ts')))

    this.#hostCommand('rotate-key', 'replace this host’s key; run again, it finishes what was interrupted')
      .option('--keep <time>', 'tokens signed by the present key count this long; 0s revokes them all', '24h')
      .action(this.#action(() => import('./rotate-key.ts')))
  }
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
