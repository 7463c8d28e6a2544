// The images of kept releases. While a release is kept, its images have a name of ours, so that no clean-up takes them. When a release is forgotten,
// its images go too, unless somebody still needs them.

import { parseImage } from '../../../shared/image.ts'
import type { Engine } from '../../ports.ts'
import type { Release, Releases } from './release.ts'

/** The compose project and the stack that some releases belong to. */
export interface Owner {
  readonly project: string
  readonly stack: string
}

/** No registry can have this host (RFC 2606), so nobody pulls such a name from anywhere or pushes it. */
export const KEPT_REPOSITORY = 'ropeway.invalid/'

/**
 * `ropeway.invalid/PROJECT:STACK.RELEASE`; further images of a release get `-2`, `-3`, … at the end. It has the compose project because that means
 * one thing on an engine, whoever rolls it, and the stack because each stack of a project counts its own releases.
 */
function keptName(owner: Owner, release: number, index: number): string {
  return unownedName(owner, `${owner.stack}.${release}`, index)
}

/** The name as it was before a project could have several stacks. A host may still have such names. */
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
 * Forgets all but the newest `count` releases, with their images. An image stays where a container of the engine uses it, or a kept release has it.
 * An image that was built on this host loses our name only: its other names are its builder's.
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

// The image's names in the repository that its release came from, where a registry has it: whoever wants it back can pull it by them.
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
