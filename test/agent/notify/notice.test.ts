// What a deploy's log says to others. The rules of "still serving the previous version" are the ones that must never promise too much.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { changesOf, messageOf } from '../../../agent/notify/message.ts'
import { momentOf, noticeOf, noticeSchema, type Story } from '../../../agent/notify/notice.ts'
import { fit } from '../../../agent/notify/text.ts'
import type { AgentEvent } from '../../../shared/events.ts'
import type { Step } from '../../../shared/plan.ts'
import type { AnyRequest } from '../../../shared/request.ts'
import { takenIn } from '../../support/host.ts'
import { ID, notice } from '../../support/notices.ts'

const update = (service: string, from: string, to: string): Step => ({
  kind: 'update',
  service,
  from: { image: from, env: {} },
  to: { image: to, env: {} },
  undo: false,
})
const STEPS = [
  { kind: 'pull', image: 'hello:v2' } as const,
  update('app2', 'hello:v1', 'hello:v2'),
  update('app1', 'hello:v1', 'hello:v2'),
]
const planned = (steps: Step[] = STEPS): AgentEvent => ({
  type: 'planned',
  plan: { stack: 'hello', upstream: 'apps', instances: ['app2', 'app1'], steps },
})
const started: AgentEvent = { type: 'started' }
const begun = (step: number): AgentEvent => ({ type: 'step-started', step })
const done = (step: number): AgentEvent => ({ type: 'step-finished', step, ms: 1, facts: {} })
const undoing = (steps: Step[], from = STEPS.length): AgentEvent => ({ type: 'undoing', steps, from })
const failed = (code: 'deadline' | 'stack-locked' | 'stack-unknown' = 'deadline'): AgentEvent => ({
  type: 'failed',
  ms: 5,
  problem: { code, message: 'no' },
})

function story(events: readonly AgentEvent[], over: Partial<Story> = {}, request: AnyRequest = {}): Story {
  return { deploy: takenIn({ id: ID, actor: 'ci', request }), events, ...over }
}

const standing = (events: readonly AgentEvent[], end = failed()) =>
  noticeOf('failure', end, 9, story(events)).standing

describe('which events are told', () => {
  test.each<[AgentEvent, string | undefined]>([
    [started, undefined],
    [planned(), undefined],
    [{ type: 'succeeded', ms: 1, changed: true, services: {} }, 'success'],
    [failed(), 'failure'],
    [{ type: 'cancelled', by: 'ann' }, undefined],
    [{ type: 'cancelled', by: 'ann', ms: 3 }, 'failure'],
    [{ type: 'stuck', ms: 1, problem: failedProblem(), undo: failedProblem() }, 'stuck'],
    [{ type: 'superseded', by: ID }, undefined],
    [{ type: 'expired' }, undefined],
  ])('%j: %s', (event, moment) => expect(momentOf(event, () => [])).toBe(moment))
})

const moments = (events: readonly AgentEvent[]) =>
  events.flatMap((event, index) => {
    const moment = momentOf(event, () => events.slice(0, index))
    return moment === undefined ? [] : [`${index}: ${moment}`]
  })
const succeeded = (changed: boolean): AgentEvent => ({ type: 'succeeded', ms: 1, changed, services: {} })

describe('the start', () => {
  test('is told at the first step that changes something, once', () =>
    expect(
      moments([started, planned(), begun(0), done(0), begun(1), done(1), begun(2), done(2), succeeded(true)]),
    ).toEqual(['4: start', '8: success']))

  test('is not told where the pull finds that nothing has to change', () =>
    expect(moments([started, planned(), begun(0), done(0), succeeded(false)])).toEqual(['4: success']))

  test('is not told where the pull fails', () =>
    expect(moments([started, planned(), begun(0), undoing([]), failed()])).toEqual(['4: failure']))

  test('is told where there is nothing to pull', () =>
    expect(moments([started, planned(STEPS.slice(1)), begun(0), begun(1)])).toEqual(['2: start']))

  test('is told where a crash in the pull made the roll begin again', () =>
    expect(
      moments([
        planned(),
        begun(0),
        { type: 'recovering', way: 'again' },
        planned(STEPS.slice(1)),
        begun(0),
        begun(1),
      ]),
    ).toEqual(['4: start']))

  test('is no step of the way back', () =>
    expect(moments([planned(), begun(1), undoing(STEPS.slice(1)), begun(3), begun(4), failed()])).toEqual([
      '1: start',
      '5: failure',
    ]))
})

function failedProblem() {
  return { code: 'deadline' as const, message: 'no' }
}

describe('what is known of the stack after a failure', () => {
  test('that nothing was touched, where it never began', () =>
    expect(standing([{ type: 'received' }], failed('stack-unknown'))).toBe('untouched'))

  test('that nothing was touched, where preflight refused it', () =>
    expect(standing([{ type: 'received' }, started])).toBe('untouched'))

  test('that the previous version serves, where the way back was gone to its end', () =>
    expect(standing([started, planned(), begun(1), undoing(STEPS.slice(1)), done(3), done(4)])).toBe(
      'before',
    ))

  test('that it serves, where there was nothing to undo', () =>
    expect(standing([started, planned(), begun(0), undoing([])])).toBe('before'))

  test('that it serves, where the last of several ways back was', () =>
    expect(
      standing([
        started,
        planned(),
        begun(1),
        undoing(STEPS.slice(1)),
        done(3),
        undoing(STEPS.slice(2), 5),
        done(5),
      ]),
    ).toBe('before'))

  test('nothing, where the way back did not come to its end: somebody else has set it right', () =>
    expect(standing([started, planned(), begun(1), undoing(STEPS.slice(1)), done(3)])).toBe('unknown'))

  test('nothing, where there was no way back after a crash', () =>
    expect(standing([started, planned(), begun(1)])).toBe('unknown'))

  test('nothing, where a plan is missing that was too long to be kept', () =>
    expect(standing([started, begun(1)])).toBe('unknown'))

  test('nothing, where an earlier deploy has left the stack stuck', () => {
    expect(standing([started], failed('stack-locked'))).toBe('unknown')
    expect(standing([started, undoing([], 0)], failed('stack-locked'))).toBe('unknown')
  })

  test('a success says nothing of it', () =>
    expect(
      noticeOf('success', { type: 'succeeded', ms: 1, changed: true, services: {} }, 9, story([planned()]))
        .standing,
    ).toBeUndefined())
})

