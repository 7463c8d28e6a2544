// `docker compose up` of one service: nothing is pulled, and nothing that it depends on is started or recreated.

import { Problem } from '../../../shared/problems.ts'
import type { ComposeProject, HostPorts } from '../../ports.ts'
import { lastLines } from '../command.ts'
import type { Cli } from './cli.ts'
import { dependenciesOf, isAsDefined } from './dependencies.ts'
import { containerNameOf, type Models } from './model.ts'
import { upInOrder } from './up-in-order.ts'

export interface UpContext {
  readonly cli: Cli
  readonly models: Models
  readonly ports: Pick<HostPorts, 'engine' | 'clock'>
}

/** As the port says. */
export async function up(
  context: UpContext,
  stack: ComposeProject,
  service: string,
  { recreate = false }: { recreate?: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { cli, models, ports } = context
  const call = (...options: string[]) => callUp(cli, stack, service, options, signal)
  const force = recreate ? ['--force-recreate'] : []
  // In two calls a container gets the hash that a plain `up` gives, and nothing that it depends on is started: a migration has run.
  const recreated = (await mayNameDependencies(context, stack, service, signal))
    ? async () =>
        (await call('--no-start', ...force)) ?? (await call('--detach', '--no-deps', '--no-recreate'))
    : async () => await call('--detach', '--no-deps', ...force)
  const model = await models.newest(stack, signal)
  const names = { project: model.project, service, containerName: containerNameOf(model, service) }
  await upInOrder(names, ports, recreated, signal)
}

async function callUp(
  cli: Cli,
  stack: ComposeProject,
  service: string,
  options: readonly string[],
  signal: AbortSignal,
): Promise<Problem | undefined> {
  const args = ['up', '--no-build', '--pull', 'never', ...options, service]
  const { exitCode, stderr } = await cli.run(stack, stack.compose, args, { signal })
  if (exitCode === 0) return undefined
  const code = isEngineAway(stderr) ? 'engine-unreachable' : 'compose-failed'
  return new Problem(code, `docker compose could not recreate service ${service}`, { log: lastLines(stderr) })
}

// In compose's own words: it has no exit code for it.
function isEngineAway(stderr: string): boolean {
  return /Cannot connect to the Docker daemon|error during connect|connection reset by peer|unexpected EOF/.test(
    stderr,
  )
}

// Whether an `up` has to be told of the service's dependencies, since compose hashes them too, and would change none of them.
async function mayNameDependencies(
  { models, ports: { engine } }: UpContext,
  stack: ComposeProject,
  service: string,
  signal: AbortSignal,
): Promise<boolean> {
  const model = await models.newest(stack, signal)
  const dependencies = dependenciesOf(model, service)
  if (dependencies.length === 0) return false
  const hashes = await models.hashes(stack, signal)
  if ((hashes[service]?.length ?? 0) < 2) return false
  const containers = await engine.containers(model.project, signal, dependencies)
  const areAsDefined = await Promise.all(
    dependencies.map(async (name) => {
      const defined = model.services[name]
      const image = await engine.image(defined?.image ?? `${model.project}-${name}`, signal)
      const own = containers.filter((one) => one.service === name)
      return defined !== undefined && isAsDefined(defined, hashes[name]?.[0], image?.id, own)
    }),
  )
  return areAsDefined.every(Boolean)
}
