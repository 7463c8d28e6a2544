// The real thing for end-to-end tests: `ropeway relay`, `enroll` and `agent` as processes of their own, told what to do as users tell
// them. What is still alive at the end, and an agent that did not end well, is a failure.

import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { events as followEvents } from '../../agent/cli/api/api.ts'
import { eventsSchema } from '../../shared/api.ts'
import { isFinal, nextStatus } from '../../shared/deploy.ts'
import { deployId } from '../../shared/deploy-id.ts'
import type { Facts, LoggedEvent, ToldEvent } from '../../shared/events.ts'
import type { ToldStep } from '../../shared/plan.ts'
import type { ProblemReport } from '../../shared/problems.ts'
import { sendHook, type HookAnswer, type HookOptions } from './hook.ts'
import { nginxLogs, until } from './stack.ts'
import { freePort } from './port.ts'

const MAIN = join(import.meta.dirname, '../../agent/main.ts')
/** Against hanging only: a relay needs a second, an agent half of one; on a machine under load many. */
const READY_MS_MAX = 90_000
const END_MS_MAX = 30_000
export const HOST = 'vps-1'

export interface RopewayOptions {
  /** By its name, what ropeway.yml says of each stack; its trigger is added. */
  readonly stacks: Readonly<Record<string, object>>
  /** Everybody reaches the relay by this port: something of the test's own stands between. By default the relay's own. */
  readonly throughPort?: (relayPort: number) => Promise<number>
  /** Added to the environment of its processes. */
  readonly env?: Readonly<Record<string, string>>
  /** Called with each line that an agent prints, the moment it comes. */
  readonly onAgentLine?: (line: string) => void
}

export interface CliResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** How a step went, put together from its events. */
export interface StepRun {
  readonly step: ToldStep
  readonly isUndo: boolean
  readonly startedAt: number
  finishedAt?: number
  facts?: Facts
  problem?: ProblemReport
}

