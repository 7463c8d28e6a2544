// The CNCF's registry (`registry:2`, `registry:3`, GitLab's own one). It tells of pulls too, ours among them, and asks again for ever while
// it is not answered by 2xx. https://distribution.github.io/distribution/about/notifications/

import { z } from 'zod'
import { pushOf, reader, time, type Registry, type RegistryEvent } from './registry.ts'

const event = z.object({
  id: z.string().optional(),
  timestamp: time,
  action: z.string(),
  target: z.object({
    mediaType: z.string().optional(),
    repository: z.string().optional(),
    tag: z.string().optional(),
  }),
})
const envelope = z.object({ events: z.array(z.unknown()) })

const MANIFESTS = new Set([
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
])

const readEvent = reader(event, ({ id, timestamp: at, action, target }): RegistryEvent[] => {
  if (action !== 'push') return [{ ignored: 'not a push' }]
  if (!MANIFESTS.has(target.mediaType ?? '')) return [{ ignored: 'not a manifest' }]
  return [pushOf({ repository: target.repository, tag: target.tag, at, id })]
})

export const distribution: Registry = {
  credential: 'authorization',
  read: reader(envelope, ({ events }) => events.flatMap(readEvent)),
}
