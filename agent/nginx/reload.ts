// A reload, and the proof that it took effect: by nginx's processes, since nginx itself says nothing.

import { Problem } from '../../shared/problems.ts'
import type { Clock } from '../ports.ts'
import { commandOf, isMaster } from './command.ts'
import type { Place } from './place.ts'

/** nginx needs about 0.15 s for a reload; one that takes this long was refused or hangs. */
export const RELOAD_MS_MAX = 30_000
/** When a reload takes longer than this, ten times what it needs, nginx is asked whether it refused. */
const RELOAD_CHECK_MS = 1_500
/** How often the worker processes are looked at during a reload. */
const RELOAD_POLL_MS = 5

/**
 * Reloads nginx. That is over when new workers run and each old one is gone or shutting down: before that, both configurations route. nginx checks
 * what it loads by itself, and keeps the old workers if it refuses; when no new ones come, `nginx -t` says why. Resolves with the pids of the
 * retiring workers. `file`: for a person. Throws `nginx-refused`, `nginx-reload-failed`, `nginx-not-running`.
 */
export async function reload(
  place: Place,
  clock: Clock,
  file: string,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const old = await workersIn(place, signal)
  const startedAt = clock.elapsed()
  let isChecked = false
  if (!(await place.hangUp(old.master, signal))) {
    const { exitCode, stderr } = await place.exec([...commandOf(old.master), '-s', 'reload'], signal)
    if (exitCode !== 0) throw new Problem('nginx-reload-failed', `nginx -s reload failed: ${stderr.trim()}`)
  }
  for (;;) {
    const { workers } = await workersIn(place, signal)
    const isOld = ({ pid }: Worker) => old.workers.some((worker) => worker.pid === pid)
    const remaining = workers.filter(isOld)
    const isNewThere = workers.some((worker) => !worker.isQuitting && !isOld(worker))
    if (isNewThere && remaining.every(({ isQuitting }) => isQuitting)) return remaining.map(({ pid }) => pid)
    const waitedMs = clock.elapsed() - startedAt
    if (waitedMs > RELOAD_CHECK_MS && !isChecked) {
      await checkAccepted(place, commandOf(old.master), file, signal)
      isChecked = true
    }
    if (waitedMs > RELOAD_MS_MAX)
      throw new Problem('nginx-reload-failed', `nginx did not reload within ${RELOAD_MS_MAX / 1000} s`, {
        log: await place.log(5, signal),
        cure: 'its log says why',
      })
    await clock.sleep(RELOAD_POLL_MS, signal)
  }
}

async function checkAccepted(
  place: Place,
  command: readonly string[],
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const { exitCode, stderr } = await place.exec([...command, '-t'], signal)
  if (exitCode === 0) return
  throw new Problem('nginx-refused', `nginx refuses ${file} as edited`, {
    log: stderr.trim().split('\n').slice(-5),
    cure: 'its message names the line',
  })
}

interface Worker {
  readonly pid: number
  readonly isQuitting: boolean
}

/** nginx's master process, and the workers of it. Throws `nginx-not-running`. */
export async function workersIn(place: Place, signal: AbortSignal) {
  const processes = await place.processes(signal)
  const masters = processes.filter(isMaster)
  const [master] = masters
  if (!master)
    throw new Problem('nginx-not-running', `${place.name} has no nginx master process`, {
      cure: `start it again with \`${place.startCommand}\``,
    })
  const isWorker = ({ parent, title }: (typeof processes)[number]) =>
    masters.some(({ pid }) => pid === parent) && title.startsWith('nginx: worker process')
  return {
    master,
    workers: processes
      .filter(isWorker)
      .map(({ pid, title }): Worker => ({ pid, isQuitting: title.includes('is shutting down') })),
  }
}
