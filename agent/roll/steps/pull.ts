// Gets the wanted image and pins it, before any traffic moves: by digest, or by ID where it exists on this host only.

import { imageRef, isImageId, parseImage } from '../../../shared/image.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Container, Image } from '../../ports.ts'
import type { RollState } from '../context.ts'
import type { StepHandler } from './index.ts'

/** Large images on slow lines take minutes; a pull that takes longer hangs. */
const PULL_MS_MAX = 15 * 60_000

export const pull: StepHandler<'pull'> = {
  deadlineMs: () => PULL_MS_MAX,
  async do({ image: text }, { roll, report, signal }) {
    const { engine } = roll.ports
    const byId = await keptById(roll, text, signal)
    if (byId) {
      roll.images.set(text, { ...byId, text: byId.id })
      return { pinned: byId.id }
    }
    if (isImageId(text))
      throw new Problem('image-not-found', `image ${text} is no longer on the host, and no registry has it`, {
        cure: 'build it again, and deploy it by its name',
      })
    const { digest } = imageRef(text)
    const local = await engine.image(text, signal)
    // An image without a digest of its repository was built or named here: what that name means in a registry is somebody else's.
    const isHostOnly = local !== undefined && digestOf(text, local) === undefined
    const isThere = local !== undefined && (isHostOnly || digest !== undefined)
    if (!isThere) await engine.pull(text, (progress) => report({ ...progress }), signal)
    const image = isThere ? local : await engine.image(text, signal)
    if (!image) throw new Problem('image-not-found', `${text} is not on the host after its pull`)
    await checkPlatform(roll, text, image, signal)
    const pinned = isHostOnly ? image.id : pinnedText(text, image)
    roll.images.set(text, { ...image, text: pinned })
    return { pinned }
  },
}

// A registry gives what it has, were it for another platform. Where the host runs such images already, it can: by emulation.
async function checkPlatform(
  { ports: { engine }, observed }: RollState,
  text: string,
  { platform }: Image,
  signal: AbortSignal,
): Promise<void> {
  const own = await engine.platform(signal)
  if (platform === own) return
  const running = observed.instances.flatMap(({ containers }) => containers.map(({ imageId }) => imageId))
  for (const id of new Set(running)) if ((await engine.image(id, signal))?.platform === platform) return
  throw new Problem('platform-missing', `${text} is for ${platform}, and this host is ${own}`, {
    cure: 'build it for this platform too',
  })
}

// An image that is asked for by its ID; or one of a release whose name a clean-up has taken, while ours has kept the image itself.
async function keptById(roll: RollState, text: string, signal: AbortSignal): Promise<Image | undefined> {
  const { engine } = roll.ports
  if (isImageId(text)) return await engine.image(text, signal)
  const id = Object.values(roll.wanted).find(({ image }) => image === text)?.imageId
  if (id === undefined || (await engine.image(text, signal))) return undefined
  return await engine.image(id, signal)
}

/** `repository:tag@digest` for an image that has a digest in the repository that the text names. */
export function pinnedText(text: string, image: Image): string {
  const wanted = imageRef(text)
  if (wanted.digest !== undefined) return text
  const digest = digestOf(text, image)
  if (digest === undefined)
    throw new Problem('image-not-found', `${text} has no digest in its own repository`)
  return `${wanted.written}:${wanted.tag ?? 'latest'}@${digest}`
}

/** What a container runs, in full: as it was made from where that has a digest, else by its image's, and by the ID where no registry has it. */
export function fullName({ image: text, imageId }: Container, image: Image | undefined): string {
  if (parseImage(text)?.digest !== undefined) return text
  return image !== undefined && digestOf(text, image) !== undefined ? pinnedText(text, image) : imageId
}

/** The image's digest in the repository that the text names. */
export function digestOf(text: string, image: Image): string | undefined {
  const { repository } = imageRef(text)
  return image.digests.map((entry) => parseImage(entry)).find((ref) => ref?.repository === repository)?.digest
}
