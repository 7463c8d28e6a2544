// Gitea and Forgejo: a webhook for package events. Without a secret they send an empty signature.
// https://docs.gitea.com/usage/webhooks

import { z } from 'zod'
import { pushOf, reader, time, type Registry, type RegistryEvent } from './registry.ts'

const body = z.object({
  action: z.string(),
  package: z.object({
    type: z.string(),
    name: z.string(),
    version: z.string(),
    owner: z.object({ login: z.string() }),
    created_at: time,
  }),
})

export const gitea: Registry = {
  credential: { header: 'x-gitea-signature', prefix: '' },
  read: reader(body, ({ action, package: told }): readonly RegistryEvent[] => {
    if (action !== 'created') return [{ ignored: 'not a push' }]
    if (told.type !== 'container') return [{ ignored: 'not a container image' }]
    const repository = `${told.owner.login}/${told.name}`.toLowerCase()
    return [pushOf({ repository, tag: told.version, at: told.created_at })]
  }),
}
