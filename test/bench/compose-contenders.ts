// One stack of the seed's shape, and the ways to bring its two instances to a new version: Ropeway, the seed's steps, `compose up`.

import { join } from 'node:path'
import { realPorts } from '../../agent/adapters/index.ts'
import type { StackConfig } from '../../agent/config/config.ts'
import { roll } from '../../agent/roll/roll.ts'
import type { DeployEvent } from '../../shared/events.ts'
import { describeStep, type Step } from '../../shared/plan.ts'
import { docker, startStack, until, type Stack } from '../support/stack.ts'
import { STACK_DEFAULTS } from '../support/stack-config.ts'
import { timedStart } from './app-starts.ts'
import { atEnd } from './lifetime.ts'
import type { Target } from './load.ts'
import { timedPorts, type Times } from './timed-ports.ts'
import { FakeReleases, FakeStuckNotes } from '../support/world/memory.ts'

export interface Outcome {
  readonly ms: number
  /** Of that, waiting for requests to end. */
  readonly waitedMs?: number
  /** Ropeway: what took how long, by step and by call of a port. */
  readonly steps?: ReadonlyMap<string, number>
  readonly times?: Times
  /** The bare calls: the apps' own start, and both calls with each app's first answer awaited. */
  readonly appStartMs?: number
  readonly answeredMs?: number
}

export interface Contender {
  readonly name: string
  readonly isUnderLoad: boolean
  readonly target: Target
  /** Brings both instances to a version. */
  run(version: string): Promise<Outcome>
  /** Puts right what it left, and waits until both instances answer with the version. */
  settle(version: string): Promise<void>
}

export async function composeContenders(): Promise<Contender[]> {
  const stack = await startStack()
  atEnd(() => stack.remove())
  const nginxConf = await stack.read('proxy/nginx.conf')
  const nginx = await stack.compose('ps', '-q', 'nginx')
  const contender = (
    name: string,
    run: Contender['run'],
    more: { isUnderLoad?: boolean; reloads?: boolean } = {},
  ): Contender => ({
    name,
    isUnderLoad: more.isUnderLoad ?? true,
    target: { ip: stack.ip },
    run,
    settle: async (version) => {
      if ((await stack.read('proxy/nginx.conf')) !== nginxConf)
        throw new Error(`${name} left nginx.conf changed`)
      // The addresses that nginx has are those of containers that are gone.
      if (more.reloads) await docker('exec', nginx, 'nginx', '-s', 'reload')
      await settled(stack, nginx, version)
    },
  })
  return [
    contender('Ropeway', (version) => rollIt(stack, version)),
    contender('the seed’s steps by script', (version) => seedSteps(stack, nginxConf, version)),
    contender('`docker compose up -d` of both', (version) => upBoth(stack, version), { reloads: true }),
    contender('two bare `docker compose up -d --no-deps`', (version) => bareUps(stack, version), {
      isUnderLoad: false,
      reloads: true,
    }),
  ]
}

// The roll itself, as the agent calls it.
async function rollIt(stack: Stack, version: string): Promise<Outcome> {
  const config: StackConfig = {
    name: 'hello',
    compose: [join(stack.folder, 'docker-compose.yml')],
    project: stack.project,
    ...STACK_DEFAULTS,
    // Two probes: the second and a half that the default asks for would hide the rest.
    health: { ...STACK_DEFAULTS.health, intervalMs: 100, successes: 2 },
    allow: { images: undefined, env: ['MESSAGE'] },
    triggers: [],
  }
  const { ports, times } = timedPorts(realPorts())
  const events: { at: number; event: DeployEvent }[] = []
  const startedAt = performance.now()
  await roll(config, { env: { MESSAGE: `{service},${version}` } }, ports, {
    emit: (event) => events.push({ at: performance.now(), event }),
    remember: () => {},
    deploy: { id: 'bench', actor: 'bench', isAutomatic: false },
    releases: new FakeReleases(),
    stuck: new FakeStuckNotes(),
    signal: AbortSignal.timeout(120_000),
  })
  const ms = performance.now() - startedAt
  const last = events.at(-1)?.event
  if (last?.type !== 'succeeded') throw new Error(`the roll ended with ${JSON.stringify(last)}`)
  const steps = stepTimes(events)
  return { ms, waitedMs: total(steps, /^drain/), steps, times }
}

