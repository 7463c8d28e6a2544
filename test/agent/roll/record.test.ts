// What is kept of a roll on the disk: what it is about, once, and how far it has come, before each step.

import { expect, test } from 'vitest'
import { joinRecord, readRecord, writeRecord } from '../../../agent/roll/record.ts'
import { FakeWorld, type WorldOptions } from '../../support/fake-world.ts'

/** Far below what the whole record takes, which has the files and the containers in it: it is written before each step. */
const NOTE_BYTES_MAX = 1024

async function kept(options: WorldOptions = {}) {
  const world = new FakeWorld({ instances: 4, ...options })
  const life = await world.roll({ image: 'ghcr.io/acme/hello:v2', env: { MESSAGE: '{service},v2' } })
  const about = life.kept.flatMap(({ facts }) => facts ?? [])
  return { life, notes: life.kept.map(({ note }) => note), facts: about[0], count: about.length }
}

test('what a roll is about is kept once, and each note is small', async () => {
  const { life, notes, facts, count } = await kept()
  expect([life.status, count]).toEqual(['succeeded', 1])
  const sizes = notes.map((note) => Buffer.byteLength(note))
  expect(Math.max(...sizes)).toBeLessThan(NOTE_BYTES_MAX)
  expect(facts?.length).toBeGreaterThan(10 * NOTE_BYTES_MAX)
  expect(notes.length).toBeGreaterThan(18)
})

test('a record is what was kept last of both', async () => {
  const { notes, facts } = await kept()
  const text = joinRecord(facts, notes.at(-1) ?? '')
  const record = readRecord(text)
  expect(record.progress?.begun).toBe(record.progress?.steps.length)
  expect(readRecord(writeRecord(record))).toEqual(record)
  const { progress, ...again } = readRecord(joinRecord(facts, '{"attempt":1}'))
  expect([again.attempt, progress]).toEqual([1, undefined])
  expect(again.about?.observed).toEqual(record.progress?.observed)
})

test('one of another version of the agent is not taken for ours', async () => {
  const { notes, facts } = await kept()
  const { facts: _, ...unnamed } = JSON.parse(facts ?? '')
  const old = joinRecord(JSON.stringify(unnamed), notes.at(-1) ?? '')
  expect(() => readRecord(old)).toThrow(expect.objectContaining({ code: 'journal-unusable' }))
})

test.each(['', '{', '{"attempt":0,"progress":{}}', '[]\n{"attempt":0,"progress":{}}'])(
  'a damaged one is said to be: %j',
  (text) => {
    expect(() => readRecord(text)).toThrow(expect.objectContaining({ code: 'journal-unusable' }))
  },
)
