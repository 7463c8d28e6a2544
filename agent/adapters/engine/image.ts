// An image as the roll needs it, out of what the engine says of one.

import type Docker from 'dockerode'
import { parseImage } from '../../../shared/image.ts'
import type { Image } from '../../ports.ts'

/** Said of an image in a containerd image store, by Docker 29.2 and newer: the repositories that it was pulled from or pushed to. */
interface WithIdentity {
  readonly Identity?: { readonly Pull?: readonly { readonly Repository?: string }[] | null } | null
}

export function readImage(inspected: Docker.ImageInspectInfo): Image {
  const { Id, RepoDigests, RepoTags, Os, Architecture } = inspected
  const { Identity } = inspected as WithIdentity
  const named: readonly string[] = RepoDigests ?? []
  const image = { id: Id, tags: RepoTags ?? [], platform: `${Os}/${Architecture}` }
  // A containerd image store calls an image by its digest, and every name of it has that one, whoever gave the name.
  const isOfName = (entry: string) => parseImage(entry)?.digest === Id
  if (!Identity) {
    return {
      ...image,
      digests: named.filter((entry) => !isOfName(entry)),
      unproven: named.filter(isOfName),
    }
  }
  const origins = (Identity.Pull ?? []).map(({ Repository }) => parseImage(Repository ?? '')?.repository)
  const isFromThere = (entry: string) => origins.includes(parseImage(entry)?.repository)
  return { ...image, digests: named.filter(isFromThere), unproven: [] }
}
