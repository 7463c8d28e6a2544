// Following a deploy to its end, for `deploy`, `rollback`, `cancel` and `watch`.

import type { z } from 'zod'
import type { acceptedSchema } from '../../shared/api.ts'
import type { ToldEvent } from '../../shared/events.ts'
import { events } from './api/api.ts'
import type { Remote } from './access.ts'
import { EXIT, print, type Io } from './io.ts'
import { createProgress } from './progress.ts'

export interface FollowOptions {
  readonly json?: boolean | undefined
  readonly stack?: string | undefined
  /** The end that is a success. */
  readonly wanted?: 'succeeded' | 'cancelled'
}

/** What was asked for was accepted: shows how it goes, or, for --no-wait, which deploy it is. */
export async function followAccepted(
  access: Remote,
  accepted: z.infer<typeof acceptedSchema>,
  { json, stack, wait }: FollowOptions & { readonly wait: boolean },
  io: Io,
): Promise<number> {
  const { id } = accepted.deploy
  if (!wait) {
    print(io, json ? JSON.stringify(accepted) : id)
    return EXIT.success
  }
  if (accepted.agent === 'offline')
    io.stderr.write(`ropeway: the agent of ${access.host} is offline; deploy ${id} waits for it\n`)
  return follow(access, id, { json, stack }, io)
}

/** Shows every event; the exit code says whether the deploy ended as wanted. */
export async function follow(
  access: Remote,
  id: string,
  { json = false, stack, wanted = 'succeeded' }: FollowOptions,
  io: Io,
): Promise<number> {
  const progress = createProgress({ stdout: io.stdout, json, env: io.env })
  let last: ToldEvent | undefined
  try {
    const token = () => access.token({ scopes: ['read'], stack })
    for await (const event of events(access, id, token, io.signal)) {
      progress.show(event)
      last = event.event
    }
  } catch (error) {
    if (!io.signal.aborted) throw error
    progress.end()
    io.stderr.write(
      `ropeway: deploy ${id} goes on; \`ropeway watch ${id}\` follows it again, \`ropeway cancel ${id}\` ends it\n`,
    )
    return EXIT.failed
  } finally {
    progress.end()
  }
  return last?.type === wanted ? EXIT.success : EXIT.failed
}