export interface Ropeway {
  /** The origin that everybody is told. */
  readonly url: string
  readonly folder: string
  readonly config: string
  /** What signs a stack's hooks: no two have the same. */
  secretOf(stack: string): string
  /** Signs and posts a request to a stack's trigger. */
  hook(stack: string, body: object | string, options?: HookOptions): Promise<HookAnswer>
  /** As `hook`, for one that must be accepted; its deploy's id. */
  deploy(stack: string, body: object | string): Promise<string>
  /** Follows a deploy to its end, and sees that the log which the relay keeps is the same. */
  outcome(id: string): Promise<LoggedEvent[]>
  /** `deploy` and `outcome`. */
  roll(stack: string, body: object | string): Promise<LoggedEvent[]>
  /** Waits until a step of a deploy has begun. Fails when the deploy ends without it. */
  reached(id: string, isIt: (step: ToldStep) => boolean): Promise<void>
  /** The deploy's events as the relay has them now. */
  eventsNow(id: string): Promise<LoggedEvent[]>
  /** The ids of all deploys of a stack, the latest first. */
  deploys(stack: string): Promise<string[]>
  get(path: string): Promise<unknown>
  cli(args: readonly string[], env?: Record<string, string>): Promise<CliResult>
  startRelay(): Promise<void>
  startAgent(): Promise<void>
  stopAgent(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /**
   * SIGKILL before this returns its promise: with all that the agent has started, or alone, so that a compose call of its lives on.
   * Resolves when it is gone, with its process group.
   */
  killAgent(how: 'group' | 'alone'): Promise<number>
  /** The relay's process and the workerd below it, at once, as a power cut would. */
  killRelay(): Promise<void>
  /** Prints what the processes and every stack's nginx said, when the test that has just ended failed. */
  explain(context: { task: { result?: { state: string } | undefined } }): Promise<void>
  stop(): Promise<void>
}

/** Most tests are of something else than how long an instance must be well. */
const QUICK = { interval: '100ms', successes: 2 }

export async function startRopeway(options: RopewayOptions): Promise<Ropeway> {
  const folder = await mkdtemp('/tmp/ropeway-run-')
  const config = join(folder, 'ropeway.yml')
  const data = join(folder, 'agent')
  const relayPort = await freePort()
  const url = `http://127.0.0.1:${(await options.throughPort?.(relayPort)) ?? relayPort}`
  const secrets = Object.fromEntries(
    Object.keys(options.stacks).map((name) => [
      secretName(name),
      `whsec_${randomBytes(32).toString('base64')}`,
    ]),
  )
  const secretOf = (stack: string) => secrets[secretName(stack)] ?? ''
  const env = {
    ...process.env,
    ROPEWAY_ENROLL_KEY: randomBytes(16).toString('hex'),
    ...secrets,
    ...options.env,
  }
  const stacks = Object.entries(options.stacks).map(([name, stack]) => {
    const triggers = { deploy: { type: 'standard-webhooks', secret: { env: secretName(name) } } }
    return [
      name,
      { triggers, ...stack, health: { ...QUICK, ...('health' in stack ? (stack.health as object) : {}) } },
    ]
  })
  // JSON is YAML.
  await writeFile(
    config,
    JSON.stringify({ relay: url, host: HOST, stacks: Object.fromEntries(stacks) }, null, 2),
  )

  const log: string[] = []
  const ours = new Set<Child>()
  const start = (name: string, args: readonly string[], onLine?: (line: string) => void) => {
    const child = new Child(name, args, { env, log, onLine })
    ours.add(child)
    return child
  }
  const end = async (child: Child | undefined, signal: 'SIGTERM' | 'SIGKILL') => {
    if (!child) return
    await child.end(signal)
    ours.delete(child)
  }

  let relay: Child | undefined
  let agent: Child | undefined
  const cli = async (args: readonly string[], extra: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [MAIN, ...args, '--config', config, '--data', data], {
      env: { ...env, ...extra },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const texts = [child.stdout, child.stderr].map(async (stream) =>
      Buffer.concat(await Array.fromAsync<Buffer>(stream)).toString('utf8'),
    )
    const [exitCode] = (await once(child, 'exit')) as [number]
    const [stdout = '', stderr = ''] = await Promise.all(texts)
    return { exitCode, stdout, stderr }
  }

  let readToken: string | undefined
  const token = async () => (readToken ??= (await cli(['token', '--ttl', '1h'])).stdout.trim())
  const get = async (path: string) => {
    const response = await fetch(`${url}/v1/hosts/${HOST}${path}`, {
      headers: { authorization: `Bearer ${await token()}`, accept: 'application/json' },
    })
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`)
    return await response.json()
  }
  const follow = (id: string, signal = AbortSignal.timeout(150_000)) =>
    followEvents({ relay: url, host: HOST }, id, token, signal)
  const eventsNow = async (id: string) => [...eventsSchema.parse(await get(`/deploys/${id}/events`)).events]
  const outcome = async (id: string) => {
    const events = await Array.fromAsync(follow(id))
    const stored = await eventsNow(id)
    if (JSON.stringify(stored) !== JSON.stringify(events))
      throw new Error(`the stream and the log differ:\n${JSON.stringify(events)}\n${JSON.stringify(stored)}`)
    if (events.some(({ seq }, index) => seq !== index + 1))
      throw new Error(`events with gaps or twice: ${events.map(({ seq }) => seq).join()}`)
    return events
  }
  const hook: Ropeway['hook'] = (stack, body, hookOptions) =>
    sendHook(`${url}/hooks/${HOST}/${stack}/deploy`, secretOf(stack), body, hookOptions)
  const deploy: Ropeway['deploy'] = async (stack, body) => {
    const answer = await hook(stack, body)
    if (answer.status !== 202)
      throw new Error(`not accepted: ${answer.status} ${JSON.stringify(answer.body)}`)
    return String(answer.body.deploy.id)
  }

  const ropeway: Ropeway = {
    url,
    folder,
    config,
    secretOf,
    hook,
    deploy,
    outcome,
    roll: async (stack, body) => await outcome(await deploy(stack, body)),
    reached: async (id, isIt) => {
      const seen: LoggedEvent[] = []
      for await (const event of follow(id)) {
        seen.push(event)
        if (stepsOf(seen).some(({ step }) => isIt(step))) return
      }
      throw new Error(`the deploy ended before that step: ${JSON.stringify(seen.at(-1)?.event)}`)
    },
    eventsNow,
    deploys: async (stack) => {
      const { deploys } = (await get(`/deploys?stack=${stack}&limit=100`)) as { deploys: { id: string }[] }
      return deploys.map(({ id }) => id)
    },
    get,
    cli,
    async startRelay() {
      const args = ['relay', '--port', String(relayPort), '--data', join(folder, 'relay'), '--url', url]
      relay = start('relay', args)
      await relay.said('relay listening on ')
    },
    async startAgent() {
      agent = start('agent', ['agent', '--config', config, '--data', data], options.onAgentLine)
      await agent.said(`agent connected to ${url} as ${HOST}`)
    },
    async stopAgent(signal = 'SIGTERM') {
      await end(agent, signal)
      agent = undefined
    },
    async killAgent(how) {
      const child = agent
      if (!child) throw new Error('there is no agent to kill')
      agent = undefined
      ours.delete(child)
      return await child.kill(how)
    },
    async killRelay() {
      await end(relay, 'SIGKILL')
      relay = undefined
    },
    async explain({ task }) {
      const said = log.splice(0).slice(-200).join('\n')
      if (task.result?.state === 'fail') console.error(`${said}\n${await nginxLogs()}`)
    },
    async stop() {
      const faults: unknown[] = []
      for (const child of [agent, relay])
        await end(child, 'SIGTERM').catch((error: unknown) => faults.push(error))
      for (const child of ours) {
        faults.push(new Error(`${child.name} was left running`))
        await child.end('SIGKILL')
      }
      await rm(folder, { recursive: true, force: true })
      if (faults.length > 0)
        throw new AggregateError(faults, `not a clean end:\n${log.slice(-50).join('\n')}`)
    },
  }
  try {
    await ropeway.startRelay()
    const { exitCode, stderr } = await cli(['enroll'])
    if (exitCode !== 0) throw new Error(`enroll failed: ${stderr}`)
    await ropeway.startAgent()
    return ropeway
  } catch (error) {
    console.error(log.join('\n'))
    await ropeway.stop().catch(() => {})
    throw error
  }
}

/** The environment variable with a stack's secret. */
export function secretName(stack: string): string {
  return `HOOK_SECRET_${stack.toUpperCase().replaceAll('-', '_')}`
}

/** Every step that was begun, in order: those of the plan, of an undo, of what a recovery did. */
export function stepsOf(events: readonly LoggedEvent[]): StepRun[] {
  const runs: StepRun[] = []
  let byIndex = new Map<number, StepRun>()
  let steps: ToldStep[] = []
  let undoFrom = Infinity
  for (const { at, event } of events) {
    if (event.type === 'planned') {
      // A roll that begins again counts its steps anew.
      steps = [...event.plan.steps]
      undoFrom = Infinity
      byIndex = new Map()
    }
    if (event.type === 'undoing') undoFrom = Math.min(undoFrom, steps.length)
    if (event.type === 'undoing' || event.type === 'resuming') steps = [...steps, ...event.steps]
    if (event.type === 'step-started') {
      const step = steps[event.step]
      if (!step) continue
      const run = { step, isUndo: event.step >= undoFrom, startedAt: at }
      runs.push(run)
      byIndex.set(event.step, run)
    }
    const run = 'step' in event ? byIndex.get(Number(event.step)) : undefined
    if (run && event.type === 'step-finished') Object.assign(run, { finishedAt: at, facts: event.facts })
    if (run && event.type === 'step-failed') Object.assign(run, { finishedAt: at, problem: event.problem })
  }
  return runs
}

export function finalOf(events: readonly LoggedEvent[]): ToldEvent {
  const last = events.at(-1)?.event
  if (!last || !isFinal(nextStatus('running', last))) throw new Error('the deploy has not ended')
  return last
}

/** The id that a webhook's deploy has, by the sender's own id. */
export function idOfHook(stack: string, eventId: string): Promise<string> {
  return deployId(HOST, stack, 'deploy', eventId)
}

/** A process in a group of its own, so that nothing below it is missed at the end. */
class Child {
  readonly name: string
  readonly #process: ChildProcess
  readonly #lines: string[] = []
  readonly #exited: Promise<unknown>

  constructor(
    name: string,
    args: readonly string[],
    {
      env,
      log,
      onLine,
    }: { env: NodeJS.ProcessEnv; log: string[]; onLine?: ((line: string) => void) | undefined },
  ) {
    this.name = name
    this.#process = spawn(process.execPath, [MAIN, ...args], {
      env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#exited = once(this.#process, 'exit')
    for (const stream of [this.#process.stdout, this.#process.stderr])
      if (stream)
        createInterface({ input: stream }).on('line', (line) => {
          this.#lines.push(line)
          log.push(`[${name}] ${line}`)
          onLine?.(line)
        })
  }

  async said(text: string): Promise<void> {
    await until(
      () => {
        if (this.#hasExited()) throw new Error(`${this.name} has ended: ${this.#lines.join('\n')}`)
        return this.#lines.some((line) => line.startsWith(text))
      },
      `${this.name} says ${JSON.stringify(text)}`,
      READY_MS_MAX,
    )
  }

  /** SIGTERM asks the process alone, which must end by itself and take its children along; SIGKILL ends the whole group. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const pid = this.#process.pid ?? 0
    if (this.#hasExited())
      throw new Error(`${this.name} had ended by itself:\n${this.#lines.slice(-20).join('\n')}`)
    process.kill(signal === 'SIGKILL' ? -pid : pid, signal)
    await until(
      () => this.#hasExited() && !isGroupAlive(pid),
      `${this.name} ends after ${signal}`,
      END_MS_MAX,
    )
    await this.#exited
    const { exitCode, signalCode } = this.#process
    if (signal === 'SIGTERM' && exitCode !== 0)
      throw new Error(
        `${this.name} ended with ${exitCode ?? signalCode}:\n${this.#lines.slice(-20).join('\n')}`,
      )
  }

  async kill(how: 'group' | 'alone'): Promise<number> {
    const pid = this.#process.pid ?? 0
    if (this.#hasExited())
      throw new Error(`${this.name} had ended by itself:\n${this.#lines.slice(-20).join('\n')}`)
    process.kill(how === 'group' ? -pid : pid, 'SIGKILL')
    await this.#exited
    if (how === 'group') await until(() => !isGroupAlive(pid), `all of ${this.name} ends`, END_MS_MAX)
    return pid
  }

  #hasExited(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null
  }
}

function isGroupAlive(pid: number): boolean {
  try {
    process.kill(-pid, 0)
    return true
  } catch {
    return false
  }
}
