// nginx's file of a roll that is stuck: whose work it is.

import { expect, test } from 'vitest'
import type { Proxy } from '../../../agent/roll/proxy.ts'
import { AS_WRITTEN, type Route } from '../../../shared/plan.ts'
import { FakeWorld } from '../../support/fake-world.ts'

const never = new AbortController().signal
const OUT: Route = { kind: 'members', serving: ['app1', 'app3'], out: ['app2'] }
const ROUTES = [AS_WRITTEN, OUT]

async function openProxy(): Promise<{
  proxy: Proxy
  world: FakeWorld
  write: (text: string) => Promise<void>
}> {
  const world = new FakeWorld({ instances: 3 })
  const { proxies, runtimes, engine } = world.ports
  const look = async () => {
    const { services } = await runtimes.define(world.stack, never)
    const containers = await engine.containers('hello', never)
    return proxies.open(await proxies.inspect(world.stack, { services, containers }, never))
  }
  const proxy = await world.run(look())
  return { world, proxy, write: (text) => world.run(world.files.write(world.proxyPath, text, 'in-place')) }
}

test.each([
  ['nobody’s name resolved to nothing', []],
  ['one’s did', ['app3']],
  ['another’s did', ['app1']],
])('a text that the roll has written while %s is half way', async (_, nowhere) => {
  const { world, proxy } = await openProxy()
  await world.run(proxy.route(OUT, new Set(nowhere), never))
  const state = async () => (await world.run(proxy.files(ROUTES, ['app1', 'app3'])))[0]?.state
  expect(await state()).toBe('half-way')
  expect(await world.run(proxy.resume(ROUTES, ['app1', 'app3']))).toBeUndefined()
  expect([...proxy.out]).toEqual(['app2'])
  await world.run(proxy.route(AS_WRITTEN, new Set(), never))
  expect(await state()).toBe('as-before')
})

test('a text that a crash left half written is half way too, and somebody else’s is changed', async () => {
  const { world, proxy, write } = await openProxy()
  const before = world.files.text(world.proxyPath)
  await world.run(proxy.route(OUT, new Set(), never))
  const after = world.files.text(world.proxyPath)
  const at = after.indexOf('down') + 2
  await write(after.slice(0, at) + before.slice(at))
  expect((await world.run(proxy.files(ROUTES, [])))[0]?.state).toBe('half-way')
  await write(`${before}# mine\n`)
  expect((await world.run(proxy.files(ROUTES, [])))[0]?.state).toBe('changed')
  expect(await world.run(proxy.resume(ROUTES, []))).toMatchObject({ code: 'nginx-changed' })
})
