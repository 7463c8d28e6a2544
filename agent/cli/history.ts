// `ropeway history STACK`: its releases, newest first.

import { releases } from './api/api.ts'
import { remote } from './access.ts'
import { EXIT, print, type Io, type RemoteOptions } from './io.ts'
import { releaseTable } from './releases.ts'

/** A screenful. */
const SHOWN_MAX = 20

export async function run(stack: string, options: RemoteOptions, io: Io): Promise<number> {
  const access = await remote(options, io)
  access.checkStack(stack)
  const token = await access.token({ scopes: ['read'], stack })
  const found = await releases(access, { stack, limit: SHOWN_MAX }, token, io.signal)
  if (options.json) print(io, JSON.stringify({ releases: found }))
  else if (found.length === 0)
    print(io, `no release of ${stack} is known: a deploy that changes it makes one`)
  else for (const line of releaseTable(found)) print(io, line)
  return EXIT.success
}
