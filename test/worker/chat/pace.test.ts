import { expect, test } from 'vitest'
import { slack } from '../../../shared/chat/slack.ts'
import { EDIT_EVERY_MS, afterCall, dueAt, type MessageState } from '../../../worker/hub/chat/pace.ts'

const NOW = 1_000_000
const place = { channel: 'C1', ts: '1.2' }
const shown: MessageState = { place, seq: 3, shownAt: NOW - 100, tries: 0 }
const ok = { status: 200, retryAfterSeconds: undefined, body: { ok: true, ts: '1.2', channel: 'C1' } }
const attempt = { seq: 5, isFinal: false, answer: ok }

test.each([
  ['news', false, 0, NOW],
  ['news right after an edit', false, NOW - 100, NOW - 100 + EDIT_EVERY_MS],
  ['the end right after an edit', true, NOW - 100, NOW],
])('%s is due', (_, isFinal, shownAt, at) => {
  expect(dueAt({ shownAt }, isFinal, NOW)).toBe(at)
})

test.each([
  ['nothing came meanwhile', attempt, { seq: 5, isFinal: false }, { seq: 5, tries: 0, dueAt: null }],
  ['more came', attempt, { seq: 9, isFinal: false }, { seq: 5, dueAt: NOW + EDIT_EVERY_MS }],
  ['the end came', attempt, { seq: 9, isFinal: true }, { seq: 5, dueAt: NOW }],
  ['the end was shown', { ...attempt, isFinal: true }, { seq: 5, isFinal: true }, { end: undefined }],
  [
    'nobody answered',
    { ...attempt, answer: undefined },
    { seq: 5, isFinal: true },
    { seq: 3, tries: 1, dueAt: NOW + 2000 },
  ],
  [
    'it was too much',
    { ...attempt, answer: { ...ok, status: 429, retryAfterSeconds: 30 } },
    { seq: 5, isFinal: true },
    { seq: 3, tries: 1, dueAt: NOW + 30_000 },
  ],
  [
    'it is gone',
    { ...attempt, answer: { ...ok, body: { ok: false, error: 'message_not_found' } } },
    { seq: 5, isFinal: true },
    { end: 'Slack refused: message_not_found' },
  ],
])('%s', (_, tried, latest, next) => {
  expect(afterCall(shown, slack, tried, latest, NOW)).toMatchObject(next)
})

test('tries come further and further apart, for half an hour, and then no more', () => {
  let state: MessageState = shown
  let at = NOW
  for (let tries = 1; ; tries++) {
    const next = afterCall(state, slack, { ...attempt, answer: undefined }, { seq: 5, isFinal: true }, at)
    if ('end' in next) break
    state = next
    at = next.dueAt!
    expect(tries).toBeLessThan(20)
  }
  expect(at - NOW).toBeGreaterThan(15 * 60_000)
})
