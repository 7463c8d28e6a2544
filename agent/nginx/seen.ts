// What nginx's driver keeps of an nginx for itself. Plain JSON.

import { z } from 'zod'
import type { Container } from '../ports.ts'
import type { ProxySeen } from '../roll/proxy.ts'
import type { NginxSettings } from './config/settings.ts'
import type { Upstream, UpstreamServer } from './config/upstream.ts'

export interface NginxSeen {
  readonly container: Container
  readonly upstream: Pick<Upstream, 'name'>
  readonly settings: NginxSettings
  /** The file with the upstream: on the host, as nginx sees it, one character a byte, and how it must be written. */
  readonly file: {
    readonly hostPath: string
    readonly path: string
    readonly text: string
    readonly how: 'in-place' | 'rename'
  }
  /** The upstream's servers, by the name of the member that they are. */
  readonly servers: Readonly<Record<string, readonly UpstreamServer[]>>
}

// Fields that are left out here are trusted as they were written: this host itself keeps them.
const schema = z
  .looseObject({
    container: z.looseObject({ id: z.string(), service: z.string() }),
    upstream: z.looseObject({ name: z.string() }),
    settings: z.looseObject({}),
    file: z.object({
      hostPath: z.string(),
      path: z.string(),
      text: z.string(),
      how: z.enum(['in-place', 'rename']),
    }),
    servers: z.record(z.string(), z.array(z.looseObject({ address: z.string() }))),
  })
  .transform((own) => own as unknown as NginxSeen)

/** The driver's own part of what it saw. Throws a ZodError for anything else. */
export function ownOf({ own }: ProxySeen): NginxSeen {
  return schema.parse(own)
}
