// Whose turn it is: what waits, what runs and what is recovered of stacks that share a lock.

import { expect, test } from 'vitest'
import { CancelledBy, Lanes, type Queued } from '../../../agent/daemon/lane.ts'
import type { Trust, DeployRequest } from '../../../shared/request.ts'
import { stackConfig } from '../../support/host.ts'
import { until } from '../../support/until.ts'

function world() {
  const log: string[] = []
  const ends = new Map<string, () => void>()
  const lanes = new Lanes<Queued>(
    [
      { ...stackConfig('s'), compose: ['/one/compose.yml'] },
      { ...stackConfig('t'), compose: ['/two/compose.yml'] },
      { ...stackConfig('s2'), compose: ['/one/compose.yml'] },
    ],
    {
      run: async ({ id }, cancelled) => {
        log.push(`${id} begins`)
        await new Promise<void>((resolve) => {
          ends.set(id, resolve)
          cancelled.addEventListener('abort', () => resolve())
        })
        log.push(`${id} ends${cancelled.reason instanceof CancelledBy ? `, by ${cancelled.reason.by}` : ''}`)
      },
      onSuperseded: ({ id }, by) => log.push(`${id} superseded by ${by.id}`),
      onExpired: ({ id }) => log.push(`${id} expired`),
      onCancelled: ({ id }, by) => log.push(`${id} cancelled by ${by}`),
    },
  )
  const end = async (id: string) => {
    ends.get(id)?.()
    await until(`${id} ends`, () => log.includes(`${id} ends`))
  }
  const add = (
    id: string,
    { stack = 's', trust = 'signed' as Trust, request = {} as DeployRequest, expiresAt = Infinity } = {},
  ) => lanes.of(stack)?.add({ id, stack, trust, request, expiresAt })
  const lane = lanes.orNew('s')
  return { log, lanes, lane, add, end }
}

test('one deploy of a stack at a time', async () => {
  const { log, add, end } = world()
  add('a')
  add('b')
  expect(log).toEqual(['a begins'])
  await end('a')
  await until('b begins', () => log.includes('b begins'))
  await end('b')
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends'])
})

test('a newer one replaces the one that waits, never the one that runs', async () => {
  const { log, add, end } = world()
  for (const id of ['a', 'b', 'c', 'd']) add(id)
  expect(log).toEqual(['a begins', 'b superseded by c', 'c superseded by d'])
  await end('a')
  await until('d begins', () => log.includes('d begins'))
  expect(log).not.toContain('b begins')
  expect(log).not.toContain('c begins')
  await end('d')
})

test('one that waits is taken out, one that runs is told to stop, and by whom', async () => {
  const { log, lane, add } = world()
  add('a')
  add('b')
  expect(lane.find('a')).toMatchObject({ id: 'a', stack: 's' })
  expect(lane.find('b')).toMatchObject({ id: 'b', stack: 's' })
  for (const by of ['x', 'y']) for (const id of ['b', 'a', 'c']) lane.cancel(id, by)
  await until('a ends', () => log.includes('a ends, by x'))
  add('d')
  await until('d begins', () => log.includes('d begins'))
  expect(log).toEqual(['a begins', 'b cancelled by x', 'a ends, by x', 'd begins'])
  expect([lane.find('a'), lane.find('b')]).toEqual([undefined, undefined])
})

test('one whose turn comes too late does not begin', async () => {
  const { log, add, end } = world()
  add('a')
  add('b', { expiresAt: Date.now() - 1 })
  await end('a')
  add('c')
  await until('c begins', () => log.includes('c begins'))
  expect(log).toEqual(['a begins', 'a ends', 'b expired', 'c begins'])
})

test('nor does the first, and whatever comes after it does', async () => {
  const { log, add } = world()
  add('a', { expiresAt: 0 })
  add('b')
  await until('b begins', () => log.includes('b begins'))
  expect(log).toEqual(['a expired', 'b begins'])
})

