// GitHub's container registry, by the events `package` (a repository's or an organisation's webhook) and `registry_package` (an app's). There
// is an event for each manifest: an image for two platforms has three, and two of them have no tag.
// https://docs.github.com/webhooks/webhook-events-and-payloads#package

import { z } from 'zod'
import { pushOf, reader, time, type Registry, type RegistryEvent } from './registry.ts'

const published = z.object({
  name: z.string(),
  namespace: z.string().nullish(),
  package_type: z.string(),
  package_version: z.object({
    package_url: z.string().nullish(),
    updated_at: time,
    created_at: time,
    container_metadata: z.object({ tag: z.object({ name: z.string().nullish() }).nullish() }).nullish(),
  }),
})
const body = z.object({
  action: z.string(),
  package: published.optional(),
  registry_package: published.optional(),
})

export const ghcr: Registry = {
  credential: { header: 'x-hub-signature-256', prefix: 'sha256=' },
  headers: ['x-github-event'],
  read: (value, headers) =>
    headers['x-github-event'] === 'ping' ? [{ ignored: 'a ping: the hook works' }] : read(value),
}

const read = reader(body, (event) => [tell(event)])

function tell({
  action,
  package: ofRepository,
  registry_package: ofApp,
}: z.infer<typeof body>): RegistryEvent {
  const told = ofRepository ?? ofApp
  if (!told || (action !== 'published' && action !== 'updated')) return { ignored: 'not a push' }
  if (!/^(?:container|docker)$/i.test(told.package_type)) return { ignored: 'not a container image' }
  const {
    package_url: url,
    container_metadata: of,
    updated_at: at,
    created_at: createdAt,
  } = told.package_version
  // The owner's name may have capitals here, which a reference cannot have. Without a tag the address ends in a colon.
  const path = /^[^/]+\/([^:@]+)/.exec(url ?? '')?.[1] ?? `${told.namespace ?? ''}/${told.name}`
  return pushOf({ repository: path.toLowerCase(), tag: of?.tag?.name ?? undefined, at: at ?? createdAt })
}
