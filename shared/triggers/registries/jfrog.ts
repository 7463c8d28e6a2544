// JFrog Artifactory: a webhook for Docker events whose secret signs the payload.
// https://jfrog.com/help/r/jfrog-platform-administration-documentation/webhooks

import { z } from 'zod'
import { pushOf, reader, type Registry, type RegistryEvent } from './registry.ts'

const body = z.object({
  domain: z.string(),
  event_type: z.string(),
  data: z.object({ repo_key: z.string(), image_name: z.string(), tag: z.string().optional() }),
})

export const jfrog: Registry = {
  credential: { header: 'x-jfrog-event-auth', prefix: '' },
  read: reader(body, ({ domain, event_type: type, data }): readonly RegistryEvent[] => {
    if (domain !== 'docker' || type !== 'pushed') return [{ ignored: 'not a push of an image' }]
    return [pushOf({ repository: `${data.repo_key}/${data.image_name}`, tag: data.tag })]
  }),
}
