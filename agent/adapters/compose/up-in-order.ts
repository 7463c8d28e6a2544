// One service as its files say, whatever an interrupted recreate has left of it. compose makes the new container under a makeshift name
// (`<12 hex>_NAME`), stops and removes the old one, renames the new one and starts it. After a kill in between, the next `up` fails at a
// taken name (2.26) or keeps the makeshift one for ever (2.40); and it may find nothing to do at a container that the engine is still
// stopping for the killed call: it reports success, and a moment later nothing runs (2.40).

import type { Problem } from '../../../shared/problems.ts'
import type { Clock, Container, Engine } from '../../ports.ts'

/** A killed call has at most one request under way at the engine, whose effect the next try sees. The rest is for slow disks. */
const TRIES_MAX = 10
const TRY_AGAIN_MS = 200

export interface ServiceNames {
  readonly project: string
  readonly service: string
  /** `container_name`, where the file sets one. */
  readonly containerName: string | undefined
}

interface UpPorts {
  readonly engine: Pick<Engine, 'containers' | 'remove' | 'rename' | 'stop'>
  readonly clock: Pick<Clock, 'sleep'>
}

/** Runs `up`, which resolves with what went wrong, until the service has its containers under their own names. Throws what goes wrong then. */
export async function upInOrder(
  names: ServiceNames,
  { engine, clock }: UpPorts,
  up: () => Promise<Problem | undefined>,
  signal: AbortSignal,
): Promise<void> {
  const look = async () => await engine.containers(names.project, signal, [names.service])
  for (let tries = 1; ; tries += 1) {
    await clearUp(await look(), names, engine, signal)
    const problem = await up()
    // It may have failed because of something that the engine was about to finish, which shows a moment later.
    if (problem) await clock.sleep(TRY_AGAIN_MS, signal)
    const isSettled = isInOrder(await look(), names)
    if (isSettled || tries === TRIES_MAX) {
      if (problem) throw problem
      return
    }
    await clock.sleep(TRY_AGAIN_MS, signal)
  }
}

async function clearUp(
  all: readonly Container[],
  names: ServiceNames,
  engine: UpPorts['engine'],
  signal: AbortSignal,
): Promise<void> {
  const leftovers =
    all.length < 2 ? [] : all.filter((one) => one.state === 'created' && ownName(one, names) !== one.name)
  const others = all.filter((one) => !leftovers.includes(one))
  if (leftovers.length > 0)
    // The killed call may have asked the engine to stop the old container, which shows nowhere until it has stopped. To stop it again is safe: nginx
    // sends no requests to an instance that is being recreated.
    for (const one of others) if (one.state === 'running') await engine.stop(one.id, signal)
  for (const one of leftovers) await engine.remove(one.id, signal)
  const [only] = others
  if (only && others.length === 1 && ownName(only, names) !== only.name)
    await engine.rename(only.id, ownName(only, names), signal)
}

function isInOrder(all: readonly Container[], names: ServiceNames): boolean {
  return (
    all.length > 0 &&
    all.every(
      (one) => ownName(one, names) === one.name && one.state !== 'created' && one.state !== 'removing',
    )
  )
}

// A project or a `container_name` may itself begin like a makeshift name.
function ownName({ name }: Container, { project, containerName }: ServiceNames): string {
  if (name === containerName) return name
  const own = /^[0-9a-f]{12}_(.+)$/.exec(name)?.[1]
  const isOurs =
    own !== undefined &&
    (own === containerName || own.startsWith(`${project}-`) || own.startsWith(`${project}_`))
  return isOurs ? own : name
}
