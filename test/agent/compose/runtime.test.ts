// The compose files of a roll that is stuck: whose work each is, and the command that repairs what runs.

import { expect, test } from 'vitest'
import type { Runtime } from '../../../agent/roll/runtime.ts'
import { FakeWorld, type WorldOptions } from '../../support/fake-world.ts'

const never = new AbortController().signal
const ORDER = ['app3', 'app2', 'app1']

const versionOf = (service: string) => ({ env: { MESSAGE: `${service},v2` } })

async function openRuntime(options: WorldOptions = {}): Promise<{ runtime: Runtime; world: FakeWorld }> {
  const world = new FakeWorld({ instances: 3, ...options })
  const { runtimes } = world.ports
  const seen = await world.run(
    runtimes.define(world.stack, never).then((defined) => runtimes.inspect(world.stack, defined, never)),
  )
  return { world, runtime: runtimes.open(world.stack, seen, { order: ORDER, versionOf }) }
}

// The way back takes a dead service back first, so any of them may be the one that is left.
test.each([
  [[], 'as-before'],
  [['app3'], 'half-way'],
  [['app1'], 'half-way'],
  [['app2', 'app1'], 'half-way'],
  [['app3', 'app1'], 'half-way'],
  [ORDER, 'as-wanted'],
])('with %j updated the file is %s, and none else’s work', async (updated, state) => {
  const { runtime, world } = await openRuntime()
  await world.run(runtime.define(new Set(updated)))
  expect((await world.run(runtime.files())).map((file) => file.state)).toEqual([state])
  expect(await world.run(runtime.resume())).toBeUndefined()
  expect([...runtime.updated].toSorted()).toEqual(updated.toSorted())
})

test('what somebody else has written is said to be changed', async () => {
  const { runtime, world } = await openRuntime()
  const [path = ''] = world.stack.compose
  await world.run(world.files.write(path, `${world.files.text(path)}# mine\n`, 'rename'))
  expect(await world.run(runtime.files())).toMatchObject([{ path, state: 'changed' }])
  expect(await world.run(runtime.resume())).toMatchObject({ code: 'compose-changed' })
})

test('the command that repairs names all that the stack is made from', async () => {
  const { runtime } = await openRuntime({
    stack: { project: 'my shop', envFiles: ['/srv/prod.env'], profiles: ['prod', 'eu'] },
  })
  expect(runtime.repair(['app1', 'app2'])).toMatch(
    /^docker compose -f \S+ --env-file \/srv\/prod\.env -p 'my shop' --profile prod --profile eu up -d --no-deps --pull never app1 app2$/,
  )
})
