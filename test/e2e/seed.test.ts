// The seed's document, step by step, on its own two files: one signed webhook does what it does by hand.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { LoggedEvent } from '../../shared/events.ts'
import { under, type LoadResult } from '../support/load.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../support/ropeway.ts'
import { docker, endAll, startStack, type Stack } from '../support/stack.ts'
import { SEED_FILES } from './seed-files.ts'

let stack: Stack
let ropeway: Ropeway

beforeAll(async () => {
  stack = await startStack(SEED_FILES)
  ropeway = await startRopeway({
    stacks: { hello: { compose: stack.composeFiles[0], allow: { env: ['MESSAGE'] } } },
  })
})
afterEach((context) => ropeway.explain(context))
afterAll(() =>
  endAll(
    () => ropeway?.stop(),
    () => stack?.remove(),
  ),
)

const afterRoll = (version: string) => SEED_FILES['docker-compose.yml'].replaceAll(',v1', `,${version}`)

test('plan shows what was inferred and every step, and changes nothing', async () => {
  const before = await stack.containers()
  const text = await ropeway.cli(['plan', 'hello', '--env', 'MESSAGE={service},v2'])
  expect(text.exitCode).toBe(0)
  for (const line of [
    'service nginx, container nginx',
    'app1 (app1:3000), app2 (app2:3000)',
    'take app2 out',
    'drain app2',
    'update app2 to MESSAGE=app2,v2',
    'put app2 back, take app1 out',
    'update app1 to MESSAGE=app1,v2',
    'put app1 back',
    "-      - 'MESSAGE=app2,v1'",
    "+      - 'MESSAGE=app2,v2'",
  ])
    expect(text.stdout).toContain(line)

  const json = await ropeway.cli(['plan', 'hello', '--env', 'MESSAGE={service},v2', '--json'])
  const { plan, warnings } = JSON.parse(json.stdout) as {
    plan: { steps: { kind: string }[] }
    warnings: { code: string }[]
  }
  expect(plan.steps.filter(({ kind }) => kind === 'switch')).toHaveLength(3)
  // The seed's nginx.conf is older than the setting.
  expect(warnings.map(({ code }) => code)).toEqual(['no-keepalive-min-timeout'])
  expect(await stack.containers()).toEqual(before)
  expect(await stack.read('docker-compose.yml')).toBe(SEED_FILES['docker-compose.yml'])
  expect(await stack.read('proxy/nginx.conf')).toBe(SEED_FILES['proxy/nginx.conf'])
})

test('one signed webhook takes the seed from step 1 to step 4', async () => {
  expect(new Set(await stack.answers())).toEqual(
    new Set(['Hi there, I love ! app1,v1', 'Hi there, I love ! app2,v1']),
  )
  const since = await engineTime()
  const { pid } = (await stack.containers())['nginx']!

  const [result, events] = await under(
    { ip: '127.0.0.1', port: 80, kind: 'fresh', connections: 4 },
    async () => await ropeway.roll('hello', { env: { MESSAGE: '{service},v2' } }),
  )

  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  expect({ failed: result.failed, failures: result.failures }).toEqual({ failed: 0, failures: [] })
  expect(result.requests).toBeGreaterThan(100)
  expectOnlyServersThatAreIn(events, result)
  expect(new Set(await stack.answers())).toEqual(
    new Set(['Hi there, I love ! app1,v2', 'Hi there, I love ! app2,v2']),
  )

  expect(await stack.read('docker-compose.yml')).toBe(afterRoll('v2'))
  expect(await stack.read('proxy/nginx.conf')).toBe(SEED_FILES['proxy/nginx.conf'])
  // N+1 reloads, and nginx itself was never restarted.
  expect(await signalsSince(since, 'nginx')).toEqual(['1', '1', '1'])
  expect((await stack.containers())['nginx']?.pid).toBe(pid)

  const before = await stack.containers()
  await stack.compose('up', '-d', '--pull', 'never')
  expect(await stack.containers()).toEqual(before)
})

