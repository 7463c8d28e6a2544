// The images of the engine, and the registries behind it: for a pull the docker CLI knows the host's logins and credential helpers.

import { imageRef } from '../../../shared/image.ts'
import type { Images } from '../../ports.ts'
import { isNotFound, isStatus } from './call.ts'
import { readImage } from './image.ts'
import { isPullable, pullImage } from './pull.ts'
import type { Client } from './client.ts'

export function dockerImages({ ask }: Client): Images {
  return {
    async image(ref, signal) {
      try {
        const found = await ask(signal, (docker) => docker.getImage(ref).inspect())
        return readImage(found)
      } catch (error) {
        if (isNotFound(error)) return undefined
        throw error
      }
    },

    async platform(signal) {
      const { Os, Arch } = await ask(signal, (docker) => docker.version())
      return `${Os}/${Arch}`
    },

    async tag(id, ref, signal) {
      const { written, tag } = imageRef(ref)
      await ask(signal, (docker) => docker.getImage(id).tag({ repo: written, tag: tag ?? 'latest' }))
    },

    pull: (ref, onProgress, signal) => pullImage(ref, onProgress, signal),
    isInRegistry: (digest, signal) => isPullable(digest, signal),

    async imagesInUse(signal) {
      const listed = await ask(signal, (docker) => docker.listContainers({ all: true }))
      return new Set(listed.map(({ ImageID }) => ImageID))
    },

    async untag(ref, signal) {
      try {
        await ask(signal, (docker) => docker.getImage(ref).remove())
        return true
      } catch (error) {
        if (isStatus(error, 404, 409)) return false
        throw error
      }
    },
  }
}
