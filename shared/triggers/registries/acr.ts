// Azure Container Registry: a webhook with a custom header. It tries once, for five seconds.
// https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference

import { z } from 'zod'
import { pushOf, reader, time, type Registry, type RegistryEvent } from './registry.ts'

const body = z.object({
  id: z.string().optional(),
  timestamp: time,
  action: z.string(),
  target: z.object({ repository: z.string().optional(), tag: z.string().optional() }).optional(),
})

export const acr: Registry = {
  credential: 'authorization',
  read: reader(body, ({ id, timestamp: at, action, target }): readonly RegistryEvent[] => {
    if (action === 'ping') return [{ ignored: 'a ping: the hook works' }]
    if (action !== 'push') return [{ ignored: 'not a push' }]
    return [pushOf({ repository: target?.repository, tag: target?.tag, at, id })]
  }),
}
