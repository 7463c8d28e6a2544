import { expect, onTestFinished, test, vi } from 'vitest'
import { Journal } from '../../../../agent/daemon/journal/journal.ts'
import { WAITING_EVENTS_MAX, Writer } from '../../../../agent/daemon/journal/writer.ts'
import { takenIn, tempDir } from '../../../support/host.ts'
import { until } from '../../../support/until.ts'

const [A, B] = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb'] as const

function world() {
  const journal = new Journal(tempDir())
  const logs: string[] = []
  const appended: string[] = []
  const writer = new Writer(
    journal,
    (level, message) => logs.push(`${level}: ${message}`),
    (id) => appended.push(id),
  )
  for (const id of [A, B]) journal.receive(takenIn({ id }), 1)
  onTestFinished(() => {
    writer.stop()
    journal.close()
  })
  /** The disk takes this many more events, then none until it is told to. */
  const fill = (room = 0) => {
    let left = room
    const append = journal.append.bind(journal)
    const spy = vi.spyOn(journal, 'append').mockImplementation((...args) => {
      if (left === 0) throw new Error('database or disk is full')
      left -= 1
      return append(...args)
    })
    return { makeRoom: (more = Infinity) => (left = more), spy }
  }
  const typesOf = (id: string) => journal.eventsAfter(id, 1, 9999).map(({ event }) => event.type)
  return { journal, logs, appended, writer, fill, typesOf }
}

test('where there is room an event is on the disk when append returns', () => {
  const { writer, appended, logs, typesOf } = world()
  writer.append(A, { type: 'started' }, 1)
  expect(typesOf(A)).toEqual(['started'])
  expect(appended).toEqual([A])
  expect(logs).toEqual([])
})

test('what waits comes with the next event, each deploy in its order and at its time', () => {
  const { journal, writer, appended, fill, typesOf } = world()
  const { makeRoom } = fill()
  writer.append(A, { type: 'started' }, 1)
  writer.append(B, { type: 'started' }, 2)
  writer.append(A, { type: 'undoing', steps: [] }, 3)
  expect([typesOf(A), typesOf(B), appended]).toEqual([[], [], []])
  expect(writer.statusOf(A)).toBe('running')
  makeRoom()
  writer.append(B, { type: 'cancelled' }, 4)
  expect(typesOf(A)).toEqual(['started', 'undoing'])
  expect(typesOf(B)).toEqual(['started', 'cancelled'])
  expect(journal.eventsAfter(A, 1, 9).map(({ seq, at }) => [seq, at])).toEqual([
    [2, 1],
    [3, 3],
  ])
  expect(appended).toEqual([A, B])
})

test('what waits comes by itself once there is room, and beginning and end are told once each', async () => {
  const { writer, fill, typesOf, logs } = world()
  const { makeRoom } = fill(1)
  for (const type of ['started', 'started', 'started'] as const) writer.append(A, { type }, 1)
  writer.append(A, { type: 'cancelled' }, 1)
  expect(typesOf(A)).toEqual(['started'])
  makeRoom(1)
  await until('half of it', () => typesOf(A).length === 2)
  expect(logs).toEqual([expect.stringMatching(/^warn: the journal cannot be written .*disk is full/)])
  makeRoom()
  await until('all of it', () => typesOf(A).length === 4)
  expect(typesOf(A).at(-1)).toBe('cancelled')
  expect(logs.slice(1)).toEqual(['warn: the journal can be written again'])
})

test('an event that cannot follow is a bug, also after what waits', () => {
  const { writer, fill } = world()
  fill()
  writer.append(A, { type: 'cancelled' }, 1)
  expect(() => writer.append(A, { type: 'started' }, 1)).toThrow('started after cancelled')
  expect(writer.statusOf(A)).toBe('cancelled')
})

test('of too many that wait, progress goes first: the story and its end stay', () => {
  const { writer, fill, typesOf } = world()
  const { makeRoom } = fill()
  writer.append(A, { type: 'started' }, 1)
  for (let step = 0; step < WAITING_EVENTS_MAX + 100; step += 1)
    writer.append(A, { type: 'step-progress', step, facts: {} }, 1)
  writer.append(A, { type: 'succeeded', ms: 1, changed: true, services: {} }, 1)
  makeRoom()
  expect(writer.flush()).toBe(true)
  const types = typesOf(A)
  expect(types).toHaveLength(WAITING_EVENTS_MAX)
  expect([types[0], types[1], types.at(-1)]).toEqual(['started', 'step-progress', 'succeeded'])
})

test('another cause is told too', () => {
  const { journal, writer, logs } = world()
  const append = vi.spyOn(journal, 'append')
  append.mockImplementation(() => {
    throw new Error('database or disk is full')
  })
  writer.append(A, { type: 'started' }, 1)
  append.mockImplementation(() => {
    throw new Error('disk I/O error')
  })
  writer.append(A, { type: 'started' }, 1)
  writer.append(A, { type: 'started' }, 1)
  expect(logs).toEqual([expect.stringContaining('disk is full'), expect.stringContaining('disk I/O error')])
})

test('whoever hears of an event and fails does not lose it', () => {
  const { journal, writer, logs, typesOf } = world()
  const failing = new Writer(
    journal,
    (_level, message) => logs.push(message),
    () => {
      throw new Error('deaf')
    },
  )
  failing.append(A, { type: 'started' }, 1)
  writer.append(A, { type: 'cancelled' }, 1)
  expect(typesOf(A)).toEqual(['started', 'cancelled'])
})
