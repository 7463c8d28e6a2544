// A version that passes every probe and fails its clients is undone by what nginx saw; a command before the roll can block it.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { under } from '../support/load.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../support/ropeway.ts'
import { SEED_COMPOSE, docker, endAll, seedNginxConf, startStack, type Stack } from '../support/stack.ts'

const COMPOSE = SEED_COMPOSE.replaceAll('    expose:', '    volumes: [./notes:/notes]\n    expose:')
const V2 = { image: 'ropeway-test-app:v2', env: { MESSAGE: '{service},v2' } }
const V3 = { image: 'ropeway-test-app:v3', env: { MESSAGE: '{service},v3' } }
/** Some 300 requests a second, which leave the machine its time. */
const LOAD = { kind: 'idle', connections: 8, ms: 40 } as const

let stack: Stack
let ropeway: Ropeway

beforeAll(async () => {
  stack = await startStack({ 'docker-compose.yml': COMPOSE, 'notes/README': 'what commands wrote' })
  const hello = {
    compose: stack.composeFiles[0],
    health: { path: '/ready', timeout: '5s' },
    allow: { images: ['ropeway-test-app'], env: ['MESSAGE'] },
  }
  ropeway = await startRopeway({
    stacks: {
      long: { ...hello, soak: '30s' },
      short: { ...hello, soak: '3s' },
      blocked: { ...hello, before: 'echo migrating to $VERSION; echo no such table >&2; exit 3' },
      slow: { ...hello, before: { command: 'echo begun >> /notes/slow; sleep 600', timeout: '3s' } },
      migrated: {
        ...hello,
        before: 'echo $VERSION $MESSAGE >> /notes/before; echo migrated to $VERSION',
        after: { service: 'app1', command: 'echo $VERSION $MESSAGE >> /notes/after; exit 4' },
      },
    },
  })
})
afterEach((context) => ropeway.explain(context))
afterAll(() =>
  endAll(
    () => ropeway?.stop(),
    () => stack?.remove(),
  ),
)

const load = () => ({ ip: stack.ip, port: 80, ...LOAD })

async function picture() {
  return {
    compose: await stack.read('docker-compose.yml'),
    nginx: await stack.read('proxy/nginx.conf'),
    answers: new Set(await stack.answers()),
  }
}

async function expectUndone(): Promise<void> {
  const before = await picture()
  const [{ failures, requests }, events] = await under(load(), () =>
    ropeway.roll('long', { image: 'ropeway-test-app:flaky' }),
  )
  const final = finalOf(events)
  expect(final).toMatchObject({ type: 'failed', problem: { code: 'instance-worse' } })
  const { problem } = final as Extract<typeof final, { type: 'failed' }>
  expect(problem.message).toMatch(
    /^app2 answers 5xx to \d+ of \d+ requests in traffic, the others to 0 of \d+$/,
  )
  expect(problem.log).toContain('no connection to the database left')
  expect(await picture()).toEqual(before)
  // Nobody has lost a request but those that the sick version answered itself, and it has not had many.
  expect(new Set(failures.map(({ why }) => why))).toEqual(new Set(['status 500']))
  expect(failures.length).toBeLessThan(requests / 4)
  const soak = stepsOf(events).find(({ step }) => step.kind === 'soak')
  expect((soak?.finishedAt ?? Infinity) - (soak?.startedAt ?? 0)).toBeLessThan(15_000)
}

test(
  'a version that answers 5xx to a third of its requests is undone, though its probe is fine',
  expectUndone,
)

test('the same by a log that is a file in nginx’s container', async () => {
  const nginx = await seedNginxConf()
  await stack.write('proxy/nginx.conf', nginx.replace('/var/log/nginx/access.log', '/var/log/nginx/apps.log'))
  await stack.compose('exec', '-T', 'nginx', 'nginx', '-s', 'reload')
  await expectUndone()
  await stack.write('proxy/nginx.conf', nginx)
  await stack.compose('exec', '-T', 'nginx', 'nginx', '-s', 'reload')
})

test('a good version passes, and each step says how many requests it was judged by', async () => {
  const [{ failed }, events] = await under(load(), () => ropeway.roll('short', V2))
  expect(finalOf(events)).toMatchObject({ type: 'succeeded' })
  expect(failed).toBe(0)
  expect(events.map(({ event }) => (event.type === 'warning' ? event.problem.code : ''))).not.toContain(
    'soak-without-traffic',
  )
  const soaks = stepsOf(events).filter(({ step }) => step.kind === 'soak')
  expect(soaks).toHaveLength(2)
  for (const { facts } of soaks) {
    expect(facts).toEqual({
      requests: expect.any(Number),
      errors: 0,
      othersRequests: expect.any(Number),
      othersErrors: 0,
    })
    expect(facts?.['requests']).toBeGreaterThanOrEqual(50)
  }
})

test('a command before the roll that fails blocks it with its output, and nothing is touched', async () => {
  const before = { ...(await picture()), containers: await stack.containers() }
  const events = await ropeway.roll('blocked', V3)
  expect(finalOf(events)).toMatchObject({
    type: 'failed',
    problem: {
      code: 'command-failed',
      message:
        '`sh -c echo migrating to $VERSION; echo no such table >&2; exit 3` in app2 ended with exit code 3',
      // Its two outputs come by two ways, in no order of their own.
      log: expect.arrayContaining(['migrating to v3', 'no such table']),
    },
  })
  expect({ ...(await picture()), containers: await stack.containers() }).toEqual(before)
  expect(await oneOffs()).toBe('')
})

test('one that takes too long is ended, and leaves no container', async () => {
  const before = { ...(await picture()), containers: await stack.containers() }
  const events = await ropeway.roll('slow', V3)
  expect(finalOf(events)).toMatchObject({ type: 'failed', problem: { code: 'deadline' } })
  expect(await note('slow')).toBe('begun\n')
  expect({ ...(await picture()), containers: await stack.containers() }).toEqual(before)
  expect(await oneOffs()).toBe('')
})

test('one that succeeds runs once, on the new version; one after the roll that fails is a warning', async () => {
  const events = await ropeway.roll('migrated', V3)
  expect(finalOf(events)).toMatchObject({ type: 'succeeded' })
  const commands = stepsOf(events).filter(({ step }) => step.kind === 'command')
  expect(commands[0]?.facts).toEqual({ exitCode: 0, output: 'migrated to v3' })
  expect(commands[1]?.problem).toMatchObject({ code: 'command-failed' })
  expect(await note('before')).toBe('v3 app2,v3\n')
  expect(await note('after')).toBe('v3 app1,v3\n')
  const warnings = events.flatMap(({ event }) => (event.type === 'warning' ? [event.problem.code] : []))
  expect(warnings).toContain('command-failed')
  expect(await oneOffs()).toBe('')
})

const note = (name: string) => readFile(join(stack.folder, 'notes', name), 'utf8')

const oneOffs = () =>
  docker(
    'ps',
    '-aq',
    '--filter',
    'label=com.docker.compose.oneoff=True',
    '--filter',
    `label=com.docker.compose.project=${stack.project}`,
  )
