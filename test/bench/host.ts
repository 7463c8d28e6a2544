// A relay and an enrolled host as a user has them: the real commands, in processes of their own, in a folder of the benchmark's.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { LIMIT_VARS } from '../../agent/relay/relay.ts'
import { buildWorker } from '../build.ts'
import { atEnd } from './lifetime.ts'

const ROOT = join(import.meta.dirname, '../..')
export const MAIN = join(ROOT, 'agent/main.ts')
export const SECRET = `whsec_${btoa('only for this benchmark!')}`
/** Nothing that is started here takes longer, on however busy a machine. */
const READY_MS_MAX = 60_000
/** An agent ends its rolls and sends its last events first. */
const STOP_MS_MAX = 10_000

export interface Running {
  readonly child: ChildProcess
  /** The line that said that it is ready, and when that was. */
  readonly ready: string
  readonly readyMs: number
  stop(): Promise<void>
}

/** Starts a program with this Node and waits for a line of its output that matches. */
export async function startNode(
  args: readonly string[],
  ready: RegExp,
  env: NodeJS.ProcessEnv = {},
): Promise<Running> {
  return await startProgram(process.execPath, args, ready, env)
}

/** Without a line to wait for, it counts as ready at once. */
export async function startProgram(
  program: string,
  args: readonly string[],
  ready?: RegExp,
  env: NodeJS.ProcessEnv = {},
): Promise<Running> {
  const startedAt = performance.now()
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const said: string[] = []
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
    child.kill()
    await once(child, 'exit')
    clearTimeout(timer)
  }
  atEnd(stop)
  const line = await new Promise<string>((resolve, reject) => {
    const fail = (why: string) =>
      reject(new Error(`${program} ${args.join(' ')} ${why}:\n${said.slice(-10).join('\n')}`))
    const timer = setTimeout(() => fail('was not ready in time'), READY_MS_MAX).unref()
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream as NodeJS.ReadableStream }).on('line', (text) => {
        said.push(text)
        if (!ready?.test(text)) return
        clearTimeout(timer)
        resolve(text)
      })
    child.on('error', reject)
    if (!ready) child.on('spawn', () => resolve(''))
    child.on('exit', () => fail('ended'))
  })
  return { child, ready: line, readyMs: performance.now() - startedAt, stop }
}

export interface Host {
  readonly relay: string
  readonly folder: string
  /** For the agent's command line, and its environment. */
  readonly options: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

/** Starts a relay and enrolls a host with one stack, `hello`, whose compose file this is. */
export async function startHost(compose?: string, project = 'bench'): Promise<Host> {
  const folder = await mkdtemp('/tmp/ropeway-bench-host-')
  atEnd(() => rm(folder, { recursive: true, force: true }))
  await buildWorker()
  const env = {
    ROPEWAY_ENROLL_KEY: 'only-for-this-benchmark',
    BENCH_SECRET: SECRET,
    // What is measured is the way, not the gate before it.
    ...Object.fromEntries(Object.values(LIMIT_VARS).map((name) => [name, '1000000'])),
  }
  const data = ['--data', join(folder, 'relay')]
  const started = await startNode([MAIN, 'relay', '--port', '0', ...data], /^relay listening on /, env)
  const relay = started.ready.replace('relay listening on ', '')

  const path = join(folder, 'ropeway.yml')
  if (compose === undefined) await writeFile(join(folder, 'docker-compose.yml'), 'services: {}\n')
  await writeFile(
    path,
    `relay: ${relay}
host: bench
stacks:
  hello:
    compose: ${compose ?? './docker-compose.yml'}
    project: ${project}
    allow: { env: [MESSAGE] }
    triggers: { deploy: { type: standard-webhooks, secret: { env: BENCH_SECRET } } }
`,
  )
  const options = ['--config', path, '--data', join(folder, 'agent')]
  await startNode([MAIN, 'enroll', ...options], /enrolled/, env)
  return { relay, folder, options, env }
}
