// Gets the wanted image and pins it, before any traffic moves: by digest, or by ID where it exists on this host only.

import { imageRef, isImageId, parseImage } from '../../../shared/image.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Container, Engine, Image } from '../../ports.ts'
import type { RollState } from '../context.ts'
import type { StepHandler } from './step.ts'

/** Large images on slow lines take minutes; a pull that takes longer hangs. */
const PULL_MS_MAX = 15 * 60_000

export const pull: StepHandler<'pull'> = {
  undone: 'nothing',
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
    // What was built or named here is not looked for in a registry, where that name is somebody else's.
    const isHostOnly = local !== undefined && !(await isOfRegistry(text, local, engine, signal))
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

/** The registry that a name without one means. */
const DOCKER_HUB = 'docker.io/'

// Whether the image came from the registry that its name means, or was pushed there. Where only that registry knows, it is asked for this very
// digest: somebody else's image of that name has another one.
async function isOfRegistry(
  text: string,
  image: Image,
  engine: Engine,
  signal: AbortSignal,
): Promise<boolean> {
  if (digestOf(text, image.digests) !== undefined) return true
  const digest = digestOf(text, image.unproven)
  if (digest === undefined) return false
  const { written, repository } = imageRef(text)
  try {
    return await engine.isInRegistry(`${written}@${digest}`, signal)
  } catch (error) {
    // On a host that reaches no registry, a name without a registry means the image that is here. A registry that the name spells out must answer.
    if (signal.aborted || !repository.startsWith(DOCKER_HUB)) throw error
    return false
  }
}

// A registry gives an image of another platform where it has no better one. The host can run it by emulation, if it runs such images already.
async function checkPlatform(
  { ports: { engine }, observed }: RollState,
  text: string,
  { platform }: Image,
  signal: AbortSignal,
): Promise<void> {
  const own = await engine.platform(signal)
  if (platform === own) return
  const running = observed.members.flatMap(({ containers }) => containers.map(({ imageId }) => imageId))
  for (const id of new Set(running)) if ((await engine.image(id, signal))?.platform === platform) return
  throw new Problem('platform-missing', `${text} is for ${platform}, and this host is ${own}`, {
    cure: 'build it for this platform too',
  })
}

// The image, where it is found by an ID: the request names the ID, or a clean-up has taken the release's name while ours has kept the image.
async function keptById(roll: RollState, text: string, signal: AbortSignal): Promise<Image | undefined> {
  const { engine } = roll.ports
  if (isImageId(text)) return await engine.image(text, signal)
  const id = Object.values(roll.wanted).find(({ image }) => image === text)?.imageId
  if (id === undefined || (await engine.image(text, signal))) return undefined
  return await engine.image(id, signal)
}

/** `repository:tag@digest` for an image that came from the repository that the text names. */
export function pinnedText(text: string, { digests, unproven }: Image): string {
  const wanted = imageRef(text)
  if (wanted.digest !== undefined) return text
  const digest = digestOf(text, [...digests, ...unproven])
  if (digest === undefined)
    throw new Problem('image-not-found', `${text} has no digest in its own repository`)
  return `${wanted.written}:${wanted.tag ?? 'latest'}@${digest}`
}

/**
 * The full name of what a container runs: the name that it was made from, with that name's digest or else the image's. Where no registry is known to
 * have the image, its ID.
 */
export function fullName(
  { image: text, imageId }: Pick<Container, 'image' | 'imageId'>,
  image: Image | undefined,
): string {
  if (parseImage(text)?.digest !== undefined) return text
  return image !== undefined && digestOf(text, image.digests) !== undefined
    ? pinnedText(text, image)
    : imageId
}

/** Among `repository@digest` entries, the digest in the repository that the text names. */
export function digestOf(text: string, digests: readonly string[]): string | undefined {
  const { repository } = imageRef(text)
  return digests.map((entry) => parseImage(entry)).find((ref) => ref?.repository === repository)?.digest
}
