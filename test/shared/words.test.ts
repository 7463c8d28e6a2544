import { expect, test } from 'vitest'
import {
  deployEventSchema,
  loggedEventSchema,
  type DeployEvent,
  type ToldEvent,
} from '../../shared/events.ts'
import { wordsOf } from '../../shared/open.ts'
import { describeStep, stepSchema, type ToldStep } from '../../shared/plan.ts'
import { describeEvent, EMPTY_PICTURE, nextPicture } from '../../shared/words.ts'
import { EVERY_EVENT, EVERY_STEP } from '../support/every-event.ts'

/** The words that a job's log has: a script of its own, which has no types for us. */
const jobs = (await import(new URL('../../action/words.mjs', import.meta.url).href)) as {
  describe: (event: ToldEvent, step: string) => string | null
  describeStep: (step: ToldStep) => string
}

const describe = (event: DeployEvent) => describeEvent(EMPTY_PICTURE, { seq: 1, at: 0, event })
const SUCCEEDED = { type: 'succeeded', ms: 2420, changed: true, services: {}, release: 3 } as const
const [A, B] = ['a', 'b'].map((digit) => `ghcr.io/acme/hello:v2@sha256:${digit.repeat(64)}`) as [
  string,
  string,
]

test('every event and every step is here', () => {
  expect(Object.keys(EVERY_EVENT).toSorted()).toEqual(wordsOf(deployEventSchema, 'type').toSorted())
  expect(Object.keys(EVERY_STEP).toSorted()).toEqual(wordsOf(stepSchema, 'kind').toSorted())
})

const { 'step-started': begun, 'step-progress': progress, ...TOLD } = EVERY_EVENT
/** A sentence, or what it is called in the middle of one; nothing that a program has left in it. */
const WORDS = /^(?!.*(undefined|null|NaN|\[object))[^\s].{3,}/s

test.each(Object.values(TOLD))('$type has words, for a terminal and for a job’s log', (event) => {
  expect(describe(event)).toMatch(WORDS)
  expect(jobs.describe(event, 'verify')).toMatch(WORDS)
})

test.each([begun, progress])('$type only moves what is shown', (event) => {
  expect([describe(event), jobs.describe(event, 'verify')]).toEqual([undefined, null])
})

test.each(Object.values(EVERY_STEP))('a step $kind has words, for a terminal and for a job’s log', (step) => {
  for (const words of [describeStep(step), jobs.describeStep(step)]) {
    expect(words).toMatch(WORDS)
    expect(words).not.toBe(step.kind)
  }
})

test('a success names each image once, to the last digit of its digest', () => {
  expect(describe({ ...SUCCEEDED, images: { app1: A, app2: A } })).toBe(
    `succeeded in 2.42 s (release 3)\n  app1, app2: ${A}`,
  )
  expect(describe({ ...SUCCEEDED, changed: false, images: { app1: A, app2: B } })).toBe(
    `succeeded: nothing had to change\n  app1: ${A}\n  app2: ${B}`,
  )
})

test('a success of an older agent, which names none, is one line', () => {
  expect(describe(SUCCEEDED)).toBe('succeeded in 2.42 s (release 3)')
})

test.each([
  [{ type: 'brewed', text: 'brewed it' }, 'brewed it', 'brewed it'],
  [{ type: 'brewed' }, 'brewed', 'brewed'],
  [
    { type: 'step-finished', step: 0, ms: 1, facts: {} },
    'brew it: done in 0.00 s',
    'brew it: done in 0.00 s',
  ],
  [{ type: 'step-finished', step: 1, ms: 1, facts: {} }, 'stew: done in 0.00 s', 'stew: done in 0.00 s'],
  [{ type: 'recovering', way: 'up' }, 'the agent is back: up', 'the agent is back, and goes up'],
])('what a newer neighbour says is told by its own text: %o', (event, ours, theirs) => {
  const undoing = { type: 'undoing', steps: [{ kind: 'brew', text: 'brew it' }, { kind: 'stew' }] }
  const [first, last] = [undoing, event].map((each) =>
    loggedEventSchema.parse({ seq: 1, at: 0, event: each }),
  )
  if (!first || !last || first.event.type !== 'undoing') throw new Error('the scene is broken')
  expect(describeEvent(nextPicture(EMPTY_PICTURE, first), last)).toBe(ours)
  const step = first.event.steps['step' in last.event ? Number(last.event.step) : 0]
  expect(jobs.describe(last.event, step ? jobs.describeStep(step) : '')).toBe(theirs)
})
