import { expect, test } from 'vitest'
import { Queue } from '../../agent/queue.ts'
import { until } from '../support/until.ts'

interface Deploy {
  readonly id: string
  readonly stack: string
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
  return { log, queue, end }
}

test('one deploy of a stack at a time', async () => {
  const { log, queue, end } = world()
  queue.add({ id: 'a', stack: 's' })
  queue.add({ id: 'b', stack: 's' })
  expect(log).toEqual(['a begins'])
  await end('a')
  await until('b begins', () => log.includes('b begins'))
  await end('b')
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends'])
})

test('a newer one replaces the one that waits, never the one that runs', async () => {
  const { log, queue, end } = world()
  for (const id of ['a', 'b', 'c', 'd']) queue.add({ id, stack: 's' })
  expect(log).toEqual(['a begins', 'b superseded by c', 'c superseded by d'])
  await end('a')
  await until('d begins', () => log.includes('d begins'))
  expect(log).not.toContain('b begins')
  expect(log).not.toContain('c begins')
  await end('d')
})

test('different stacks run side by side', async () => {
  const { log, queue, end } = world()
  queue.add({ id: 'a', stack: 's' })
  queue.add({ id: 'b', stack: 't' })
  expect(log).toEqual(['a begins', 'b begins'])
  await end('b')
  await end('a')
})

test('a stack whose queue ran empty starts anew', async () => {
  const { log, queue, end } = world()
  queue.add({ id: 'a', stack: 's' })
  await end('a')
  queue.add({ id: 'b', stack: 's' })
  await until('b begins', () => log.includes('b begins'))
  await end('b')
})

test('stopping waits for what runs and starts nothing more', async () => {
  const { log, queue, end } = world()
  queue.add({ id: 'a', stack: 's' })
  queue.add({ id: 'b', stack: 's' })
  const stopped = queue.stop().then(() => log.push('stopped'))
  queue.add({ id: 'c', stack: 't' })
  await end('a')
  await stopped
  expect(log).toEqual(['a begins', 'a ends', 'stopped'])
})
