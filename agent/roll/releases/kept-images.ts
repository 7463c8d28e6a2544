// The images of the releases that can be gone back to: each has a name of ours while its release is kept, so that no clean-up takes it, and
// when its release is forgotten the image goes too, unless somebody still needs it.

import { parseImage } from '../../../shared/image.ts'
import type { Engine } from '../../ports.ts'
import type { Release, Releases } from './release.ts'

/** Whose releases they are. */
export interface Owner {
  readonly project: string
  readonly stack: string
}

/** No registry can have this host (RFC 2606), so nobody pulls such a name from anywhere or pushes it. */
export const KEPT_REPOSITORY = 'ropeway.invalid/'

/**
 * `ropeway.invalid/PROJECT:STACK.RELEASE`, and for a release of several images one more for each. By the compose project, for that has one
 * meaning on an engine, whoever rolls it, and by the stack, for each of a project's stacks counts its own releases.
 */
function keptName(owner: Owner, release: number, index: number): string {
  return unownedName(owner, `${owner.stack}.${release}`, index)
}

/** As they were named before a project could have several stacks: a host may have such names still. */
function unownedName({ project }: Owner, release: number | string, index: number): string {
  const repository = project.replaceAll(/[^a-z0-9]+/g, '-').replace(/-$/, '')
  return `${KEPT_REPOSITORY}${repository}:${release}${index === 0 ? '' : `-${index + 1}`}`
}

function imagesOf({ services }: Release): string[] {
  return [...new Set(Object.values(services).map(({ imageId }) => imageId))]
}

/** Gives the images of a release their name of ours. */
export async function keepImages(
  owner: Owner,
  release: Release,
  engine: Engine,
  signal: AbortSignal,
): Promise<void> {
  for (const [index, id] of imagesOf(release).entries())
    await engine.tag(id, keptName(owner, release.number, index), signal)
}

/**
 * Forgets the releases before the newest `count`, with their images: never one that a container of the engine uses, or that a kept release
 * has too. An image that was built on this host loses our name only: its others are its builder's.
 */
export async function forgetOld(
  owner: Owner,
  releases: Releases,
  count: number,
  engine: Engine,
  signal: AbortSignal,
): Promise<void> {
  const all = releases.list()
  const kept = all.slice(-count)
  const old = all.slice(0, -count)
  const [oldestKept] = kept
  if (old.length === 0 || !oldestKept) return
  const keptImages = kept.flatMap(imagesOf)
  const inUse = await engine.imagesInUse(signal)
  for (const release of old)
    for (const [index, id] of imagesOf(release).entries()) {
      if (!keptImages.includes(id) && !inUse.has(id))
        for (const pulled of await pulledNames(release, id, engine, signal))
          await engine.untag(pulled, signal)
      await engine.untag(keptName(owner, release.number, index), signal)
      const unowned = unownedName(owner, release.number, index)
      // Another stack of the project may have that name for an image of its own.
      if ((await engine.image(unowned, signal))?.id === id) await engine.untag(unowned, signal)
    }
  releases.forgetBefore(oldestKept.number)
}

// By what a registry calls it, in the repository that the release came from: whoever wants it back can pull it.
async function pulledNames(
  { services }: Release,
  id: string,
  engine: Engine,
  signal: AbortSignal,
): Promise<string[]> {
  const image = await engine.image(id, signal)
  if (!image) return []
  const repositories = Object.values(services)
    .filter(({ imageId }) => imageId === id)
    .flatMap(({ image: text }) => parseImage(text)?.repository ?? [])
  const isFromThere = (name: string) => repositories.includes(parseImage(name)?.repository ?? '')
  const digests = image.digests.filter(isFromThere)
  return digests.length === 0 ? [] : [...image.tags.filter(isFromThere), ...digests]
}
