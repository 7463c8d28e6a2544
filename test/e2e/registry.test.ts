// Images by digest: from a real registry, with its tags moving, and those that only this host has.

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { startRegistry, type Registry } from '../support/registry.ts'
import { freePort } from '../support/port.ts'
import { finalOf, startRopeway, stepsOf, type Ropeway } from '../support/ropeway.ts'
import { SEED_COMPOSE, docker, endAll, startStack, type Stack } from '../support/stack.ts'

let registry: Registry
let stack: Stack
let ropeway: Ropeway
let repository: string
let compose: string
const digests: Record<string, string> = {}
/** A name that only this host knows: no registry was asked for it or given it. */
const LOCAL = 'ropeway-test-local:new'

beforeAll(async () => {
  registry = await startRegistry(await freePort())
  repository = `${registry.address}/app`
  for (const version of ['v1', 'v2'])
    digests[version] = await registry.push(`ropeway-test-app:${version}`, `app:${version}`)
  compose = SEED_COMPOSE.replaceAll('ropeway-test-app:v1', `${repository}:v1`)
  await docker('pull', `${repository}:v1`)
  stack = await startStack({ 'docker-compose.yml': compose })
  ropeway = await startRopeway({
    // Nothing about images: the repository that runs today is the one that is allowed.
    stacks: {
      hello: { compose: stack.composeFiles[0] },
      'host-only': { compose: stack.composeFiles[0], allow: { images: ['ropeway-test-local'] } },
    },
  })
})
afterEach((context) => ropeway.explain(context))
afterAll(() =>
  endAll(
    () => ropeway?.stop(),
    () => stack?.remove(),
    () => registry?.stop(),
    async () => void (await docker('rmi', LOCAL)),
  ),
)

const withImage = (image: string) => compose.replaceAll(`${repository}:v1`, image)

test('the compose file says what a person reads and what runs: tag and digest', async () => {
  const events = await ropeway.roll('hello', { image: `${repository}:v2` })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  const pinned = `${repository}:v2@${digests['v2']}`
  expect(await stack.read('docker-compose.yml')).toBe(withImage(pinned))
  const [pull] = stepsOf(events)
  expect(pull).toMatchObject({ step: { kind: 'pull', image: `${repository}:v2` }, facts: { pinned } })

  const { app1, app2 } = await stack.containers()
  const [inspected] = JSON.parse(await docker('image', 'inspect', pinned)) as {
    Id: string
    RepoDigests: string[]
  }[]
  expect([app1?.imageId, app2?.imageId]).toEqual([inspected?.Id, inspected?.Id])
  expect(inspected?.RepoDigests).toContain(`${repository}@${digests['v2']}`)

  const before = await stack.containers()
  await stack.compose('up', '-d', '--pull', 'never')
  expect(await stack.containers()).toEqual(before)
})

test('what runs already is not rolled again: by tag, by digest, or by no name at all', async () => {
  const before = await stack.containers()
  const text = await stack.read('docker-compose.yml')
  for (const request of [{ image: `${repository}:v2` }, { image: `${repository}@${digests['v2']}` }, {}]) {
    const events = await ropeway.roll('hello', request)
    expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: false })
    expect(await stack.containers()).toEqual(before)
    expect(await stack.read('docker-compose.yml')).toBe(text)
  }
})

test('a tag that has moved is pinned anew, by a request that names nothing', async () => {
  const moved = await registry.push('ropeway-test-app:v3', 'app:v2')
  expect(moved).not.toBe(digests['v2'])
  const events = await ropeway.roll('hello', {})
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  expect(await stack.read('docker-compose.yml')).toBe(withImage(`${repository}:v2@${moved}`))
  expect(new Set(await versions())).toEqual(new Set(['v3']))
})

test('a digest without a tag is deployed as it is', async () => {
  const image = `${repository}@${digests['v1']}`
  expect(finalOf(await ropeway.roll('hello', { image }))).toMatchObject({ type: 'succeeded', changed: true })
  expect(await stack.read('docker-compose.yml')).toBe(withImage(image))
  expect(new Set(await versions())).toEqual(new Set(['v1']))
})

test('the pull tells how far it is', async () => {
  // One layer that the engine has not: what it has by another name it does not pull.
  const digest = await registry.pushUnique('ropeway-test-app:v3', 'app:new')
  const events = await ropeway.roll('hello', { image: `${repository}:new` })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  expect(await stack.read('docker-compose.yml')).toBe(withImage(`${repository}:new@${digest}`))
  const progress = events.flatMap(({ event }) =>
    event.type === 'step-progress' && event.step === 0 ? [event.facts] : [],
  )
  const last = progress.at(-1)
  // Of the layers that it has, a containerd image store says nothing.
  expect(Number(last?.['layers'])).toBeGreaterThanOrEqual(1)
  expect(last?.['done']).toBe(last?.['layers'])
  expect(progress[0]).not.toEqual(last)
})

test('an image that only this host has is pinned by its ID', async () => {
  await docker('tag', 'ropeway-test-app:v2', LOCAL)
  const { Id } = (JSON.parse(await docker('image', 'inspect', LOCAL)) as { Id: string }[])[0]!
  const events = await ropeway.roll('host-only', { image: LOCAL })
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  expect(await stack.read('docker-compose.yml')).toBe(withImage(Id))
  const { app1, app2 } = await stack.containers()
  expect([app1?.imageId, app2?.imageId]).toEqual([Id, Id])
  const before = await stack.containers()
  await stack.compose('up', '-d', '--pull', 'never')
  expect(await stack.containers()).toEqual(before)
  // Somebody builds it anew under its name, and deploys that: what ran before can still be gone back to.
  await docker('tag', 'ropeway-test-app:v3', LOCAL)
  expect(finalOf(await ropeway.roll('host-only', { image: LOCAL }))).toMatchObject({ changed: true })
  expect(new Set(await versions())).toEqual(new Set(['v3']))
  const { exitCode, stderr } = await ropeway.cli(['rollback', 'host-only', '--yes'])
  expect([exitCode, stderr]).toEqual([0, ''])
  expect(await stack.read('docker-compose.yml')).toBe(withImage(Id))
  expect(new Set(await versions())).toEqual(new Set(['v2']))
  const after = await stack.containers()
  await stack.compose('up', '-d')
  expect(await stack.containers()).toEqual(after)
})

/** What the servers say their image is. */
async function versions(): Promise<(string | null)[]> {
  const answers: (string | null)[] = []
  for (let n = 0; n < 4; n += 1) answers.push((await fetch(`http://${stack.ip}/`)).headers.get('x-version'))
  return answers
}
