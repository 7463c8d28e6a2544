// The hub's decisions, without a hub.

import { expect, test } from 'vitest'
import type { Deploy, Status } from '../../shared/deploy.ts'
import type { DeployEvent } from '../../shared/events.ts'
import { SILENCE_MS_MAX } from '../../shared/limits.ts'
import { accept, isAlive, takeIn } from '../../worker/hub/decide.ts'

const EVENTS: Record<string, DeployEvent> = {
  received: { type: 'received' },
  started: { type: 'started' },
  cancelled: { type: 'cancelled' },
}
const incoming = (...events: [number, string][]) =>
  events.map(([seq, name]) => ({ seq, at: 1000 + seq, event: EVENTS[name]! }))

const at = (status: Status, seq: number, agentSeq: number) => ({ status, seq, agentSeq })

test.each<
  [string, Parameters<typeof takeIn>, { stored: number[]; status: Status; upTo: number } | { gap: number }]
>([
  ['the first', [at('queued', 1, 0), incoming([1, 'received'])], { stored: [2], status: 'queued', upTo: 1 }],
  [
    'two in one',
    [at('queued', 1, 0), incoming([1, 'received'], [2, 'started'])],
    { stored: [2, 3], status: 'running', upTo: 2 },
  ],
  [
    'a repetition',
    [at('running', 3, 2), incoming([1, 'received'], [2, 'started'])],
    { stored: [], status: 'running', upTo: 2 },
  ],
  [
    'half a repetition',
    [at('queued', 2, 1), incoming([1, 'received'], [2, 'started'])],
    { stored: [3], status: 'running', upTo: 2 },
  ],
  [
    'one twice in one',
    [at('queued', 1, 0), incoming([1, 'received'], [1, 'received'])],
    { stored: [2], status: 'queued', upTo: 1 },
  ],
  [
    'the hub has more of its own',
    [at('queued', 5, 1), incoming([2, 'started'])],
    { stored: [6], status: 'running', upTo: 2 },
  ],
  ['a hole before', [at('queued', 1, 0), incoming([2, 'started'])], { gap: 1 }],
  ['a hole within', [at('queued', 1, 0), incoming([1, 'received'], [3, 'started'])], { gap: 2 }],
  [
    'the end',
    [at('running', 3, 2), incoming([3, 'cancelled'])],
    { stored: [4], status: 'cancelled', upTo: 3 },
  ],
  [
    'more after the end',
    [at('running', 3, 2), incoming([3, 'cancelled'], [4, 'started'])],
    { stored: [4], status: 'cancelled', upTo: 4 },
  ],
  [
    'after the end',
    [at('cancelled', 4, 3), incoming([9, 'started'])],
    { stored: [], status: 'cancelled', upTo: 9 },
  ],
  [
    'old ones after the end',
    [at('cancelled', 4, 3), incoming([1, 'received'])],
    { stored: [], status: 'cancelled', upTo: 3 },
  ],
  ['of no deploy', [undefined, incoming([4, 'started'])], { stored: [], status: 'expired', upTo: 4 }],
])('events: %s', (_, [place, events], expected) => {
  const intake = takeIn(place, events)
  expect(
    intake.isGap
      ? { gap: intake.expected }
      : { stored: intake.rows.map(({ seq }) => seq), status: intake.status, upTo: intake.storedUpTo },
  ).toEqual(expected)
})

test('an event keeps the agent’s time and count', () => {
  const intake = takeIn(at('queued', 4, 7), incoming([8, 'started']))
  expect(!intake.isGap && intake.rows).toEqual([
    { seq: 5, at: 1008, agentSeq: 8, event: { type: 'started' } },
  ])
})

const asking = {
  host: 'vps-1',
  stack: 'hello',
  trigger: 'deploy',
  asked: { id: '0123456789abcdef', actor: 'ci', request: { image: 'hello:v2' } },
}

test('a new request is a queued deploy and its first event', () => {
  expect(accept(undefined, asking, 1234)).toEqual({
    isNew: true,
    deploy: {
      id: '0123456789abcdef',
      host: 'vps-1',
      stack: 'hello',
      trigger: 'deploy',
      actor: 'ci',
      status: 'queued',
      acceptedAt: 1234,
      finishedAt: null,
    },
    event: {
      type: 'accepted',
      stack: 'hello',
      trigger: 'deploy',
      actor: 'ci',
      trust: 'signed',
      image: 'hello:v2',
    },
  })
})

test('a known request stays what it became', () => {
  const known = { id: asking.asked.id, status: 'failed' } as Deploy
  expect(accept(known, asking, 1234)).toEqual({ isNew: false, deploy: known })
})

test.each([
  ['just connected', { isOpen: true, connectedAt: 100_000, pingedAt: undefined }, true],
  [
    'long connected, never pinged',
    { isOpen: true, connectedAt: 100_000 - SILENCE_MS_MAX, pingedAt: undefined },
    false,
  ],
  ['long connected, pinged', { isOpen: true, connectedAt: 0, pingedAt: 99_000 }, true],
  ['a ping too old', { isOpen: true, connectedAt: 0, pingedAt: 100_000 - SILENCE_MS_MAX }, false],
  ['a ping just young enough', { isOpen: true, connectedAt: 0, pingedAt: 100_001 - SILENCE_MS_MAX }, true],
  ['closed', { isOpen: false, connectedAt: 100_000, pingedAt: 100_000 }, false],
])('alive: %s', (_, socket, expected) => {
  expect(isAlive(socket, 100_000)).toBe(expected)
})
