import { expect, onTestFinished, test } from 'vitest'
import { Journal } from '../../../../agent/daemon/journal/journal.ts'
import { Outbox } from '../../../../agent/daemon/link/outbox.ts'
import { FRAME_BYTES_MAX } from '../../../../shared/limits.ts'
import { encodeFrame, type FromAgent } from '../../../../shared/protocol.ts'
import { takenIn, tempDir } from '../../../support/host.ts'
import { until } from '../../../support/until.ts'

type Events = Extract<FromAgent, { type: 'events' }>

function world(storedMs?: number) {
  const journal = new Journal(tempDir())
  const sent: Events[] = []
  const wire = { isUp: true }
  const outbox = new Outbox(
    journal,
    (frame) => {
      if (wire.isUp && frame.type === 'events') sent.push(frame)
      return wire.isUp
    },
    storedMs,
  )
  const [a, b] = ['aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb'] as const
  journal.receive(takenIn({ id: a }), 1)
  journal.receive(takenIn({ id: b }), 1)
  const append = (id: string, text = 'x') => {
    journal.append(id, { type: 'step-progress', step: 0, facts: { text } }, 1)
    outbox.grown(id)
  }
  onTestFinished(() => {
    outbox.stop()
    journal.close()
  })
  const seqs = (id: string) =>
    sent.filter(({ deploy }) => deploy === id).flatMap(({ events }) => events.map(({ seq }) => seq))
  return { journal, outbox, sent, wire, a, b, append, seqs }
}

test('an event goes out at once, alone, and is not sent again', () => {
  const { outbox, sent, a, append, seqs } = world()
  outbox.grown(a)
  append(a)
  append(a)
  expect(seqs(a)).toEqual([1, 2, 3])
  expect(sent).toHaveLength(3)
})

test('what could not be sent goes out after the next welcome, deploys in the order in which they came', async () => {
  const { outbox, sent, wire, a, b, append } = world()
  wire.isUp = false
  append(b)
  append(a)
  append(b)
  expect(sent).toEqual([])
  wire.isUp = true
  outbox.connected()
  expect(sent.map(({ deploy, events }) => [deploy, events.map(({ seq }) => seq)])).toEqual([
    [a, [1, 2]],
    [b, [1, 2, 3]],
  ])
})

test('a new connection gets what was sent but not stored, and nothing that was stored', async () => {
  const { outbox, a, b, append, seqs, sent } = world()
  outbox.connected()
  append(a)
  append(a)
  outbox.stored(a, 2)
  outbox.stored(b, 1)
  sent.length = 0
  outbox.connected()
  expect(seqs(a)).toEqual([3])
  expect(seqs(b)).toEqual([])
  outbox.stored(a, 3)
  expect(outbox.isEmpty()).toBe(true)
})

test('a long backlog is cut into frames of at most 256 events', async () => {
  const { journal, outbox, sent, a, seqs } = world()
  for (let i = 0; i < 600; i += 1) journal.append(a, { type: 'step-progress', step: 0, facts: {} }, 1)
  outbox.connected()
  expect(sent.filter(({ deploy }) => deploy === a).map(({ events }) => events.length)).toEqual([256, 256, 89])
  expect(seqs(a)).toEqual(Array.from({ length: 601 }, (_, index) => index + 1))
})

test('no frame is larger than the protocol allows, counted in bytes', async () => {
  const { journal, outbox, sent, a, seqs } = world()
  for (let i = 0; i < 20; i += 1)
    journal.append(a, { type: 'step-progress', step: 0, facts: { text: '→'.repeat(20_000) } }, 1)
  outbox.connected()
  const frames = sent.filter(({ deploy }) => deploy === a)
  expect(frames.length).toBeGreaterThan(5)
  for (const frame of frames)
    expect(Buffer.byteLength(encodeFrame(frame))).toBeLessThanOrEqual(FRAME_BYTES_MAX)
  expect(seqs(a)).toEqual(Array.from({ length: 21 }, (_, index) => index + 1))
})

test('what the hub does not store is sent again on the same connection, until it does', async () => {
  const { outbox, a, append, seqs, sent } = world(20)
  append(a)
  await until('a repetition', () => seqs(a).length === 4)
  expect(seqs(a)).toEqual([1, 2, 1, 2])
  outbox.stored(a, 2)
  const before = sent.length
  append(a)
  expect(sent.at(-1)?.events.map(({ seq }) => seq)).toEqual([3])
  expect(sent).toHaveLength(before + 1)
})
