// Every place where a roll can meet a fault: a clean run is recorded, then run again once for each call and kind of fault.

import type { CommandConfig } from '../../../agent/config/config.ts'
import type { AnyRequest } from '../../../shared/request.ts'
import { FakeWorld, type Life, type WorldOptions } from '../fake-world.ts'
import type { Hurt } from './containers.ts'
import type { FakeDeploy } from './deploy.ts'
import { isFaultOf, type Call, type Fault, type FaultKind } from './faults.ts'
import { tryDeploy } from './trial.ts'

export interface Scene {
  readonly world: WorldOptions
  /** What was deployed before, with nothing going wrong. */
  readonly before?: readonly AnyRequest[]
  /** Who does not answer by then. */
  readonly sick?: { readonly service: string; readonly how: Hurt }
  readonly request: AnyRequest
}

/** The plans that are swept: 2 to 4 instances, both ways to mount, env, image and both. */
export const SCENES: Readonly<Record<string, Scene>> = {
  'two instances, a mounted file, env': {
    world: { instances: 2, mount: 'file' },
    request: { env: { MESSAGE: '{service},v2' } },
  },
  // Longer than compose takes: what was recreated does not listen yet when it is looked at.
  'two instances that start slowly, a mounted file, image': {
    world: { instances: 2, mount: 'file', app: { startMs: 900 } },
    request: { image: 'ghcr.io/acme/hello:v2' },
  },
  'two instances, a mounted folder, image': {
    world: { instances: 2, mount: 'directory', hasHealthcheck: true },
    request: { image: 'ghcr.io/acme/hello:v2' },
  },
  'three instances, one of them sick, a mounted file, image and env': {
    world: { instances: 3, mount: 'file' },
    sick: { service: 'app3', how: { mode: 'sick' } },
    request: { image: 'ghcr.io/acme/hello:v2', env: { MESSAGE: '{service},v2' } },
  },
  'four instances, a mounted folder, env, one of them down': {
    world: { instances: 4, mount: 'directory', down: ['app3'] },
    request: { env: { MESSAGE: '{service},v2' } },
  },
  'two instances, two compose files with an anchor, image and env': {
    world: {
      instances: 2,
      files: {
        '/srv/hello/override.yml':
          "x-own: &own\n  expose: [3001]\nservices:\n  app1:\n    <<: *own\n    image: 'hello:v1'\n  app2:\n    image: 'hello:v1' # pinned\n",
      },
      stack: { compose: ['/srv/hello/docker-compose.yml', '/srv/hello/override.yml'] },
    },
    request: { image: 'hello:v2', env: { MESSAGE: '{service},v2' } },
  },
  'two instances of both IP families, a mounted file, image, a soak': {
    world: { instances: 2, mount: 'file', isDualStack: true, stack: { soakMs: 300 } },
    request: { image: 'hello:v2' },
  },
  'two instances, commands before and after, recreated by force': {
    world: {
      instances: 2,
      mount: 'directory',
      stack: { before: command('migrate'), after: command('warm-up') },
    },
    request: { image: 'ghcr.io/acme/hello:v1', force: true },
  },
  'three instances, back to the release before, of two images': {
    world: { instances: 3, mount: 'file', stack: { releasesKept: 2 } },
    before: [{ image: 'hello:v2' }, { image: 'ghcr.io/acme/hello:v2', env: { MESSAGE: '{service},v2' } }],
    request: { release: 'previous' },
  },
}

function command(word: string): CommandConfig {
  return { service: undefined, command: [word], timeoutMs: 5000, onRetry: 'run' }
}

/** For each step, the first and the last call of each method: those between are polls like them. */
export function placesOf(calls: readonly Call[]): Call[] {
  return calls.filter(({ method, step }, index) => {
    const isSame = (other: Call) => other.method === method && other.step === step
    return calls.findIndex(isSame) === index || calls.findLastIndex(isSame) === index
  })
}

export function faultsAt({ method, nth }: Call, kinds: readonly FaultKind[]): Fault[] {
  return kinds.filter((kind) => isFaultOf(method, kind)).map((kind) => ({ method, nth, kind }))
}

