// What each service shall run: by the request, or by the release that a rollback goes back to. Pure.

import { imageRef } from '../../shared/image.ts'
import { Problem } from '../../shared/problems.ts'
import {
  envFor,
  isRollback,
  type AnyRequest,
  type DeployRequest,
  type RollbackRequest,
} from '../../shared/request.ts'
import { isDowngrade } from '../../shared/version.ts'
import type { Image } from '../ports.ts'
import type { Member } from './observe.ts'
import type { Release } from './releases/release.ts'
import type { Defined, VersionWish } from './runtime.ts'

/** `image` undefined: what it runs today. An env variable that is null is taken away. */
export interface Wanted {
  readonly image?: string
  /** In a rollback, the image's ID, for when its name has gone from this host and its registry. */
  readonly imageId?: string
  readonly env: Readonly<Record<string, string | null>>
}

/** By service. */
export type WantedVersions = Readonly<Record<string, Wanted>>

export function wantedVersion(wanted: WantedVersions, service: string): Wanted {
  return wanted[service] ?? { env: {} }
}

/** An image that was fetched, and how the stack's files name it. */
export type PinnedImage = Omit<Image, 'platform' | 'unproven'> & { readonly text: string }

/** The wanted images once they were fetched, by the text that asks for them. */
export type PinnedImages = Map<string, PinnedImage>

/** What each service is to run, with those images pinned that were fetched by then. */
export function wishOf(order: readonly string[], wanted: WantedVersions, images: PinnedImages): VersionWish {
  return {
    order,
    versionOf(service) {
      const { image, env } = wantedVersion(wanted, service)
      return { env: { ...env }, ...(image === undefined ? {} : { image: images.get(image)?.text ?? image }) }
    },
  }
}

/**
 * What a deploy asks for. `running`: the image texts that the instances have today; a request without image and env asks for that image again. Throws
 * `service-unknown` for a service that is not in `services`, and `request-invalid` where it asks for nothing and several images run.
 */
export function wantedByDeploy(
  request: DeployRequest,
  services: readonly string[],
  running: readonly string[],
): WantedVersions {
  const unknown = request.services?.find((service) => !services.includes(service))
  if (unknown !== undefined)
    throw new Problem('service-unknown', `the request is for service ${unknown}, which is no instance`, {
      cure: `the upstream has ${services.join(', ')}`,
    })
  const image =
    request.image ?? (Object.keys(request.env ?? {}).length > 0 ? undefined : onlyImageRunning(running))
  return Object.fromEntries(
    services.map((service) => [
      service,
      request.services?.includes(service) === false
        ? { env: {} }
        : { ...(image === undefined ? {} : { image }), env: envFor(request, service) },
    ]),
  )
}

function onlyImageRunning(running: readonly string[]): string {
  const [today, ...others] = [...new Set(running)]
  if (today === undefined || others.length > 0)
    throw new Problem(
      'request-invalid',
      `the request names neither image nor env, and ${today === undefined ? 'no instance has an image with a name' : 'the instances run several images'}`,
      {
        cure: 'name the image to deploy',
      },
    )
  const { written, tag } = imageRef(today)
  return tag === undefined ? written : `${written}:${tag}`
}

/** What each service ran in a release. Throws `release-unknown` where the release lacks one of the services. */
export function wantedByRelease(release: Release, services: readonly string[]): WantedVersions {
  return Object.fromEntries(
    services.map((service) => {
      const had = release.services[service]
      if (had) return [service, { ...had }]
      throw new Problem('release-unknown', `release ${release.number} had no service ${service}`, {
        cure: 'deploy the image that you want by its name',
      })
    }),
  )
}

/** The images to fetch, each once. */
export function imagesOf(wanted: WantedVersions): string[] {
  return [...new Set(Object.values(wanted).flatMap(({ image }) => image ?? []))]
}

export function isRunning({ containers }: Member): boolean {
  return containers.some(({ state }) => state === 'running')
}

/** Whether a service has the env that is wanted: in the compose files, and in what runs. */
export function isEnvThere({ service, containers }: Member, { services }: Defined, { env }: Wanted): boolean {
  const said = services[service]?.env ?? {}
  return Object.entries(env).every(([key, value]) =>
    // What the image itself sets cannot be taken away, so only the files count here.
    value === null
      ? !Object.hasOwn(said, key)
      : [said, ...containers.map((one) => one.env)].every((has) => has[key] === value),
  )
}

/**
 * The release that a rollback means. `previous` is the one before the newest, leaving out those that a rollback has gone back from. Where the newest
 * release is not what runs, `previous` is the newest. Throws `release-unknown`.
 */
export function releaseToGoBackTo(
  releases: readonly Release[],
  wanted: number | 'previous',
  isNewestRunning: boolean,
): Release {
  const newest = releases.at(-1)
  const found =
    wanted !== 'previous'
      ? releases.find(({ number }) => number === wanted)
      : isNewestRunning
        ? releases.findLast(({ number }) => newest !== undefined && number < newest.of)
        : newest
  if (found) return found
  const kept = releases.map(({ number }) => number).join(', ') || 'none'
  throw new Problem(
    'release-unknown',
    wanted === 'previous' ? 'there is no release before the one that runs' : `there is no release ${wanted}`,
    { cure: `of this stack are kept: ${kept}` },
  )
}

/** Throws `request-outdated` where an upgrade is asked for, and what runs has a higher version. `running`: the image texts that the instances have today. */
export function checkUpgrade(request: DeployRequest, running: readonly string[]): void {
  if (request.upgradeOnly !== true) return
  const newer = running.find((image) => isDowngrade(request.image, image))
  if (newer === undefined) return
  throw new Problem('request-outdated', `${request.image} is a lower version than ${newer}, which runs`, {
    cure: 'go back to an earlier release by a rollback, or ask without upgradeOnly',
  })
}

/**
 * Throws `request-outdated` where something newer was deployed: a build that is newer by the builders' own times than the one asked for, or another
 * deploy than the one that a rollback is to take back.
 */
export function checkOrder(request: AnyRequest, releases: readonly Release[]): void {
  if (isRollback(request)) return checkRuns(request, releases)
  if (request.builtAt === undefined) return
  const builtAt = Date.parse(request.builtAt)
  const newer = releases.filter((release) => (release.builtAt ?? -Infinity) > builtAt).at(-1)
  if (!newer?.builtAt) return
  throw new Problem(
    'request-outdated',
    `what is asked for was built at ${request.builtAt}, and release ${newer.number} of ${new Date(newer.builtAt).toISOString()} was deployed already`,
    { cure: 'go back to an earlier release by a rollback, or ask without builtAt' },
  )
}

// A rollback that was asked for on sight of one deploy must not take back another.
function checkRuns({ ifRuns }: RollbackRequest, releases: readonly Release[]): void {
  if (ifRuns === undefined || releases.at(-1)?.deploy === ifRuns) return
  throw new Problem('request-outdated', `what deploy ${ifRuns} brought is not the newest release any more`, {
    cure: 'look at what runs now, and ask for a rollback of that',
  })
}
