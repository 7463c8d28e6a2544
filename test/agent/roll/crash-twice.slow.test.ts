// Crash twice: wherever the agent ends, it ends again at each kind of place of the recovery, and the third one still sets all
// right. `npm test` plays a part of it, by a seed that it prints; `npm run whole` all.

import { afterAll, expect, test, vi } from 'vitest'
import { partOf } from '../../support/part.ts'
import { randomOf } from '../../support/random.ts'
import type { Call, Fault, FaultKind } from '../../support/world/faults.ts'
import { Count, faultsAt, play, record, SCENES, stage, type Scene } from '../../support/world/sweep.ts'

vi.mock(import('../../../agent/compose/edit/edit.ts'), async (original) => {
  const [edit, { memoized }] = [await original(), await import('../../support/memo.ts')]
  return { ...edit, editService: memoized(edit.editService), readService: memoized(edit.readService) }
})

const KINDS: readonly FaultKind[] = ['crash', 'crash-after-effect', 'crash-midway', 'crash-alone']
/** All pairs would be a million; a recovery's way is decided by what the first crash left, which is one of a few things in each step. */
const SCENES_TWICE = [
  'two instances, a mounted file, env',
  'four instances, a mounted folder, env, one of them down',
]
/** Far above what a sweep takes; it is many rolls. */
const SWEEP_MS_MAX = 300_000
const count = new Count()
const random = randomOf('where the agent ends first')

afterAll(() => console.log(`The agent's end, and another one while it recovers:\n${count}`))

for (const name of SCENES_TWICE)
  test(
    `the agent ends anywhere, and again: ${name}`,
    async () => {
      const scene = SCENES[name]
      if (!scene) throw new Error(`there is no scene ${name}`)
      const bad: (string | undefined)[] = []
      for (const first of partOf(random, firsts(await record(scene))))
        for (const second of await secondsAfter(scene, first))
          if (!isTwiceTorn(first, second)) bad.push(await play(scene, [[first], [second]], count))
      expect(bad.filter(Boolean)).toEqual([])
    },
    SWEEP_MS_MAX,
  )

// What changes something, in each step: what only looks leaves no other world behind than what came before it.
function firsts(calls: readonly Call[]): Fault[] {
  return firstAndLast(calls)
    .flatMap((place) => faultsAt(place, KINDS))
    .filter(isDecisive)
}

// A machine that stops twice within the milliseconds in which a file is written in place leaves what nobody can tell from a person's edit.
function isTwiceTorn(first: Fault, second: Fault): boolean {
  return [first, second].every(({ method, kind }) => method === 'files.write' && kind === 'crash-midway')
}

function isDecisive({ method, kind }: Pick<Fault, 'method' | 'kind'>): boolean {
  if (method === 'journal.emit' || method === 'engine.exec') return false
  return kind !== 'crash' || method === 'journal.remember'
}

// The first place of each kind: the method, in that kind of step, of that way back or forth.
async function secondsAfter(scene: Scene, first: Fault): Promise<Fault[]> {
  const world = await stage(scene)
  await world.failAt(first).roll(scene.request)
  await world.away()
  const { calls } = await world.recover()
  const places = calls.filter(
    (call, index) => calls.findIndex((one) => kindOf(one) === kindOf(call)) === index,
  )
  return places
    .flatMap((place) => faultsAt(place, KINDS))
    .filter(({ kind, method }) => kind === 'crash' || isDecisive({ kind, method }))
}

function kindOf({ method, step }: Call): string {
  return `${method} ${step.replace(/^\d+ /, '')}`
}

// Of each kind of place: with the first instance of a roll, and with the last.
function firstAndLast(calls: readonly Call[]): Call[] {
  return calls.filter((call, index) => {
    const isSame = (other: Call) => kindOf(other) === kindOf(call)
    return calls.findIndex(isSame) === index || calls.findLastIndex(isSame) === index
  })
}
