// A relay and an agent as processes of their own, and a sender that never gives up. What is still alive at the end, and a process that did
// not end well, is a failure.

import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestContext } from 'vitest'
import { deploySchema, deploysSchema, eventsSchema, hostSchema, stackSchema } from '../../shared/api.ts'
import type { Deploy } from '../../shared/deploy.ts'
import { deployId } from '../../shared/deploy-id.ts'
import type { LoggedEvent } from '../../shared/events.ts'
import { signStandardWebhook } from '../../shared/triggers/standard-webhooks.ts'
import { startProxy, type Proxy } from '../support/proxy.ts'
import { Process } from './process.ts'
import { SEED, seeded } from '../support/random.ts'
import { freePort } from '../support/port.ts'

const ROOT = join(import.meta.dirname, '../..')
const MAIN = join(ROOT, 'agent/main.ts')
const SCRIPTED_AGENT = join(import.meta.dirname, 'agent.ts')
const SKEWED_CLOCK = join(import.meta.dirname, 'clock.ts')
export const HOST = 'vps-1'
/** The relay allows one address 30 requests in a second. */
const POLL_MS = 250
/** Whoever reads as fast as a test does is told to wait now and then. */
const READS_MAX = 5
/** As long as a real sender waits for an answer. */
const ANSWER_MS_MAX = 10_000
/** A killed relay is back in two or three seconds. */
const AGAIN_MS_MAX = 500

/** What a test may shorten of the agent's link. Waits after `replaced` and `unauthorized` stay as they are. */
export interface Timing {
  readonly pingMs?: number
  readonly silenceMs?: number
  readonly welcomeMs?: number
  readonly waitMsMax?: number
}

export interface WorldOptions {
  readonly stacks?: readonly string[]
  /** More triggers of a stack, beside `deploy`. */
  readonly triggers?: (stack: string) => object
  /** For a relay of the test's own. */
  readonly relayUrl?: string
  /** Between agent and relay; senders and readers reach the relay without it. */
  readonly hasProxy?: boolean
  readonly timing?: Timing
  readonly env?: Readonly<Record<string, string>>
}

export interface AgentStart {
  readonly clockSkewMs?: number
  /** Where the relay refuses it, it never says so. */
  readonly isExpectedToConnect?: boolean
  readonly data?: string
  readonly config?: string
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** What a world is made for: a test, or a whole file. */
export type Scope = Pick<TestContext, 'onTestFailed' | 'onTestFinished'>

/** Starts nothing yet but what stands between: the test says in which order things come up. */
export async function makeWorld(context: Scope, options: WorldOptions = {}): Promise<World> {
  const folder = await mkdtemp('/tmp/ropeway-faults-')
  const relayPort = await freePort()
  const proxy = options.hasProxy ? await startProxy(relayPort) : undefined
  const world = new World(folder, relayPort, proxy, options)
  context.onTestFailed(() =>
    console.error([...world.log.slice(-300), `ROPEWAY_FAULTS_SEED=${SEED}`].join('\n')),
  )
  context.onTestFinished(() => world.stop())
  await mkdir(world.tmp)
  await mkdir(world.agentData, { mode: 0o700 })
  world.writeConfig()
  return world
}

/** The same with relay and agent up and connected. */
export async function startWorld(context: Scope, options: WorldOptions = {}): Promise<World> {
  const world = await makeWorld(context, options)
  await world.startRelay()
  await world.enroll()
  await world.startAgent()
  return world
}

export class World {
  readonly folder: string
  readonly log: string[] = []
  /** All that the relay ever answered, and all processes that there ever were. */
  readonly answers: Answer[] = []
  readonly processes: Process[] = []
  readonly stacks: readonly string[]
  /** By stack, each its own: no signature covers the address. */
  readonly secrets: ReadonlyMap<string, string>
  readonly enrollKey = randomBytes(24).toString('hex')
  readonly relayPort: number
  readonly #proxy: Proxy | undefined
  readonly #options: WorldOptions
  readonly #children = new Set<Process>()
  readonly #random = seeded(SEED)
  #relay: Process | undefined
  #agent: Process | undefined
  #token: Promise<string> | undefined

  constructor(folder: string, relayPort: number, proxy: Proxy | undefined, options: WorldOptions) {
    this.folder = folder
    this.relayPort = relayPort
    this.#proxy = proxy
    this.#options = options
    this.stacks = options.stacks ?? ['hello']
    this.secrets = new Map(this.stacks.map((stack) => [stack, `whsec_${randomBytes(32).toString('base64')}`]))
  }

