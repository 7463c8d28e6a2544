// Takes servers out of the upstream and puts others back: one edit, one reload, and proof that the reload took effect.

import { Problem } from '../../../shared/problems.ts'
import { missingIn, nginxTextWith, writeFile, type RollState } from '../context.ts'
import { failIfAnyStopped } from './await-healthy.ts'
import type { StepHandler } from './step.ts'

/** nginx needs about 0.15 s for a reload; one that takes this long was refused or hangs. */
const RELOAD_MS_MAX = 30_000
/** When a reload takes longer than this, ten times what it needs, nginx is asked whether it refused. */
const RELOAD_CHECK_MS = 1_500
/** How often the worker processes are looked at during a reload. */
const RELOAD_POLL_MS = 5

export const switchUpstream: StepHandler<'switch'> = {
  undone: 'by-plan',
  deadlineMs: () => RELOAD_MS_MAX + 30_000,
  isFinishedFirst: true,
  async do({ out, back }, { roll, signal }) {
    const next = new Set(roll.out)
    if (out !== undefined) next.add(out)
    if (back !== undefined) next.delete(back)
    const missing = missingIn(roll)
    const text = nginxTextWith(roll, next, missing)
    if (roll.isLoaded && text === roll.nginxText) return {}
    // Healthy a moment ago is not healthy now: a container that has died must not get traffic, nor can nginx resolve its name.
    await failIfAnyStopped(roll, next, signal)
    if (next.size === 0 && missing.size > 0) await loadIfPossible(roll, text, signal)
    else await load(roll, text, signal)
    roll.out.clear()
    for (const service of next) roll.out.add(service)
    return {}
  },
}

// The user's own text names what does not run, as before the roll. nginx cannot load it then, and goes on as it is: nobody is sent there.
async function loadIfPossible(roll: RollState, text: string, signal: AbortSignal): Promise<void> {
  try {
    await load(roll, text, signal)
  } catch (error) {
    if (!(error instanceof Problem) || !['nginx-refused', 'nginx-reload-failed'].includes(error.code))
      throw error
    await writeNginx(roll, text, signal)
    roll.isLoaded = true
  }
}

async function load(roll: RollState, text: string, signal: AbortSignal): Promise<void> {
  const before = roll.nginxText
  const wasLoaded = roll.isLoaded
  await writeNginx(roll, text, signal)
  try {
    await checkSeen(roll, signal)
    roll.isLoaded = false
    await reload(roll, signal)
    roll.isLoaded = true
  } catch (error) {
    // The file goes back to what nginx loaded before, whatever became of the signal. A refusal leaves nginx as it was.
    if (before !== roll.tornText) await writeNginx(roll, before, AbortSignal.timeout(RELOAD_MS_MAX))
    if (error instanceof Problem && ['nginx-stale', 'nginx-refused'].includes(error.code))
      roll.isLoaded = wasLoaded
    throw error
  }
}

async function writeNginx(roll: RollState, text: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const { hostPath, how } = roll.observed.proxy.file
  const current = await roll.ports.files.read(hostPath, 'bytes')
  if (current !== roll.nginxText && current !== text)
    throw new Problem('nginx-changed', `somebody else changed ${hostPath} during the roll`, {
      cure: 'see what they wrote, then deploy again',
    })
  const onWritten = () => {
    if (roll.nginxText !== text) roll.isLoaded = false
    roll.nginxText = text
  }
  if (current === text) onWritten()
  else await writeFile(roll.ports.files, hostPath, text, [how, 'bytes'], onWritten)
}

// nginx reloads a stale file without a word, so the bytes in the container are compared first.
async function checkSeen(roll: RollState, signal: AbortSignal): Promise<void> {
  const { file } = roll.observed.proxy
  if ((await roll.ports.engine.readFile(roll.proxy, file.path, signal)) === roll.nginxText) return
  throw new Problem('nginx-stale', `nginx does not see what was written to ${file.hostPath}`, {
    cure: `recreate service ${roll.proxy.service} so that it mounts the file anew`,
  })
}

// A reload is over when new workers run and each old one is gone or shutting down: before that, both configurations route. nginx
// checks what it loads by itself and keeps the old workers if it refuses; when no new ones come, `nginx -t` says why.
async function reload(roll: RollState, signal: AbortSignal): Promise<void> {
  const { engine, clock } = roll.ports
  const container = roll.proxy
  const old = await workersOf(roll, signal)
  const startedAt = clock.now()
  let isChecked = false
  if (old.isMasterFirst) await engine.hangUp(container.id, signal)
  else {
    const { exitCode, stderr } = await engine.exec(container.id, ['nginx', '-s', 'reload'], signal)
    if (exitCode !== 0) throw new Problem('nginx-reload-failed', `nginx -s reload failed: ${stderr.trim()}`)
  }
  for (;;) {
    const { workers } = await workersOf(roll, signal)
    const isOld = ({ pid }: { pid: number }) => old.workers.some((worker) => worker.pid === pid)
    const remaining = workers.filter(isOld)
    if (
      workers.some((worker) => !worker.isQuitting && !isOld(worker)) &&
      remaining.every(({ isQuitting }) => isQuitting)
    ) {
      roll.retiring = remaining.map(({ pid }) => pid)
      return
    }
    const waitedMs = clock.now() - startedAt
    if (waitedMs > RELOAD_CHECK_MS && !isChecked) {
      await checkAccepted(roll, signal)
      isChecked = true
    }
    if (waitedMs > RELOAD_MS_MAX)
      throw new Problem('nginx-reload-failed', `nginx did not reload within ${RELOAD_MS_MAX / 1000} s`, {
        log: await engine.logs(container.id, 5, signal),
        cure: 'its log says why',
      })
    await clock.sleep(RELOAD_POLL_MS, signal)
  }
}

async function checkAccepted(roll: RollState, signal: AbortSignal): Promise<void> {
  const { file } = roll.observed.proxy
  const { exitCode, stderr } = await roll.ports.engine.exec(roll.proxy.id, ['nginx', '-t'], signal)
  if (exitCode === 0) return
  throw new Problem('nginx-refused', `nginx refuses ${file.hostPath} as edited`, {
    log: stderr.trim().split('\n').slice(-5),
    cure: 'its message names the line',
  })
}

interface Workers {
  readonly workers: readonly { pid: number; isQuitting: boolean }[]
  /** Whether nginx's master is the container's PID 1, so that a signal to the container reaches it. */
  readonly isMasterFirst: boolean
}

async function workersOf(roll: RollState, signal: AbortSignal): Promise<Workers> {
  const container = roll.proxy
  const processes = await roll.ports.engine.processes(container, signal)
  const masters = processes.filter(({ title }) => title.startsWith('nginx: master process'))
  const [master] = masters
  if (!master)
    throw new Problem('nginx-not-running', `service ${container.service} has no nginx master process`, {
      cure: `start it again with \`docker compose up -d ${container.service}\``,
    })
  return {
    workers: processes
      .filter(
        ({ parent, title }) =>
          masters.some(({ pid }) => pid === parent) && title.startsWith('nginx: worker process'),
      )
      .map(({ pid, title }) => ({ pid, isQuitting: title.includes('is shutting down') })),
    isMasterFirst: master.pid === container.pid,
  }
}

/** The pids of former workers that still run. */
export async function stillRetiring(roll: RollState, signal: AbortSignal): Promise<number[]> {
  if (roll.retiring.length === 0) return []
  const { workers } = await workersOf(roll, signal)
  return workers.filter(({ pid }) => roll.retiring.includes(pid)).map(({ pid }) => pid)
}
