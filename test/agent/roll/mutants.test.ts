// The harness notices what it is there for: planted bugs, none of which may pass unseen.

import { afterEach, expect, test, vi } from 'vitest'
import { awaitHealthy } from '../../../agent/roll/steps/await-healthy.ts'
import { drain } from '../../../agent/roll/steps/drain.ts'
import { NginxProxy } from '../../../agent/nginx/proxy.ts'
import { switchRoute } from '../../../agent/roll/steps/switch.ts'
import { update } from '../../../agent/roll/steps/update.ts'
import { verify } from '../../../agent/roll/steps/verify.ts'
import { FakeWorld } from '../../support/fake-world.ts'
import type { Fault } from '../../support/world/faults.ts'
import { fakeImage } from '../../support/world/images.ts'
import { judge } from '../../support/world/sweep.ts'

const SECOND_UPDATE_FAILS: Fault = { method: 'compose.up', nth: 2, kind: 'throw' }

afterEach(() => vi.restoreAllMocks())

/** What the harness says of a roll to an image that takes its time to start. */
async function findings(fault?: Fault): Promise<string> {
  const world = new FakeWorld()
  world.images.push('ghcr.io/acme/hello:slow', fakeImage('slow', { startMs: 1500 }))
  if (fault) world.failAt(fault)
  const life = await world.roll({ image: 'ghcr.io/acme/hello:slow' })
  return (await judge(world, life)).join('\n')
}

test('without a planted bug there is nothing to find', async () => {
  expect(await findings()).toBe('')
  expect(await findings(SECOND_UPDATE_FAILS)).toBe('')
})

test('a drain that does not wait for retiring workers', async () => {
  const real = NginxProxy.prototype.requestsAt
  vi.spyOn(NginxProxy.prototype, 'requestsAt').mockImplementation(async function (this: NginxProxy, ...args) {
    return { ...(await real.apply(this, args)), mayGrow: false }
  })
  expect(await findings()).toMatch(/app2 .*refuses a request/)
})

test('a drain that counts nothing', async () => {
  vi.spyOn(drain, 'do').mockResolvedValue({ cut: 0 })
  expect(await findings()).toMatch(/app2 .*refuses a request/)
})

test('an update of what is still in', async () => {
  vi.spyOn(switchRoute, 'do').mockResolvedValue({})
  expect(await findings()).toMatch(/stopped while it had a request/)
})

test('a put-back before the container is healthy', async () => {
  vi.spyOn(awaitHealthy, 'do').mockResolvedValue({})
  expect(await findings()).toMatch(/app2 .*refuses a request/)
})

test('a way back that skips its reload', async () => {
  const real = switchRoute.do
  vi.spyOn(switchRoute, 'do').mockImplementation(async (step, context) => {
    const isEnd = step.back !== undefined && step.out === undefined
    if (!isEnd) return await real(step, context)
    const { proxy, ports } = context.roll
    const { before } = (await proxy.files([], []))[0] ?? {}
    await ports.files.write(
      proxy.seen.file,
      Buffer.from(before ?? '').toString('latin1'),
      'in-place',
      'bytes',
    )
    vi.spyOn(proxy, 'out', 'get').mockReturnValue(new Set())
    return {}
  })
  expect(await findings(SECOND_UPDATE_FAILS)).toMatch(/nginx has loaded another text than it sees/)
})

test('a way back that leaves the compose file as it is', async () => {
  const real = update.do
  vi.spyOn(update, 'do').mockImplementation((step, context) =>
    step.undo ? Promise.resolve({}) : real(step, context),
  )
  vi.spyOn(verify, 'do').mockResolvedValue({})
  expect(await findings(SECOND_UPDATE_FAILS)).toMatch(/the world is not as before[^]*several versions run/)
})

test('survivors that are not forgiven a failure', async () => {
  const world = new FakeWorld()
  const { write, read } = { write: world.files.write.bind(world.files), read: world.ports.engine.readFile }
  const honest = new Map<string, string>()
  vi.spyOn(world.files, 'write').mockImplementation((path, text, how) => {
    const strict = text.replaceAll(' max_fails=0', '')
    honest.set(strict, text)
    return write(path, strict, how)
  })
  const readHost = world.files.read.bind(world.files)
  const shown = (text: string) => honest.get(text) ?? text
  vi.spyOn(world.files, 'read').mockImplementation(async (path) => shown(await readHost(path)))
  vi.spyOn(world.ports.engine, 'readFile').mockImplementation(async (...args) => shown(await read(...args)))
  const life = await world.roll({ env: { MESSAGE: '{service},v2' } })
  expect((await judge(world, life)).join('\n')).toMatch(/no max_fails=0 while another is down/)
})