  get proxy(): Proxy {
    if (!this.#proxy) throw new Error('this world has no proxy')
    return this.#proxy
  }
  get relay(): Process {
    if (!this.#relay) throw new Error('the relay is not up')
    return this.#relay
  }
  get agent(): Process {
    if (!this.#agent) throw new Error('the agent is not up')
    return this.#agent
  }
  /** The relay's address as agent and command line know it. */
  get url(): string {
    return this.#options.relayUrl ?? `http://127.0.0.1:${this.#proxy?.port ?? this.relayPort}`
  }
  /** The relay's own address, past the proxy. */
  get direct(): string {
    return `http://127.0.0.1:${this.relayPort}`
  }
  get tmp(): string {
    return join(this.folder, 'tmp')
  }
  get config(): string {
    return join(this.folder, 'ropeway.yml')
  }
  get agentData(): string {
    return join(this.folder, 'agent')
  }
  get relayData(): string {
    return join(this.folder, 'relay')
  }
  get rollsFile(): string {
    return join(this.folder, 'rolls')
  }

  // A killed relay leaves what it put into the temporary folder behind: each world has its own, which goes with it.
  env(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
    return {
      ...process.env,
      TMPDIR: this.tmp,
      ROPEWAY_ENROLL_KEY: this.enrollKey,
      ...Object.fromEntries([...this.secrets].map(([stack, secret]) => [secretName(stack), secret])),
      FAULTS_TIMING: JSON.stringify(this.#options.timing ?? {}),
      ...this.#options.env,
      ...extra,
    }
  }

  writeConfig(): void {
    const compose = join(this.folder, 'docker-compose.yml')
    writeFileSync(compose, 'services: {}\n')
    const stacks = Object.fromEntries(
      this.stacks.map((name) => {
        const deploy = { type: 'standard-webhooks', secret: { env: secretName(name) } }
        return [name, { compose, triggers: { deploy, ...this.#options.triggers?.(name) } }]
      }),
    )
    // JSON is YAML.
    writeFileSync(this.config, JSON.stringify({ relay: this.url, host: HOST, stacks }, null, 2))
  }

  /** A process that the world ends if nobody else does. */
  spawn(name: string, args: readonly string[], extra: Record<string, string> = {}): Process {
    const child = new Process(name, args, { env: this.env(extra), log: this.log })
    this.#children.add(child)
    this.processes.push(child)
    return child
  }

  async startRelay(): Promise<void> {
    const options = ['--port', String(this.relayPort), '--data', this.relayData, '--url', this.url]
    const relay = this.spawn('relay', [MAIN, 'relay', ...options])
    await relay.said('relay listening on ')
    this.#relay = relay
  }

  async enroll(): Promise<void> {
    const { exitCode, stderr } = await this.cli(['enroll'])
    if (exitCode !== 0) throw new Error(`enroll failed: ${stderr}`)
  }

  async startAgent({
    clockSkewMs = 0,
    isExpectedToConnect = true,
    data = this.agentData,
    config = this.config,
  }: AgentStart = {}): Promise<Process> {
    const skew = clockSkewMs === 0 ? [] : ['--import', SKEWED_CLOCK]
    const agent = this.spawn('agent', [...skew, SCRIPTED_AGENT, config, data, this.rollsFile], {
      CLOCK_SKEW_MS: String(clockSkewMs),
      // Each agent has chances of its own.
      FAULTS_SEED: String(SEED + this.processes.length),
    })
    this.#agent = agent
    if (isExpectedToConnect) await agent.said('agent connected')
    return agent
  }

  /** Forgets a process that has ended as it should. */
  forget(child: Process): void {
    this.#children.delete(child)
    if (child === this.#agent) this.#agent = undefined
    if (child === this.#relay) this.#relay = undefined
  }

  async kill(child: Process): Promise<void> {
    await child.kill()
    this.forget(child)
  }

  async end(child: Process): Promise<void> {
    await child.end()
    this.forget(child)
  }

  /** Runs a command to its end. */
  async cli(
    args: readonly string[],
    { env = {}, clockSkewMs = 0, isHostless = false, config = this.config }: CliOptions = {},
  ): Promise<CliResult> {
    const where = isHostless ? [] : ['--config', config, '--data', this.agentData]
    const skew = clockSkewMs === 0 ? [] : ['--import', SKEWED_CLOCK]
    const child = this.spawn(`ropeway ${args[0]}`, [...skew, MAIN, ...args, ...where], {
      CLOCK_SKEW_MS: String(clockSkewMs),
      ...env,
    })
    const exitCode = await child.ended()
    this.forget(child)
    return { exitCode, stdout: child.stdout.join('\n'), stderr: child.stderr.join('\n') }
  }

  /** One request to the relay, past the proxy. Rejects when there is no answer. */
  async request(path: string, init: RequestInit): Promise<Answer> {
    const response = await fetch(`${this.direct}${path}`, {
      ...init,
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    })
    const answer = { status: response.status, headers: response.headers, text: await response.text() }
    this.answers.push(answer)
    return answer
  }

  /** One signed webhook, posted once. Rejects when the relay does not answer. */
  async post(stack: string, name: string, over: PostOptions = {}): Promise<Answer> {
    const body = over.body ?? JSON.stringify({ reason: name })
    const signed = await signStandardWebhook(over.secret ?? this.secrets.get(stack) ?? '', {
      id: name,
      timestampSeconds: Math.floor((Date.now() + (over.clockSkewMs ?? 0)) / 1000),
      body: new TextEncoder().encode(body),
    })
    return this.request(`/hooks/${HOST}/${stack}/${over.trigger ?? 'deploy'}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...signed },
      body,
    })
  }

  /**
   * Sends a webhook as a real sender does: signed anew, with the same id, until the relay has said that it has it. The deploy's id.
   * A name is sent once, or as often as the sender did not hear the answer.
   */
  async send(stack: string, name: string, withinMs = 90_000): Promise<string> {
    const id = await this.idOf(stack, name)
    for (const end = Date.now() + withinMs; ;) {
      const answer = await this.post(stack, name).catch((error: unknown) => String(error))
      if (typeof answer !== 'string' && (answer.status === 202 || answer.status === 200)) {
        const { deploy } = JSON.parse(answer.text) as { deploy: { id: string } }
        if (deploy.id !== id) throw new Error(`${name} has the id ${deploy.id}, not ${id}`)
        return id
      }
      const isPassing = typeof answer === 'string' || answer.status === 503 || answer.status === 429
      if (!isPassing || Date.now() > end)
        throw new Error(`${name}: ${typeof answer === 'string' ? answer : `${answer.status} ${answer.text}`}`)
      await sleep(this.#random.from(0, AGAIN_MS_MAX))
    }
  }

  idOf(stack: string, name: string): Promise<string> {
    return deployId(HOST, stack, 'deploy', name)
  }

  /** A token that reads everything, made once by the command line. */
  token(): Promise<string> {
    return (this.#token ??= this.cli(['token', '--ttl', '1h']).then(({ stdout, stderr, exitCode }) => {
      if (exitCode !== 0) throw new Error(`token failed: ${stderr}`)
      return stdout.trim()
    }))
  }

  /** Reads from the relay, as often as it takes when the relay says that it was too much. */
  async get(path: string): Promise<Answer> {
    const headers = { authorization: `Bearer ${await this.token()}`, accept: 'application/json' }
    for (let n = 1; ; n += 1) {
      const answer = await this.request(`/v1/hosts/${HOST}${path}`, { headers })
      if (answer.status !== 429 || n === READS_MAX) return answer
      await sleep(Number(answer.headers.get('retry-after')) * 1000)
    }
  }

  async #getOk(path: string): Promise<unknown> {
    const { status, text } = await this.get(path)
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${text}`)
    return JSON.parse(text)
  }

  async hostState() {
    return hostSchema.parse(await this.#getOk(''))
  }

  async stackState(stack: string) {
    return stackSchema.parse(await this.#getOk(`/stacks/${stack}`))
  }

  async deploys(stack: string): Promise<Deploy[]> {
    return [...deploysSchema.parse(await this.#getOk(`/deploys?stack=${stack}&limit=100`)).deploys]
  }

  async deploy(id: string): Promise<Deploy> {
    return deploySchema.parse(await this.#getOk(`/deploys/${id}`))
  }

  async events(id: string): Promise<LoggedEvent[]> {
    return [...eventsSchema.parse(await this.#getOk(`/deploys/${id}/events`)).events]
  }

  /** Waits until a deploy is over; its log. */
  async outcome(id: string, withinMs = 20_000): Promise<LoggedEvent[]> {
    await eventually(
      `deploy ${id} is over`,
      async () => (await this.deploy(id)).finishedAt !== null,
      withinMs,
    )
    return this.events(id)
  }

  /** What the rolls did, in order: `start NAME`, `end NAME`, `recover NAME`. */
  rolls(): string[] {
    return existsSync(this.rollsFile) ? readFileSync(this.rollsFile, 'utf8').split('\n').slice(0, -1) : []
  }

  /** A roll of that name stays in its middle until it is let go, or as NAME.1 in that step. */
  hold(name: string): () => void {
    const path = `${this.rollsFile}.hold-${name}`
    appendFileSync(path, '')
    return () => rmSync(path)
  }

  async stop(): Promise<void> {
    const faults: unknown[] = []
    for (const child of [...this.#children].toReversed())
      await child.end().catch(async (error: unknown) => {
        faults.push(error)
        if (child.isRunning) await child.kill()
      })
    await this.#proxy?.stop()
    await rm(this.folder, { recursive: true, force: true })
    if (faults.length > 0) throw new AggregateError(faults, `not a clean end: ${faults.join('; ')}`)
  }
}

export interface PostOptions {
  readonly secret?: string
  readonly body?: string
  readonly clockSkewMs?: number
  readonly trigger?: string
}

export interface CliOptions {
  readonly env?: Record<string, string>
  readonly clockSkewMs?: number
  /** On a machine that has neither the host's config nor its key. */
  readonly isHostless?: boolean
  readonly config?: string
}

export interface CliResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** As `until`, for a condition that must ask somebody. What it throws counts as no, until the time is over. */
export async function eventually<T>(
  what: string,
  condition: () => Promise<T>,
  withinMs = 20_000,
): Promise<NonNullable<T>> {
  const end = Date.now() + withinMs
  for (;;) {
    let fault: unknown
    const value = await condition().catch((error: unknown) => void (fault = error))
    if (value) return value
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`, { cause: fault })
    await sleep(POLL_MS)
  }
}

function secretName(stack: string): string {
  return `HOOK_SECRET_${stack.toUpperCase()}`
}