test('deploy follows the roll and says by its exit code how it ended', async () => {
  const deployed = await ropeway.cli(['deploy', 'hello', '--env', 'MESSAGE={service},v3', '--json'])
  const lines = deployed.stdout.trim().split('\n')
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ event: { type: 'succeeded' } })
  expect(deployed.exitCode).toBe(0)
  expect(await stack.read('docker-compose.yml')).toBe(afterRoll('v3'))

  const refused = await ropeway.cli(['deploy', 'hello', '--env', 'PATH=/tmp'])
  expect(refused.stdout).toContain('env-not-allowed')
  expect(refused.exitCode).toBe(1)

  for (const wrong of [
    ['deploy', 'helo'],
    ['deploy', 'hello', '--env', 'nonsense'],
    ['deploy', 'hello', '--image', '--privileged'],
    ['deploy'],
    ['deploy', 'hello', '--nonsense'],
  ])
    expect((await ropeway.cli(wrong)).exitCode, wrong.join(' ')).toBe(2)
  expect(await stack.read('docker-compose.yml')).toBe(afterRoll('v3'))
})

test('a deploy of what runs already touches nothing', async () => {
  const before = await stack.containers()
  const since = await engineTime()
  const events = await ropeway.roll('hello', { env: { MESSAGE: '{service},v3' } })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: false })
  expect(stepsOf(events)).toEqual([])
  expect(await signalsSince(since, 'nginx')).toEqual([])
  expect(await stack.containers()).toEqual(before)
})

test('status, watch and token show the deploys to those who may see them', async () => {
  const [latest, ...others] = await ropeway.deploys('hello')
  const status = await ropeway.cli(['status', '--json'])
  expect(status.exitCode).toBe(0)
  expect(JSON.parse(status.stdout)).toMatchObject({
    host: 'vps-1',
    agent: { status: 'online' },
    stacks: ['hello'],
    deploys: [{ id: latest, status: 'succeeded' }, ...others.map((id) => ({ id }))],
  })
  expect((await ropeway.cli(['status', 'helo'])).exitCode).toBe(2)

  const watched = await ropeway.cli(['watch'])
  expect(watched.exitCode).toBe(0)
  expect(watched.stdout).toContain('nothing had to change')
  // The one before the last was refused by the policy.
  const failed = await ropeway.cli(['watch', others[0] ?? ''])
  expect(failed.exitCode).toBe(1)
  expect(failed.stdout).toContain('env-not-allowed')
  expect((await ropeway.cli(['watch', '0000000000000000'])).exitCode).toBe(1)

  const token = await ropeway.cli(['token', '--scope', 'read', '--stack', 'hello', '--ttl', '5m'])
  expect(token.stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
  const asGuest = { ROPEWAY_TOKEN: token.stdout.trim() }
  expect((await ropeway.cli(['status', 'hello'], asGuest)).exitCode).toBe(0)
  expect((await ropeway.cli(['deploy', 'hello', '--env', 'MESSAGE=x'], asGuest)).exitCode).toBe(1)
  expect((await ropeway.cli(['token', '--scope', 'agent'])).exitCode).toBe(2)
  expect(await ropeway.deploys('hello')).toEqual([latest, ...others])
})

// A request that was begun after its server's drain had ended cannot have got there, and no answer can come from a server before
// nginx was told of it. Both are so by cause, whatever the clocks' resolution: no allowance is made.
function expectOnlyServersThatAreIn(events: readonly LoggedEvent[], { answers }: LoadResult): void {
  const steps = stepsOf(events)
  const drained = (service: string) =>
    steps.find(({ step }) => step.kind === 'drain' && step.service === service)?.finishedAt
  const putBack = (service: string) =>
    steps.find(({ step }) => step.kind === 'switch' && step.back === service)?.startedAt
  expect(Object.keys(answers).toSorted()).toEqual(
    ['app1,v1', 'app1,v2', 'app2,v1', 'app2,v2'].map((name) => `Hi there, I love ! ${name}`),
  )
  for (const service of ['app1', 'app2']) {
    const old = answers[`Hi there, I love ! ${service},v1`]
    const fresh = answers[`Hi there, I love ! ${service},v2`]
    expect(old?.lastBegun, `${service},v1 after its drain`).toBeLessThanOrEqual(drained(service) ?? 0)
    expect(fresh?.first, `${service},v2 before its put-back`).toBeGreaterThanOrEqual(
      putBack(service) ?? Infinity,
    )
  }
}

// By the engine's own clock, to the nanosecond: its event filter counts whole seconds otherwise.
async function engineTime(): Promise<string> {
  return await docker('info', '--format', '{{.SystemTime}}')
}

/** The signals that were sent to a container since then, by the engine's own record. */
async function signalsSince(since: string, container: string): Promise<string[]> {
  const filters = ['--filter', `container=${container}`, '--filter', 'event=kill']
  const args = ['events', '--since', since, '--until', await engineTime(), ...filters]
  return (await docker(...args, '--format', '{{.Actor.Attributes.signal}}')).split('\n').filter(Boolean)
}
