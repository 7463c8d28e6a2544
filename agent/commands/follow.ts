// Following a deploy to its end, for `deploy` and `watch`.

import type { DeployEvent } from '../../shared/events.ts'
import { events } from '../api/api.ts'
import type { Remote } from './access.ts'
import { EXIT, type Io } from './io.ts'
import { createProgress } from './progress.ts'

/** Shows every event; the exit code says whether the deploy succeeded. */
export async function follow(
  access: Remote,
  id: string,
  { json = false, stack }: { json?: boolean | undefined; stack?: string | undefined },
  io: Io,
): Promise<number> {
  const progress = createProgress({ stdout: io.stdout, json, env: io.env })
  let last: DeployEvent | undefined
  try {
    const token = () => access.token({ scopes: ['read'], stack })
    for await (const event of events(access, id, token, io.signal)) {
      progress.show(event)
      last = event.event
    }
  } catch (error) {
    if (!io.signal.aborted) throw error
    progress.end()
    io.stderr.write(`ropeway: deploy ${id} goes on; \`ropeway watch ${id}\` follows it again\n`)
    return EXIT.failed
  } finally {
    progress.end()
  }
  return last?.type === 'succeeded' ? EXIT.success : EXIT.failed
}
