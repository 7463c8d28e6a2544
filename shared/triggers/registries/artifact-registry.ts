// Google Artifact Registry, by its Pub/Sub topic `gcr` and a push subscription that authenticates as a service account.
// https://cloud.google.com/artifact-registry/docs/configure-notifications

import { z } from 'zod'
import { pushOf, reader, time, type Registry, type RegistryEvent } from './registry.ts'

const body = z.object({
  message: z.object({ data: z.base64(), messageId: z.string(), publishTime: time }),
})
const notification = z.object({ action: z.string(), tag: z.string().optional() })

export const artifactRegistry: Registry = {
  credential: 'google',
  read: reader(body, ({ message: { data, messageId: id, publishTime: at } }): readonly RegistryEvent[] => {
    const told = notification.safeParse(parsed(data)).data
    if (!told) return [{ ignored: 'the message is not a notification of Artifact Registry' }]
    if (told.action !== 'INSERT') return [{ ignored: 'not a push' }]
    // The tag is a whole reference: HOST/PROJECT/REPOSITORY/IMAGE:TAG.
    const [, repository, tag] = /^[^/]+\/(.+):([^:/]+)$/.exec(told.tag ?? '') ?? []
    return [pushOf({ repository: repository ?? '', tag, at, id })]
  }),
}

function parsed(base64: string): unknown {
  try {
    return JSON.parse(atob(base64))
  } catch {
    return undefined
  }
}
