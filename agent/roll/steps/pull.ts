// Gets the wanted image and pins it, before any traffic moves: by digest, or by ID where it exists on this host only.

import { imageRef, parseImage } from '../../../shared/image.ts'
import { Problem } from '../../../shared/problems.ts'
import type { Image } from '../../ports.ts'
import type { StepHandler } from './index.ts'

/** Large images on slow lines take minutes; a pull that takes longer hangs. */
const PULL_MS_MAX = 15 * 60_000

export const pull: StepHandler<'pull'> = {
  deadlineMs: () => PULL_MS_MAX,
  async do({ image: text }, { roll, report, signal }) {
    const { engine } = roll.ports
    const { digest } = imageRef(text)
    const local = await engine.image(text, signal)
    // An image without a digest of its repository was built or named here: what that name means in a registry is somebody else's.
    const isHostOnly = local !== undefined && digestOf(text, local) === undefined
    const isThere = local !== undefined && (isHostOnly || digest !== undefined)
    if (!isThere) await engine.pull(text, (progress) => report({ ...progress }), signal)
    const image = isThere ? local : await engine.image(text, signal)
    if (!image) throw new Problem('image-not-found', `${text} is not on the host after its pull`)
    const pinned = isHostOnly ? image.id : pinnedText(text, image)
    roll.image = { ...image, text: pinned }
    return { pinned }
  },
}

function pinnedText(text: string, image: Image): string {
  const wanted = imageRef(text)
  if (wanted.digest !== undefined) return text
  const digest = digestOf(text, image)
  if (digest === undefined)
    throw new Problem('image-not-found', `${text} has no digest in its own repository`)
  return `${wanted.written}:${wanted.tag ?? 'latest'}@${digest}`
}

/** The image's digest in the repository that the text names. */
function digestOf(text: string, image: Image): string | undefined {
  const { repository } = imageRef(text)
  return image.digests.map((entry) => parseImage(entry)).find((ref) => ref?.repository === repository)?.digest
}