describe('the facts', () => {
  test('from what to what', () => {
    expect(noticeOf('start', begun(1), 9, story([started, planned()]))).toMatchObject({
      deploy: ID,
      stack: 'hello',
      actor: 'ci',
      at: 9,
      tag: 'v2',
      changes: [
        { service: 'app2', from: 'hello:v1', to: 'hello:v2' },
        { service: 'app1', from: 'hello:v1', to: 'hello:v2' },
      ],
    })
  })

  test('the tag that was asked for, where there is no plan', () =>
    expect(
      noticeOf('failure', failed(), 9, story([started], {}, { image: 'ghcr.io/acme/hello:v3' })).tag,
    ).toBe('v3'))

  test('a rollback, and its reason', () =>
    expect(
      noticeOf('start', begun(1), 9, story([planned()], {}, { release: 3, reason: 'too slow' })),
    ).toMatchObject({
      rollbackTo: 3,
      reason: 'too slow',
    }))

  test('a stack of many instances is not listed to its end', () => {
    const steps = Array.from({ length: 64 }, (_, index) => update(`app${index}`, 'a:1', `a:${index}`))
    const { changes, moreChanges } = noticeOf('start', begun(0), 9, story([planned(steps)]))
    expect([changes.length, moreChanges]).toEqual([12, 52])
  })

  test('whatever was logged and asked, a notice is bounded, and is read again as it was', () => {
    const text = fc.string({ unit: 'binary', maxLength: 3000 })
    const problem = fc.record({ message: text, cure: text, log: fc.array(text, { maxLength: 50 }) })
    fc.assert(
      fc.property(problem, text, fc.array(text, { maxLength: 64 }), (said, actor, names) => {
        const steps = names.map((name) => update(name.slice(0, 100), name, name))
        const event = { type: 'failed', ms: 1, problem: { code: 'internal', ...said } } as const
        const told = noticeOf('failure', event, 9, {
          ...story([planned(steps)]),
          deploy: takenIn({ id: ID, actor }),
        })
        const stored = JSON.stringify(told)
        expect(stored.length).toBeLessThan(150_000)
        expect(noticeSchema.parse(JSON.parse(stored))).toEqual(told)
      }),
      { numRuns: 50 },
    )
  })
})

describe('in words', () => {
  test('instances that change alike are in one line, others have their own', () =>
    expect(
      changesOf(
        notice({
          changes: [
            { service: 'app2', from: 'MESSAGE=app2,v1', to: 'MESSAGE=app2,v2' },
            { service: 'b', from: 'x', to: 'y' },
            { service: 'a', from: 'x', to: 'y' },
          ],
          moreChanges: 2,
        }),
      ),
    ).toEqual(['app2: MESSAGE=app2,v1 → MESSAGE=app2,v2', 'b, a: x → y', 'and 2 more instances']))

  test.each([
    [notice({ moment: 'start' }), '▶ hello on vps-1: deploy has begun'],
    [notice({ moment: 'start', rollbackTo: 3 }), '▶ hello on vps-1: rollback has begun'],
    [notice({ changed: false }), '✔ hello on vps-1: nothing had to change'],
    [notice({ moment: 'failure', ms: 0 }), '✖ hello on vps-1: deploy failed'],
    [
      notice({ moment: 'failure', cancelledBy: 'ann' }),
      '✖ hello on vps-1: deploy was cancelled after 2.42 s',
    ],
    [notice({ moment: 'stuck' }), '⚠ hello on vps-1 is stuck: somebody must look'],
  ])('title %#', (told, title) => expect(messageOf(told).title).toBe(title))

  test('a deploy that is refused because the stack is stuck names the command that unlocks it', () =>
    expect(
      messageOf(notice({ moment: 'failure', problem: { code: 'stack-locked', message: 'stuck since x' } }))
        .facts,
    ).toContainEqual({ label: 'Once it is repaired', text: 'ropeway resolve hello', isCode: true }))
})

const entity = (character: string) => (character === '&' ? '&amp;' : character)

describe('a text that fits', () => {
  test.each([
    ['abcd', 4, 'abcd'],
    ['abcde', 4, 'abc…'],
    ['ab', 1, '…'],
    ['', 3, ''],
    ['a😀b', 3, 'a…'],
    ['a😀', 3, 'a😀'],
    ['a\ud800', 9, 'a\ufffd'],
  ])('%j in %i: %j', (text, max, expected) => expect(fit(text, max)).toBe(expected))

  test('an escape is never cut through', () => {
    expect(fit('a&b', 7, entity)).toBe('a&amp;b')
    expect(fit('a&b', 6, entity)).toBe('a…')
  })

  test('whatever the text, it is no longer than it may be, and whole where it can be', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.nat(60), (text, max) => {
        const out = fit(text, max, entity)
        const whole = Array.from(text.toWellFormed(), entity).join('')
        expect(out.length).toBeLessThanOrEqual(max)
        expect(out.isWellFormed()).toBe(true)
        if (whole.length <= max) expect(out).toBe(whole)
      }),
    )
  })
})
