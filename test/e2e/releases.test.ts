// Going back: releases by digest, without their registry, and what is forgotten; a deploy that is cancelled; what is recreated by force.

import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { under } from '../support/load.ts'
import { startRegistry, type Registry } from '../support/registry.ts'
import { freePort } from '../support/port.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../support/ropeway.ts'
import { SEED_COMPOSE, docker, endAll, startStack, type Stack } from '../support/stack.ts'

const LOAD = { kind: 'idle', connections: 8, ms: 40 } as const

let registry: Registry
let stack: Stack
let ropeway: Ropeway
let repository: string
let first: Set<string | undefined>

beforeAll(async () => {
  registry = await startRegistry(await freePort())
  repository = `${registry.address}/app`
  for (const version of ['v1', 'v2', 'v3'])
    await registry.push(`ropeway-test-app:${version}`, `app:${version}`)
  await docker('pull', `${repository}:v1`)
  const compose = SEED_COMPOSE.replaceAll('ropeway-test-app:v1', `${repository}:v1`)
  stack = await startStack({
    'docker-compose.yml': compose.replaceAll('    expose:', '    volumes: [./gate:/gate]\n    expose:'),
    'gate/README': 'see app/server.js',
  })
  first = await images()
  ropeway = await startRopeway({
    stacks: {
      hello: {
        compose: stack.composeFiles[0],
        health: { path: '/ready' },
        allow: { env: ['MESSAGE'] },
        releases: 2,
      },
    },
  })
})
afterEach((context) => ropeway.explain(context))
afterAll(() =>
  endAll(
    () => ropeway?.stop(),
    () => stack?.remove(),
    () => registry?.stop(),
  ),
)

/** What both instances run. */
async function images(): Promise<Set<string | undefined>> {
  const { app1, app2 } = await stack.containers()
  return new Set([app1?.imageId, app2?.imageId])
}

/** In their order: the engine's own is that of their making, which two that were made in one second do not have. */
async function names(reference: string): Promise<string> {
  const listed = await docker('images', '--digests', '--format', '{{.Repository}}:{{.Tag}}', reference)
  return listed.split('\n').toSorted().join('\n')
}

test('every success is a release, of what ran before too', async () => {
  const events = await ropeway.roll('hello', { image: `${repository}:v2`, reason: 'the second' })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true, release: 2 })
  const { stdout } = await ropeway.cli(['history', 'hello', '--json'])
  const { releases } = JSON.parse(stdout) as { releases: object[] }
  expect(releases[0]).toMatchObject({ release: 2, isCurrent: true, reason: 'the second', actor: 'deploy' })
  expect(await names(`ropeway.invalid/${stack.project}`)).toMatch(/:hello\.1\n.*:hello\.2$/)
})

test('a rollback goes back to the one before, without its registry and without a failed request', async () => {
  // Its names go from this host too, as a clean-up would take them.
  await registry.stop()
  const [load, result] = await under({ ip: stack.ip, port: 80, ...LOAD }, () =>
    ropeway.cli(['rollback', 'hello', '--yes']),
  )
  expect([result.exitCode, result.stderr]).toEqual([0, ''])
  expect(result.stdout).toContain('it goes back to')
  expect({ failed: load.failed, failures: load.failures }).toEqual({ failed: 0, failures: [] })
  expect(await images()).toEqual(first)
  const before = await stack.containers()
  await stack.compose('up', '-d', '--pull', 'never')
  expect(await stack.containers()).toEqual(before)
})

test('a release that is forgotten takes its image along, and none that is still needed', async () => {
  // Two are kept: the one that runs (v1 again), and v2 before it.
  expect(await names(`ropeway.invalid/${stack.project}`)).toMatch(/:hello\.2\n.*:hello\.3$/)
  expect(await images()).toEqual(first)
  const unknown = await ropeway.cli(['rollback', 'hello', '--to', '1', '--yes'])
  expect(unknown.exitCode).toBe(1)
  expect(unknown.stdout + unknown.stderr).toMatch(/release-unknown/)
})

test('a deploy that is cancelled while it runs is undone, and loses no request', async () => {
  const before = await images()
  const compose = await stack.read('docker-compose.yml')
  // It stands still there until somebody cancels it, however long that takes.
  await writeFile(join(stack.folder, 'gate/closed-v2'), '')
  const [load, final] = await under({ ip: stack.ip, port: 80, ...LOAD }, async () => {
    const asked = await ropeway.cli(['rollback', 'hello', '--to', '2', '--yes', '--no-wait'])
    const id = asked.stdout.trim()
    await ropeway.reached(id, ({ kind }) => kind === 'await-healthy')
    const { exitCode, stderr } = await ropeway.cli(['cancel', 'hello'])
    expect([exitCode, stderr]).toEqual([0, ''])
    const events = await ropeway.outcome(id)
    expect(stepsOf(events).some(({ isUndo }) => isUndo)).toBe(true)
    return finalOf(events)
  })
  await rm(join(stack.folder, 'gate/closed-v2'))
  expect(final).toMatchObject({
    type: 'cancelled',
    ms: expect.any(Number),
    by: expect.stringMatching(/^cli:/),
  })
  expect({ failed: load.failed, failures: load.failures }).toEqual({ failed: 0, failures: [] })
  expect([await images(), await stack.read('docker-compose.yml')]).toEqual([before, compose])
})

test('what runs already is recreated by force alone', async () => {
  const before = await stack.containers()
  const same = { env: { MESSAGE: '{service},v1' } }
  expect(finalOf(await ropeway.roll('hello', same))).toMatchObject({ type: 'succeeded', changed: false })
  expect(await stack.containers()).toEqual(before)
  expect(finalOf(await ropeway.roll('hello', { ...same, force: true }))).toMatchObject({ changed: true })
  const after = await stack.containers()
  for (const service of ['app1', 'app2']) expect(after[service]?.id).not.toBe(before[service]?.id)
  expect(after['nginx']?.id).toBe(before['nginx']?.id)
})
