// Quay. It signs nothing and names neither digest nor time, so two pushes of one tag look alike. The secret is the last part of the address.
// https://docs.quay.io/guides/notifications.html

import { z } from 'zod'
import { pushOf, reader, type Registry } from './registry.ts'

const body = z.object({ docker_url: z.string(), updated_tags: z.array(z.string()) })

export const quay: Registry = {
  credential: 'path',
  read: reader(body, ({ docker_url: url, updated_tags: tags }) =>
    tags.map((tag) => pushOf({ repository: url.slice(url.indexOf('/') + 1), tag })),
  ),
}