function stepTimes(events: readonly { at: number; event: DeployEvent }[]): Map<string, number> {
  const times = new Map<string, number>()
  let steps: readonly Step[] = []
  let lastAt = events[0]?.at ?? 0
  for (const { at, event } of events) {
    if (event.type === 'planned') {
      steps = event.plan.steps
      times.set('preflight', at - lastAt)
    } else if (event.type === 'step-finished') {
      const step = steps[event.step]
      if (step) times.set(labelOf(step), at - lastAt)
    } else if (event.type === 'succeeded') times.set('report what runs', at - lastAt)
    else continue
    lastAt = at
  }
  return times
}

// Without the version, which is another one in each round.
function labelOf(step: Step): string {
  return step.kind === 'update' ? `update ${step.service}` : describeStep(step)
}

function total(steps: ReadonlyMap<string, number>, label: RegExp): number {
  return [...steps].reduce((sum, [name, ms]) => (label.test(name) ? sum + ms : sum), 0)
}

// As a person would who follows the seed with a script: a step begins when the command before has returned. Written in place, as
// nginx.conf is mounted by itself.
async function seedSteps(stack: Stack, nginxConf: string, version: string): Promise<Outcome> {
  const mark = async (...down: string[]) => {
    const text = down.reduce(
      (conf, service) => conf.replace(`server ${service}:3000;`, `server ${service}:3000 down;`),
      nginxConf,
    )
    await stack.write('proxy/nginx.conf', text)
    await stack.compose('exec', '-T', 'nginx', 'nginx', '-s', 'reload')
  }
  const deploy = async (service: string) => {
    await setVersion(stack, version, service)
    await stack.compose('up', '-d', '--no-deps', service)
  }
  return await clocked(async () => {
    await mark('app2')
    await deploy('app2')
    await mark()
    await mark('app1')
    await deploy('app1')
    await mark()
  })
}

async function upBoth(stack: Stack, version: string): Promise<Outcome> {
  return await clocked(async () => {
    await setVersion(stack, version, 'app1', 'app2')
    await stack.compose('up', '-d')
  })
}

async function bareUps(stack: Stack, version: string): Promise<Outcome> {
  const startedAt = performance.now()
  let ms = 0
  let appStartMs = 0
  for (const service of ['app2', 'app1']) {
    await setVersion(stack, version, service)
    appStartMs += await timedStart(stack.project, async () => {
      ms += (await clocked(() => stack.compose('up', '-d', '--no-deps', service))).ms
    })
  }
  return { ms, appStartMs, answeredMs: performance.now() - startedAt }
}

async function setVersion(stack: Stack, version: string, ...services: string[]): Promise<void> {
  const text = await stack.read('docker-compose.yml')
  const edited = text.replaceAll(/MESSAGE=(\w+),\w+/g, (old, service: string) =>
    services.includes(service) ? `MESSAGE=${service},${version}` : old,
  )
  await stack.write('docker-compose.yml', edited)
}

async function clocked(work: () => Promise<unknown>): Promise<{ ms: number }> {
  const startedAt = performance.now()
  await work()
  return { ms: performance.now() - startedAt }
}

async function settled(stack: Stack, nginx: string, version: string): Promise<void> {
  const ask = async () => (await (await fetch(`http://${stack.ip}/`)).text()).trim().split(' ').at(-1)
  await until(async () => {
    const answers = new Set([await ask(), await ask(), await ask(), await ask()])
    return answers.has(`app1,${version}`) && answers.has(`app2,${version}`) && answers.size === 2
  }, `both instances answer with ${version}`)
  await until(async () => {
    const processes = await docker('top', nginx, '-eo', 'pid,args')
    return processes.split('worker process').length === 2
  }, 'the old workers of nginx are gone')
}
