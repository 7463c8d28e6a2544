// A `docker push`, and nothing else, deploys: a private registry that tells of everything, the host’s own login, a stack under load.

import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { under } from '../support/load.ts'
import { startPushStack, type PushStack } from '../support/push-stack.ts'
import { finalOf } from '../support/ropeway.ts'
import { until } from '../support/stack.ts'

let scene: PushStack
beforeAll(async () => {
  scene = await startPushStack({ tags: 'v*', settle: '1s' })
})
afterEach((context) => scene?.ropeway.explain(context))
afterAll(() => scene?.stop())

/** Waits until there are more deploys than there were, and the newest is over; its events. */
async function nextDeploy(known: readonly string[]) {
  const { ropeway } = scene
  await until(async () => (await ropeway.deploys('hello')).length > known.length, 'a push deploys', 60_000)
  const [newest = ''] = await ropeway.deploys('hello')
  return await ropeway.outcome(newest)
}
const versions = async () => {
  const answers = Array.from({ length: 6 }, async () =>
    (await fetch(`http://${scene.stack.ip}/`)).headers.get('x-version'),
  )
  return new Set(await Promise.all(answers))
}
/** The registry's notification of the push of a tag. */
const pushOf = (tag: string) =>
  scene.notifications.find(({ body }) => {
    const { events } = JSON.parse(body) as { events: { action: string; target: { tag?: string } }[] }
    return events.some(({ action, target }) => action === 'push' && target.tag === tag)
  })!
/** The same again, as another event. */
const again = (tag: string) => {
  const { body, type } = pushOf(tag)
  const { events } = JSON.parse(body) as { events: object[] }
  return scene.notify(
    JSON.stringify({ events: events.map((event) => ({ ...event, id: randomUUID() })) }),
    type,
  )
}

test('docker push of a new tag rolls the stack, and no request fails', async () => {
  const { stack, ropeway, repository, push } = scene
  const known = await ropeway.deploys('hello')
  const [result, events] = await under(
    { ip: stack.ip, port: 80, kind: 'keepalive', connections: 8 },
    async () => {
      await push('v2', 'v2')
      return await nextDeploy(known)
    },
  )
  expect(finalOf(events)).toMatchObject({ type: 'succeeded', changed: true })
  expect({ failed: result.failed, failures: result.failures }).toEqual({ failed: 0, failures: [] })
  expect(result.requests).toBeGreaterThan(100)
  expect(await versions()).toEqual(new Set(['v2']))
  expect(await stack.read('docker-compose.yml')).toMatch(
    new RegExp(`image: ${repository}:v2@sha256:[0-9a-f]{64}\n`),
  )
})

test('what the agent itself pulled was told, and ignored', async () => {
  const pulls = () => scene.notifications.filter(({ body }) => /"action": *"pull"/.test(body))
  await until(() => pulls().length > 0, 'the registry tells of a pull')
  for (const { status, answer } of pulls()) expect([status, answer.status]).toEqual([200, 'ignored'])
  expect(await scene.ropeway.deploys('hello')).toHaveLength(1)
})

test('a tag that does not match deploys nothing', async () => {
  await scene.push('v3', 'nightly')
  await until(() => pushOf('nightly') !== undefined, 'the registry tells of the push')
  expect(pushOf('nightly').answer).toEqual({ status: 'ignored', reason: 'tag nightly is none that deploys' })
  expect(await scene.ropeway.deploys('hello')).toHaveLength(1)
  expect(await versions()).toEqual(new Set(['v2']))
})

test('100 events of one push are one deploy', async () => {
  const { ropeway, push } = scene
  const known = await ropeway.deploys('hello')
  await push('v3', 'v3')
  await until(() => pushOf('v3') !== undefined, 'the registry tells of the push')
  const answers = await Promise.all(Array.from({ length: 99 }, () => again('v3')))
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 99 }, () => 200))
  expect(finalOf(await nextDeploy(known))).toMatchObject({ type: 'succeeded', changed: true })
  expect(await versions()).toEqual(new Set(['v3']))
  expect(await ropeway.deploys('hello')).toHaveLength(known.length + 1)
})

test('a push that comes late does not overwrite a newer one', async () => {
  const { ropeway } = scene
  const known = await ropeway.deploys('hello')
  expect((await again('v2')).status).toBe(202)
  expect(finalOf(await nextDeploy(known))).toMatchObject({
    type: 'failed',
    problem: { code: 'request-outdated' },
  })
  expect(await versions()).toEqual(new Set(['v3']))
})
