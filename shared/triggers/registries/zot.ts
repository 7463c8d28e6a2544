// Zot: CloudEvents in the binary mode, whose attributes are headers. It tries once. https://zotregistry.dev/articles/events/

import { z } from 'zod'
import { pushOf, reader, time, type Registry } from './registry.ts'

const body = z.object({ name: z.string(), reference: z.string() })

export const zot: Registry = {
  credential: 'authorization',
  headers: ['ce-type', 'ce-id', 'ce-time'],
  read: (value, { 'ce-type': type, 'ce-id': id, 'ce-time': at }) =>
    type === 'zotregistry.image.updated'
      ? reader(body, ({ name: repository, reference: tag }) => [
          pushOf({ repository, tag, at: time.parse(at), id }),
        ])(value)
      : [{ ignored: 'not a push' }],
}
