import { expect, test } from 'vitest'
import { Queue } from '../../agent/queue.ts'
import type { Trust, DeployRequest } from '../../shared/request.ts'
import { until } from '../support/until.ts'

interface Deploy {
  readonly id: string
  readonly stack: string
  readonly lane: string
  readonly trust: Trust
  readonly request: DeployRequest
}

function world() {
  const log: string[] = []
  const ends = new Map<string, () => void>()
  const queue = new Queue<Deploy>({
    run: async ({ id }) => {
      log.push(`${id} begins`)
      await new Promise<void>((resolve) => ends.set(id, resolve))
      log.push(`${id} ends`)
    },
    onSuperseded: ({ id }, by) => log.push(`${id} superseded by ${by.id}`),
  })
  const end = async (id: string) => {
    ends.get(id)?.()
    await until(`${id} ends`, () => log.includes(`${id} ends`))
  }
  const add = (
    id: string,
    { stack = 's', lane = '', trust = 'signed' as Trust, request = {} as DeployRequest } = {},
  ) => queue.add({ id, stack, lane: lane || stack, trust, request })
  return { log, queue, add, end }
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

test('one that waits can be taken out, one that runs cannot', async () => {
  const { log, queue, add, end } = world()
  add('a')
  add('b')
  expect(queue.find('a')).toBeUndefined()
  expect(queue.find('b')).toMatchObject({ id: 'b', stack: 's' })
  expect([queue.remove('a'), queue.remove('b'), queue.remove('b'), queue.remove('c')]).toEqual([
    false,
    true,
    false,
    false,
  ])
  await end('a')
  add('d')
  await until('d begins', () => log.includes('d begins'))
  await end('d')
  expect(log).toEqual(['a begins', 'a ends', 'd begins', 'd ends'])
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

test('stacks of one lane wait for each other, and supersede nothing of each other', async () => {
  const { log, add, end } = world()
  add('a', { stack: 's', lane: 'file' })
  add('b', { stack: 't', lane: 'file' })
  add('c', { stack: 's', lane: 'file' })
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
  const { log, queue, add, end } = world()
  add('a')
  add('b')
  const stopped = queue.stop().then(() => log.push('stopped'))
  add('c', { stack: 't' })
  await end('a')
  await stopped
  expect(log).toEqual(['a begins', 'a ends', 'stopped'])
})