/** What is wrong after a life that should leave everything new or everything as it was. */
export async function judge(world: FakeWorld, life: Life): Promise<string[]> {
  if (!['failed', 'succeeded', 'cancelled'].includes(life.status))
    return [`the deploy is ${life.status}`, ...world.traffic.failures.keys()]
  const isChanged = life.end?.type === 'succeeded' && life.end.changed
  return await world.faultsAfter(isChanged ? 'changed' : 'unchanged')
}

/** A scene with its stage set: what was deployed before is there. */
export async function stage({ world: options, before = [], sick }: Scene): Promise<FakeWorld> {
  const world = new FakeWorld(options)
  for (const request of before) {
    const { end } = await world.roll(request)
    if (end?.type !== 'succeeded') throw new Error(`the stage is not set: ${JSON.stringify(end)}`)
  }
  return sick ? world.hurt(sick.service, sick.how) : world
}

/** The calls of a run that nothing disturbs. */
export async function record(scene: Scene): Promise<readonly Call[]> {
  const world = await stage(scene)
  const { calls, end } = await world.roll(scene.request)
  if (end?.type !== 'succeeded' || !end.changed) throw new Error(`the clean run: ${JSON.stringify(end)}`)
  return calls
}

/** Plays a scene with these faults in each life of the agent. What is wrong, with its story; undefined when nothing is. */
export async function play(
  scene: Scene,
  lives: readonly (readonly Fault[])[],
  count: Count,
): Promise<string | undefined> {
  const world = await stage(scene)
  const { deploy, wrong } = await tryDeploy(world, { request: scene.request, lives })
  count.add(world, deploy)
  const missed = lives.findIndex((faults, life) => faults.length > (deploy.lives[life]?.met.length ?? 0))
  const all = missed < 0 ? wrong : [...wrong, `the fault of life ${missed + 1} was not met`]
  if (all.length === 0) return undefined
  const told = lives.flat().map(({ kind, method, nth }) => `${kind} at ${method} #${nth}`)
  return `${told.join(', then ')}:\n  ${all.join('\n  ')}\n${world.story()}`
}

/** What was covered: by step and kind of fault, in how many rolls and transitions. */
export class Count {
  readonly #cells = new Map<string, Map<string, number>>()
  readonly #ends = new Map<string, number>()
  readonly #startedAt = performance.now()
  #rolls = 0
  #transitions = 0

  add(world: FakeWorld, deploy: FakeDeploy): void {
    this.#rolls += 1
    this.#transitions += world.moments.count
    this.#ends.set(deploy.status, (this.#ends.get(deploy.status) ?? 0) + 1)
    for (const { fault, call } of deploy.lives.flatMap(({ met }) => met)) {
      const step = call.step.replace(/^\d+ /, '')
      const row = this.#cells.get(step) ?? new Map<string, number>()
      row.set(fault.kind, (row.get(fault.kind) ?? 0) + 1)
      this.#cells.set(step, row)
    }
  }

  /** The table of steps and faults, and how fast it was. */
  toString(): string {
    const kinds = [...new Set([...this.#cells.values()].flatMap((row) => [...row.keys()]))]
    const rows = [...this.#cells].map(([step, row]) => [
      step,
      ...kinds.map((kind) => String(row.get(kind) ?? 0)),
    ])
    const table = [['step', ...kinds], ...rows]
    const widths = ['step', ...kinds].map((_, column) =>
      Math.max(...table.map((row) => row[column]?.length ?? 0)),
    )
    const lines = table.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
    return [...lines, this.speed()].join('\n')
  }

  speed(): string {
    const seconds = (performance.now() - this.#startedAt) / 1000
    const ends = [...this.#ends].map(([end, count]) => `${count} ${end}`).join(', ')
    const rate = (count: number) => Math.round(count / seconds)
    return `${this.#rolls} rolls (${ends}), ${this.#transitions} transitions checked: ${rate(this.#rolls)} rolls/s, ${rate(this.#transitions)} transitions/s`
  }
}
