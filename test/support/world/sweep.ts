// Every place where a roll can meet a fault: a clean run is recorded, then run again once for each call and kind of fault.

import type { DeployRequest } from '../../../shared/request.ts'
import { FakeWorld, type Life, type WorldOptions } from '../fake-world.ts'
import type { Call, Fault, FaultKind, Method } from './faults.ts'

export interface Scene {
  readonly world: WorldOptions
  readonly request: DeployRequest
}

/** The calls that change something: only for these is a failure after the effect another thing than one before it. */
const EFFECTS: readonly Method[] = [
  'files.write',
  'compose.up',
  'engine.hangUp',
  'engine.pull',
  'engine.exec',
]

/** The plans that are swept: 2 to 4 instances, both ways to mount, env, image and both. */
export const SCENES: Readonly<Record<string, Scene>> = {
  'two instances, a mounted file, env': {
    world: { instances: 2, mount: 'file' },
    request: { env: { MESSAGE: '{service},v2' } },
  },
  'two instances, a mounted folder, image': {
    world: { instances: 2, mount: 'directory', hasHealthcheck: true },
    request: { image: 'ghcr.io/acme/hello:v2' },
  },
  'three instances, a mounted file, image and env': {
    world: { instances: 3, mount: 'file' },
    request: { image: 'ghcr.io/acme/hello:v2', env: { MESSAGE: '{service},v2' } },
  },
  'four instances, a mounted folder, env, one of them down': {
    world: { instances: 4, mount: 'directory', down: ['app3'] },
    request: { env: { MESSAGE: '{service},v2' } },
  },
  'two instances, two compose files, image and env': {
    world: {
      instances: 2,
      files: {
        '/srv/hello/override.yml':
          "services:\n  app1:\n    image: 'hello:v1'\n  app2:\n    image: 'hello:v1' # pinned\n",
      },
      stack: { compose: ['/srv/hello/docker-compose.yml', '/srv/hello/override.yml'] },
    },
    request: { image: 'hello:v2', env: { MESSAGE: '{service},v2' } },
  },
  'two instances, a mounted file, image, a soak': {
    world: { instances: 2, mount: 'file', stack: { soakMs: 300 } },
    request: { image: 'hello:v2' },
  },
}

/** For each step, the first and the last call of each method: those between are polls like them. */
export function placesOf(calls: readonly Call[]): Call[] {
  return calls.filter(({ method, step }, index) => {
    const isSame = (other: Call) => other.method === method && other.step === step
    return calls.findIndex(isSame) === index || calls.findLastIndex(isSame) === index
  })
}

export function faultsAt({ method, nth }: Call, kinds: readonly FaultKind[]): Fault[] {
  const isEffect = EFFECTS.includes(method)
  return kinds
    .filter((kind) => isEffect || !kind.endsWith('-after-effect'))
    .filter((kind) => kind !== 'crash-midway' || method === 'compose.up')
    .filter((kind) => kind !== 'hang-after-effect' || !method.startsWith('files.'))
    .filter((kind) => kind !== 'hang' || !method.startsWith('files.'))
    .map((kind) => ({ method, nth, kind }))
}

/** What is wrong after a life that should leave everything new or everything as it was. */
export async function judge(world: FakeWorld, life: Life): Promise<string[]> {
  if (life.status !== 'failed' && life.status !== 'succeeded')
    return [`the deploy is ${life.status}`, ...world.traffic.failures.keys()]
  const isChanged = life.end?.type === 'succeeded' && life.end.changed
  return await world.faultsAfter(isChanged ? 'changed' : 'unchanged')
}

/** A failed run in words, with its story. */
export function tellOf(fault: Fault, step: string, wrong: readonly string[], world: FakeWorld): string {
  return `${fault.kind} at ${fault.method} #${fault.nth} in ${step}:\n  ${wrong.join('\n  ')}\n${world.story()}`
}

/** The calls of a run that nothing disturbs. */
export async function record({ world, request }: Scene): Promise<readonly Call[]> {
  const { calls, end } = await new FakeWorld(world).roll(request)
  if (end?.type !== 'succeeded' || !end.changed) throw new Error(`the clean run: ${JSON.stringify(end)}`)
  return calls
}
