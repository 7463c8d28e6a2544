// Harbor, in both of its formats: its own and CloudEvents.
// https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/

import { z } from 'zod'
import { pushOf, reader, time, type Registry, type RegistryEvent } from './registry.ts'

const event = z.object({
  resources: z.array(z.object({ tag: z.string().optional() })),
  repository: z.object({ repo_full_name: z.string() }),
})
const body = z.union([
  z
    .object({ type: z.string(), occur_at: time, operator: z.string().optional(), event_data: event })
    .transform(({ occur_at: at, event_data: data, ...rest }) => ({ ...rest, at, data, id: undefined })),
  z
    .object({ type: z.string(), id: z.string(), time, operator: z.string().optional(), data: event })
    .transform(({ time: at, ...rest }) => ({ ...rest, at })),
])

const PUSHES = new Set(['PUSH_ARTIFACT', 'pushImage', 'harbor.artifact.pushed'])
/** Who pushes when Harbor fills its cache for a pull. Nothing new was pushed then. */
const PROXY_CACHE = 'harbor#proxy-cache-service'

export const harbor: Registry = {
  credential: 'authorization',
  read: reader(
    body,
    ({ type, at, id, operator, data: { repository, resources } }): readonly RegistryEvent[] => {
      if (!PUSHES.has(type)) return [{ ignored: 'not a push' }]
      if (operator === PROXY_CACHE) return [{ ignored: 'a pull through the proxy cache' }]
      return resources.map(({ tag }) =>
        pushOf({
          repository: repository.repo_full_name,
          tag,
          at,
          id: id === undefined ? undefined : `${id} ${tag}`,
        }),
      )
    },
  ),
}
