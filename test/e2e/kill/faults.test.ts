// What else may go wrong on a real host during a roll: nginx is restarted, an image vanishes, an app is wedged, a compose call hangs, a
// person or a second agent works on the same stack. Whatever it is, the stack ends on one version, and the deploy says which.

import { once } from 'node:events'
import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { LoggedEvent } from '../../../shared/events.ts'
import { under } from '../../support/load.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../../support/ropeway.ts'
import {
  docker,
  endAll,
  SEED_COMPOSE,
  seedNginxConf,
  startStack,
  until,
  type Stack,
} from '../../support/stack.ts'
import { faultsIn, logFaults, outcomeOf, type Promised } from './judge.ts'
import { look } from './look.ts'
import { imageIdOf, type Version } from './version.ts'

/** A test that mounts it decides when `v2` is healthy, so that a roll stands still while the test does its worst. */
const GATED = SEED_COMPOSE.replaceAll('    expose:', '    volumes: [./gate:/gate]\n    expose:')
const LOAD = { kind: 'idle', connections: 8, ms: 80 } as const
/** Longer than anything that a roll here waits for, and short enough to be waited for. */
const DEADLINE = '15s'

let stack: Stack
let ropeway: Ropeway
let version: Version
let promised: Pick<Promised, 'nginx' | 'files'>
let dockerConfig: string
let rounds = 0

beforeAll(async () => {
  stack = await startStack({ 'docker-compose.yml': GATED, 'gate/README': 'see app/server.js' })
  dockerConfig = await hangingCompose(`${stack.folder}-docker`)
  const hello = stackConfig(stack)
  ropeway = await startRopeway({
    stacks: {
      hello,
      impatient: { ...hello, health: { ...hello.health, timeout: '5s' } },
      hurried: { ...hello, deadline: DEADLINE },
    },
    env: { DOCKER_CONFIG: dockerConfig },
  })
  version = { image: 'ropeway-test-app:v1', imageId: await imageIdOf('v1'), message: 'v1' }
  promised = {
    nginx: await seedNginxConf(),
    files: (await readdir(stack.folder, { recursive: true })).toSorted(),
  }
})
afterEach((context) => ropeway.explain(context))
afterAll(() =>
  endAll(
    () => ropeway?.stop(),
    () => stack?.remove(),
    () => rm(dockerConfig, { recursive: true, force: true }),
  ),
)

function stackConfig({ composeFiles }: Stack) {
  return {
    compose: composeFiles[0],
    // Long, for a test holds the gate closed while it does its work.
    health: { path: '/ready', interval: '50ms', timeout: '30s' },
    drain: { timeout: '5s' },
    allow: { images: ['ropeway-test-app'], env: ['MESSAGE'] },
  }
}

/** An env roll, or one to an image; what the stack runs when it was done. */
async function asked(tag?: string): Promise<{ body: object; wanted: Version }> {
  rounds += 1
  const message = `f${rounds}`
  if (tag === undefined)
    return { body: { env: { MESSAGE: `{service},${message}` } }, wanted: { ...version, message } }
  const imageId = await imageIdOf(tag)
  const wanted = { image: imageId, imageId, message }
  return { body: { image: `ropeway-test-app:${tag}`, env: { MESSAGE: `{service},${message}` } }, wanted }
}

/** Sees that the deploy ended truthfully and the stack is whole; its final event. */
async function settled(events: readonly LoggedEvent[], wanted: Version) {
  const promise = { ...promised, before: version, wanted, composeOf: gatedCompose }
  const expected = outcomeOf(events, promise) ?? version
  const faults = [...logFaults(events, { mayFail: true }), ...faultsIn(await look(stack), expected, promise)]
  expect(faults).toEqual([])
  version = expected
  return finalOf(events)
}

function gatedCompose({ image, message }: Version): string {
  return GATED.replaceAll('ropeway-test-app:v1', image).replaceAll(',v1', `,${message}`)
}

/** Rolls, does something while the first new instance waits to be healthy, and lets the roll go on. */
async function meanwhile(name: string, work: () => Promise<unknown>) {
  // The image of before the roll is the other of the two, so that something changes.
  const tag = version.imageId === (await imageIdOf('v2')) ? 'v3' : 'v2'
  const gate = join(stack.folder, `gate/closed-${tag}`)
  const { body, wanted } = await asked(tag)
  await writeFile(gate, '')
  try {
    const id = await ropeway.deploy(name, body)
    await ropeway.reached(id, ({ kind }) => kind === 'await-healthy')
    await work()
    await rm(gate)
    return await settled(await ropeway.outcome(id), wanted)
  } finally {
    await rm(gate, { force: true })
  }
}

const containerOf = async (service: string) => (await stack.containers())[service]?.id ?? ''

test('nginx is restarted during the roll', async () => {
  let window = { from: Infinity, to: 0 }
  const [load, final] = await under({ ...LOAD, ip: stack.ip, port: 80 }, () =>
    meanwhile('hello', async () => {
      const from = Date.now()
      await docker('restart', '-t', '0', await containerOf('nginx'))
      await until(async () => (await stack.answers(1)).length === 1, 'nginx answers again')
      window = { from, to: Date.now() }
    }),
  )
  expect(final.type).toMatch(/^(succeeded|failed)$/)
  // While it is away nobody can answer.
  expect(load.failures.filter(({ begunAt, at }) => begunAt > window.to || at < window.from)).toEqual([])
})

