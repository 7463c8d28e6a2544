// One call to the engine: how it is waited for, and what its failures mean.

import { Problem } from '../../../shared/problems.ts'

/** No socket, nobody behind it, not ours to use; an engine that ended while it was asked, or in the middle of its answer. */
const UNREACHABLE: readonly unknown[] = [
  'ENOENT',
  'ECONNREFUSED',
  'EACCES',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
]

/** dockerode takes no signal everywhere: the wait ends at once, the request by itself. An engine that is away is an operational failure. */
export async function call<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
  signal.throwIfAborted() // what nobody waits for is not asked: it may stop a container
  const promise = ask()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } catch (error) {
    if (signal.aborted || !(error instanceof Error && 'code' in error && UNREACHABLE.includes(error.code)))
      throw error
    throw new Problem('engine-unreachable', `the Docker engine does not answer (${String(error.code)})`, {
      cure: 'check that Docker runs and that this user may use it',
      cause: error,
    })
  } finally {
    signal.removeEventListener('abort', onAbort)
    promise.catch(() => {})
    aborted.promise.catch(() => {})
  }
}

export function isNotFound(error: unknown): boolean {
  return isStatus(error, 404)
}

/** Whether the engine answered, with one of these statuses. */
export function isStatus(error: unknown, ...statuses: readonly number[]): boolean {
  return error instanceof Error && 'statusCode' in error && statuses.includes(Number(error.statusCode))
}

/** Why a container could not be changed: what the engine answered, in its own words. Anything else is what it was. */
export function containerProblem(error: unknown, id: string, what: string): unknown {
  if (isNotFound(error))
    return new Problem('container-missing', `there is no container ${id}`, { cause: error })
  if (!(error instanceof Error && 'statusCode' in error)) return error
  return new Problem('compose-failed', `container ${id} could not be ${what}: ${error.message}`, {
    cause: error,
  })
}

/** Why nothing could be run in a container, or sent to its process: it does not run. */
export function stoppedProblem(error: unknown, id: string): unknown {
  if (isStatus(error, 404, 409))
    return new Problem('container-exited', `container ${id} does not run`, { cause: error })
  return error
}