test('what was interrupted is recovered first, one after the other, and can be cancelled meanwhile', async () => {
  const { log, lane, add } = world()
  const ends: (() => void)[] = []
  for (const id of ['r1', 'r2'])
    lane.recover({ id, stack: 's' }, async (cancelled) => {
      log.push(`${id} is recovered`)
      await new Promise<void>((resolve) => ends.push(resolve))
      log.push(`${id} ends${cancelled.aborted ? `: ${cancelled.reason.message}` : ''}`)
    })
  add('a')
  await until('r1', () => ends.length === 1)
  expect([lane.find('r1')?.id, lane.find('r2')?.id, lane.find('a')?.id]).toEqual(['r1', 'r2', 'a'])
  lane.cancel('r2', 'x')
  ends.shift()?.()
  await until('r2', () => ends.length === 1)
  ends.shift()?.()
  await until('a begins', () => log.includes('a begins'))
  expect(log).toEqual([
    'r1 is recovered',
    'r1 ends',
    'r2 is recovered',
    'r2 ends: cancelled by x',
    'a begins',
  ])
})

test('what comes is verified in order for each stack and each deploy, and holds up nothing else', async () => {
  const { log, lanes, lane } = world()
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  const verify = (name: string, subject: { stack?: string; id: string }, first?: Promise<void>) =>
    lane.verify(subject, async () => {
      await first
      log.push(name)
    })
  const all = [
    verify('a', { stack: 's', id: 'a' }, held),
    verify('b', { stack: 's', id: 'b' }),
    verify('the end of a', { id: 'a' }),
  ]
  await verify('c', { stack: 's2', id: 'c' })
  await verify('the end of d', { id: 'd' })
  expect([log, lanes.with('b') === lane, lanes.with('x')]).toEqual([['c', 'the end of d'], true, undefined])
  release()
  await Promise.all(all)
  expect(log.slice(2, 3)).toEqual(['a'])
  expect(log.slice(3).toSorted()).toEqual(['b', 'the end of a'])
  expect(lane.has('a')).toBe(false)
})

test('a hint replaces a waiting hint only; a signed request replaces all that wait', async () => {
  const { log, add, end } = world()
  const hint = { trust: 'hint' } as const
  add('a')
  add('b')
  add('h1', hint)
  add('h2', hint)
  expect(log).toEqual(['a begins', 'h1 superseded by h2'])
  add('c')
  expect(log.slice(2)).toEqual(['b superseded by c', 'h2 superseded by c'])
  add('h3', hint)
  await end('a')
  await until('c begins', () => log.includes('c begins'))
  await end('c')
  await until('h3 begins', () => log.includes('h3 begins'))
  await end('h3')
})

test('those that wait run in the order in which they came', async () => {
  const { log, add, end } = world()
  add('a')
  add('h', { trust: 'hint' })
  // A hint that came before is part of what a signed request replaces; one that came after waits behind it.
  add('b')
  add('i', { trust: 'hint' })
  for (const id of ['a', 'b', 'i']) {
    await until(`${id} begins`, () => log.includes(`${id} begins`))
    await end(id)
  }
  expect(log).toEqual(['a begins', 'h superseded by b', 'a ends', 'b begins', 'b ends', 'i begins', 'i ends'])
})

test('different stacks run side by side', async () => {
  const { log, add, end } = world()
  add('a')
  add('b', { stack: 't' })
  expect(log).toEqual(['a begins', 'b begins'])
  await end('b')
  await end('a')
})

test('stacks of one compose file wait for each other, and supersede nothing of each other', async () => {
  const { log, add, end } = world()
  add('a', { stack: 's' })
  add('b', { stack: 's2' })
  add('c', { stack: 's' })
  expect(log).toEqual(['a begins'])
  for (const id of ['a', 'b', 'c']) {
    await until(`${id} begins`, () => log.includes(`${id} begins`))
    await end(id)
  }
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
})

test('a stack whose queue ran empty starts anew', async () => {
  const { log, add, end } = world()
  add('a')
  await end('a')
  add('b')
  await until('b begins', () => log.includes('b begins'))
  await end('b')
})

test('stopping waits for what runs and starts nothing more', async () => {
  const { log, lanes, add, end } = world()
  add('a')
  add('b')
  const stopped = lanes.stop().then(() => log.push('stopped'))
  add('c', { stack: 't' })
  await end('a')
  await stopped
  expect(log).toEqual(['a begins', 'a ends', 'stopped'])
})
