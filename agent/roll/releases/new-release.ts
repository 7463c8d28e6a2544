// The release that a roll makes: what each instance runs, pinned, on record, with its images kept, and the oldest forgotten.

import type { RollState } from '../context.ts'
import { forgetOld, keepImages } from './kept-images.ts'
import type { Progress } from '../record.ts'
import { envKeys, isNewest, isSameVersion, type NewRelease, type ReleasedServices } from './release.ts'
import type { RollContext } from '../roll-context.ts'
import { fullName } from '../steps/pull.ts'
import { wantedVersion } from '../wanted.ts'

/** Records the release, once for each deploy, and returns its number. Where the newest release is the same version, that is its number. */
export async function recordRelease(
  state: RollState,
  progress: Progress,
  { releases, deploy }: RollContext,
  signal: AbortSignal,
): Promise<number> {
  const { stack, ports, observed } = state
  const owner = { project: observed.runtime.project, stack: stack.name }
  const known = releases.list()
  const keys = envKeys(
    stack,
    Object.values(state.wanted).map(({ env }) => env),
    known,
  )
  const add = async (release: NewRelease) => {
    const number = releases.add(release)
    const added = releases.list().find((one) => one.number === number)
    if (added) await keepImages(owner, added, ports.engine, signal)
    return number
  }
  const nobody = { deploy: null, actor: null, reason: null, builtAt: null, of: undefined }
  // What ran before without a deploy becomes a release too, so that a rollback can go back to it.
  if (!isNewest(known, observed) && !known.some((release) => release.deploy === deploy.id)) {
    const services = await servicesBefore(state, keys, signal)
    const at = startOf(state)
    const { textsBefore } = state.runtime
    const files = { before: textsBefore, after: textsBefore }
    await add({ ...nobody, at, services, files })
  }
  const services = await servicesNow(state, keys, signal)
  const newest = releases.list().at(-1)
  if (newest && isSameVersion(newest.services, services)) return newest.number
  const number = await add({
    ...nobody,
    deploy: deploy.id,
    actor: deploy.actor,
    reason: progress.reason ?? null,
    at: ports.clock.now(),
    builtAt: progress.builtAt ?? null,
    of: progress.rollbackTarget === undefined ? undefined : originOf(progress.rollbackTarget, known),
    services,
    files: { before: state.runtime.textsBefore, after: state.runtime.texts },
  })
  await forgetOld(owner, releases, stack.releasesKept, ports.engine, signal)
  return number
}

function originOf(number: number, known: readonly { number: number; of: number }[]): number {
  return known.find((release) => release.number === number)?.of ?? number
}

function startOf({ observed }: RollState): number {
  const started = observed.members.flatMap(({ containers }) =>
    containers.map(({ startedAt }) => Date.parse(startedAt)),
  )
  return Math.max(0, ...started.filter((at) => !Number.isNaN(at)))
}

async function servicesBefore(
  { observed, ports }: RollState,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ReleasedServices> {
  const services: Record<string, ReleasedServices[string]> = {}
  for (const { service, containers } of observed.members) {
    const said = observed.runtime.services[service]
    const [container] = containers
    if (!container || said?.image === undefined) continue
    const { imageId } = container
    const image = await ports.engine.image(imageId, signal)
    services[service] = {
      image: fullName({ image: said.image, imageId }, image),
      imageId,
      env: Object.fromEntries(keys.map((key) => [key, said.env[key] ?? null])),
    }
  }
  return services
}

async function servicesNow(
  state: RollState,
  keys: readonly string[],
  signal: AbortSignal,
): Promise<ReleasedServices> {
  const before = await servicesBefore(state, keys, signal)
  return Object.fromEntries(
    Object.entries(before).map(([service, was]) => {
      const { image, env } = wantedVersion(state.wanted, service)
      const pinned = image === undefined ? undefined : state.images.get(image)
      return [
        service,
        {
          image: pinned?.text ?? was.image,
          imageId: pinned?.id ?? was.imageId,
          env: { ...was.env, ...env },
        },
      ]
    }),
  )
}
