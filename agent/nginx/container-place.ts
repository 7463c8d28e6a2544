// An nginx in a container of the stack.

import { Problem } from '../../shared/problems.ts'
import type { Container, Containers, Inside, Process, Remote } from '../ports.ts'
import type { Place } from './place.ts'

export type PlaceEngine = Inside & Pick<Containers, 'outputSince' | 'logs'>

export class ContainerPlace implements Place {
  readonly #engine: PlaceEngine
  #container: Container

  constructor(engine: PlaceEngine, container: Container) {
    this.#engine = engine
    this.#container = container
  }

  get container(): Container {
    return this.#container
  }

  get name(): string {
    return `service ${this.#container.service}`
  }

  get startCommand(): string {
    return `docker compose up -d ${this.#container.service}`
  }

  /** Takes the running one of nginx's containers among these, since somebody may restart or recreate it. */
  look(containers: readonly Container[]): void {
    const { service } = this.#container
    const running = containers.find((one) => one.service === service && one.state === 'running')
    this.#container = running ?? this.#container
  }

  exec(argv: readonly string[], signal: AbortSignal) {
    return whileItRuns(this.#engine.exec(this.#container.id, argv, signal))
  }

  readFile(path: string, signal: AbortSignal): Promise<string> {
    return whileItRuns(this.#engine.readFile(this.#container, path, signal))
  }

  processes(signal: AbortSignal): Promise<Process[]> {
    return whileItRuns(this.#engine.processes(this.#container, signal))
  }

  connections(remotes: readonly Remote[], signal: AbortSignal): Promise<number> {
    return whileItRuns(this.#engine.connections(this.#container, remotes, signal))
  }

  // A signal to the container reaches its PID 1 alone.
  async hangUp({ pid }: Process, signal: AbortSignal): Promise<boolean> {
    if (pid !== this.#container.pid) return false
    await whileItRuns(this.#engine.hangUp(this.#container.id, signal))
    return true
  }

  outputSince(sinceMs: number, signal: AbortSignal): Promise<string> {
    return this.#engine.outputSince(this.#container.id, sinceMs, signal)
  }

  log(lines: number, signal: AbortSignal): Promise<string[]> {
    return this.#engine.logs(this.#container.id, lines, signal)
  }
}

// Reports a container that has ended as an nginx that does not run.
async function whileItRuns<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'container-exited') throw error
    throw new Problem('nginx-not-running', error.message, { cause: error })
  }
}