test('nginx is recreated during the roll', async () => {
  const final = await meanwhile('hello', () =>
    stack.compose('up', '-d', '--no-deps', '--force-recreate', '-t', '0', 'nginx'),
  )
  expect(final.type).toMatch(/^(succeeded|failed)$/)
})

test('the new image is deleted between pull and update', async () => {
  const doomed = 'ropeway-test-app:doomed'
  await docker(
    'build',
    '-q',
    '-f',
    'test/e2e/app/Dockerfile',
    '-t',
    doomed,
    '--build-arg',
    'VERSION=doomed',
    '.',
  )
  const { body, wanted } = await asked('doomed')
  const [load, final] = await under({ ...LOAD, ip: stack.ip, port: 80 }, async () => {
    // They hold the drain up: one is at each server.
    const slow = [post(`http://${stack.ip}/?ms=3000`), post(`http://${stack.ip}/?ms=3000`)]
    const id = await ropeway.deploy('hello', body)
    await ropeway.reached(id, ({ kind }) => kind === 'drain')
    await docker('rmi', '-f', wanted.imageId)
    const events = await ropeway.outcome(id)
    expect(await Promise.all(slow)).toEqual([200, 200])
    return await settled(events, wanted)
  })
  expect(final).toMatchObject({ type: 'failed', problem: { code: 'compose-failed' } })
  expect(load.failures).toEqual([])
})

test('the new app is wedged: it accepts and never answers', async () => {
  const { body, wanted } = await asked('wedged')
  const [load, events] = await under({ ...LOAD, ip: stack.ip, port: 80 }, () =>
    ropeway.roll('impatient', body),
  )
  expect(await settled(events, wanted)).toMatchObject({
    type: 'failed',
    problem: { code: 'container-unhealthy' },
  })
  expect(load.failures).toEqual([])
})

test('a compose call hangs: the deadline of the roll ends it, and it is undone', async () => {
  await writeFile(join(dockerConfig, 'hang'), '')
  const { body, wanted } = await asked()
  const [load, events] = await under({ ...LOAD, ip: stack.ip, port: 80 }, () => ropeway.roll('hurried', body))
  expect(await settled(events, wanted)).toMatchObject({ type: 'failed', problem: { code: 'deadline' } })
  expect(load.failures).toEqual([])
})

test('a person recreates the instance that is being rolled', async () => {
  const [load, final] = await under({ ...LOAD, ip: stack.ip, port: 80 }, () =>
    meanwhile('hello', () => stack.compose('up', '-d', '--no-deps', '--force-recreate', '-t', '0', 'app2')),
  )
  // It may look just when compose has stopped the one, and not yet started the other.
  expect(final).toMatchObject({
    type: 'failed',
    problem: { code: expect.stringMatching(/^container-(changed|exited|missing)$/) },
  })
  expect(load.failures).toEqual([])
})

test('a person scales the instance that is being rolled', async () => {
  const [load, final] = await under({ ...LOAD, ip: stack.ip, port: 80 }, () =>
    meanwhile('hello', () =>
      stack.compose('up', '-d', '--no-deps', '--no-recreate', '--scale', 'app2=2', 'app2'),
    ),
  )
  expect(final).toMatchObject({ type: 'failed', problem: { code: 'container-changed' } })
  expect(load.failures).toEqual([])
})

test('a person stops the instance that is being rolled', async () => {
  const [load, final] = await under({ ...LOAD, ip: stack.ip, port: 80 }, () =>
    meanwhile('hello', () => stack.compose('stop', '-t', '0', 'app2')),
  )
  expect(final.type).toBe('failed')
  expect(load.failures).toEqual([])
})

test('a second agent, with a data directory of its own, leaves a stack alone that the first one rolls', async () => {
  const other = await startRopeway({ stacks: { hello: stackConfig(stack) } })
  try {
    const [load, final] = await under({ ...LOAD, ip: stack.ip, port: 80 }, () =>
      meanwhile('hello', async () => {
        const events = await other.roll('hello', (await asked()).body)
        expect(finalOf(events)).toMatchObject({ type: 'failed', problem: { code: 'stack-busy' } })
        expect(stepsOf(events)).toEqual([])
      }),
    )
    expect(final.type).toBe('succeeded')
    expect(load.failures).toEqual([])
    // And has its turn afterwards.
    const { body, wanted } = await asked()
    expect(await settled(await other.roll('hello', body), wanted)).toMatchObject({ type: 'succeeded' })
  } finally {
    await other.stop()
  }
})

/** A docker configuration whose compose plugin hangs in `up`, once, when there is a file `hang` beside it. */
async function hangingCompose(folder: string): Promise<string> {
  const from = process.env['DOCKER_CONFIG'] ?? join(process.env['HOME'] ?? '/root', '.docker')
  const plugin = await docker(
    'info',
    '--format',
    '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}',
  )
  await mkdir(join(folder, 'cli-plugins'), { recursive: true })
  await cp(join(from, 'config.json'), join(folder, 'config.json')).catch(() => {})
  const script = `#!/bin/sh
case " $* " in
  *" up "*) if rm '${folder}/hang' 2>/dev/null; then exec sleep 600; fi ;;
esac
exec '${plugin}' "$@"
`
  await writeFile(join(folder, 'cli-plugins/docker-compose'), script, { mode: 0o755 })
  return folder
}

async function post(url: string): Promise<number> {
  const request = http.request(url, { method: 'POST', agent: false })
  request.end()
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  response.resume()
  return response.statusCode ?? 0
}
