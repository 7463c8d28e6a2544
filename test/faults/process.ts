// A process in a group of its own, so that nothing below it is missed when it is ended or killed.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { until } from '../support/until.ts'

/** A relay needs a second, an agent half of one; on a machine under load several. */
const SAY_MS_MAX = 30_000
const END_MS_MAX = 30_000

export class Process {
  readonly name: string
  readonly stdout: string[] = []
  readonly stderr: string[] = []
  /** Both, in order. */
  readonly lines: string[] = []
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>

  /** `log` gets what everybody says, in order. */
  constructor(
    name: string,
    args: readonly string[],
    { env, log }: { env: NodeJS.ProcessEnv; log: string[] },
  ) {
    this.name = name
    this.#child = spawn(process.execPath, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#exited = once(this.#child, 'close')
    for (const kind of ['stdout', 'stderr'] as const) {
      const stream = this.#child[kind]
      if (stream)
        createInterface({ input: stream }).on('line', (line) => {
          this[kind].push(line)
          this.lines.push(line)
          log.push(`${new Date().toISOString().slice(14, 23)} [${name}] ${line}`)
        })
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  get exitCode(): number | null {
    return this.#child.exitCode
  }

  /** Waits until it has said something, `times` times since it began. */
  async said(text: string | RegExp, { times = 1, withinMs = SAY_MS_MAX } = {}): Promise<string> {
    return until(
      `${this.name} says ${text}${times > 1 ? ` ${times} times` : ''}`,
      () => {
        const found = this.lines.filter((line) =>
          typeof text === 'string' ? line.includes(text) : text.test(line),
        )
        if (found.length < times && !this.isRunning)
          throw new Error(`${this.name} has ended: ${this.lines.slice(-20).join('\n')}`)
        return found[times - 1]
      },
      withinMs,
    )
  }

  /** At once, with everything below it, as a power cut would. */
  async kill(): Promise<void> {
    if (!this.isRunning)
      throw new Error(`${this.name} had ended by itself:\n${this.lines.slice(-20).join('\n')}`)
    process.kill(-this.pid, 'SIGKILL')
    await this.#gone('SIGKILL')
  }

  /** Asks it to end, which it must do by itself, well, and taking its children along. */
  async end(): Promise<void> {
    if (!this.isRunning)
      throw new Error(`${this.name} had ended by itself:\n${this.lines.slice(-20).join('\n')}`)
    process.kill(this.pid, 'SIGTERM')
    await this.#gone('SIGTERM')
    if (this.exitCode !== 0)
      throw new Error(`${this.name} ended with ${this.exitCode}:\n${this.lines.slice(-20).join('\n')}`)
  }

  /** For one that ends by itself. */
  async ended(): Promise<number> {
    await this.#gone('its work')
    return this.exitCode ?? -1
  }

  async #gone(after: string): Promise<void> {
    await until(
      `${this.name} ends after ${after}`,
      () => !this.isRunning && !isGroupAlive(this.pid),
      END_MS_MAX,
    )
    await this.#exited
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
