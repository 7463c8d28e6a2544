// What the message of a deploy says, by how it stands: pure.

import { describe, expect, test } from 'vitest'
import type { DeployEvent, LoggedEvent } from '../../../shared/events.ts'
import { tellHistory, tellStatus } from '../../../worker/hub/chat/looks.ts'
import { cleaned, tell, tellApproval, verdictOf } from '../../../worker/hub/chat/words.ts'
import { AS_WRITTEN } from '../../../shared/plan.ts'

const DEPLOY = { id: '0123456789abcdef', host: 'vps-1', stack: 'hello', actor: 'ops:anna(U1)' }
const accepted: DeployEvent = {
  type: 'accepted',
  stack: 'hello',
  trigger: 'chat:ops',
  actor: 'ops:anna(U1)',
  trust: 'signed',
  image: 'hello:v2',
}
const planned: DeployEvent = {
  type: 'planned',
  plan: {
    stack: 'hello',
    upstream: 'apps',
    instances: ['app2', 'app1'],
    steps: [
      { kind: 'pull', image: 'hello:v2' },
      { kind: 'switch', out: 'app2', route: AS_WRITTEN },
      { kind: 'verify' },
    ],
  },
}
const problem = { code: 'pull-failed' as const, message: 'no route to it', cure: 'look at the network' }
const told = (...events: DeployEvent[]) =>
  tell(
    DEPLOY,
    [accepted, ...events].map((event, i): LoggedEvent => ({ seq: i + 1, at: 0, event })),
    'https://relay.example/watch',
  )

test.each<[DeployEvent[], string]>([
  [[], 'hello: waiting for its agent'],
  [[{ type: 'received' }], 'hello: waiting for its agent'],
  [[{ type: 'started' }], 'hello: looking at what runs'],
  [[{ type: 'started' }, planned], 'hello: looking at what runs'],
  [
    [{ type: 'started' }, planned, { type: 'step-started', step: 1 }],
    'hello: rolling, 2 of 3: take app2 out',
  ],
  [
    [
      { type: 'started' },
      planned,
      { type: 'step-started', step: 1 },
      { type: 'undoing', steps: [{ kind: 'switch', back: 'app2', route: AS_WRITTEN }] },
      { type: 'step-started', step: 3 },
    ],
    'hello: going back, 4 of 4: put app2 back',
  ],
])('it goes on: %#', (events, first) => {
  expect(told(...events)).toEqual({
    lines: [first, 'hello:v2, asked for by ops:anna(U1), on vps-1', 'https://relay.example/watch'],
    buttons: [],
    isFinal: false,
  })
})

test.each<[DeployEvent, string[]]>([
  [{ type: 'succeeded', ms: 10, changed: false, services: {} }, ['hello: succeeded. Nothing had to change.']],
  [
    { type: 'failed', ms: 8100, problem },
    [
      'hello: failed after 8.10 s, still serving the previous version',
      'no route to it (pull-failed). Look at the network.',
    ],
  ],
  [
    { type: 'failed', ms: 0, problem: { code: 'interrupted', message: 'the agent had this deploy' } },
    ['hello: failed', 'the agent had this deploy (interrupted).'],
  ],
  [
    {
      type: 'stuck',
      ms: 1,
      problem,
      undo: problem,
      damage: { serving: ['app1'], notServing: [], files: [], repair: [] },
    },
    [
      'hello: stuck. A person must look at it.',
      'no route to it (pull-failed). Look at the network.',
      'serving: app1',
    ],
  ],
  [{ type: 'cancelled', by: 'cli:bob' }, ['hello: cancelled by cli:bob, still serving the previous version']],
  [{ type: 'superseded', by: 'x' }, ['hello: a newer deploy took its place']],
  [{ type: 'expired' }, ['hello: expired, since its agent did not come']],
])('it ends: %#', (event, lines) => {
  const { lines: said, isFinal, buttons } = told(event)
  expect({ said: said.slice(0, -2), isFinal, buttons }).toEqual({ said: lines, isFinal: true, buttons: [] })
})

test.each([
  [{ changed: true, release: 2 }, 1],
  [{ changed: true, release: 1 }, 0],
  [{ changed: true }, 0],
  [{ changed: false, release: 2 }, 0],
])('a button to go back is there where there is a release before: %j', (over, count) => {
  expect(told({ type: 'succeeded', ms: 1, services: {}, ...over }).buttons).toHaveLength(count)
})

test.each([
  ['\u001B[31mred\u001B[0m', ['red']],
  ['\u009B2Jgone', ['2Jgone'].map((text) => ` ${text}`)],
  ['a\r\nb\u0000c', ['a', 'b c']],
  ['\u202Eevil\u2066', [' evil']],
  ['a\u2028b', ['a b']],
  ['x'.repeat(301), [`${'x'.repeat(300)}…`]],
])('%j moves no cursor and hides nothing', (text, lines) => {
  expect(cleaned(text)).toEqual(lines)
})

describe('what waits for approval', () => {
  const approval = { deploy: DEPLOY.id, stack: 'hello', lines: ['hello:v2, asked for by anna'] }

  test('has two buttons until it is decided, or nobody did in time', () => {
    expect(tellApproval(approval, undefined).buttons.map(({ value }) => value)).toEqual([
      `yes-${DEPLOY.id}`,
      `no-${DEPLOY.id}`,
    ])
    expect(tellApproval(approval, 'rejected by bob')).toEqual({
      lines: ['hello: rejected by bob', 'hello:v2, asked for by anna'],
      buttons: [],
      isFinal: true,
    })
  })

  test.each([
    [undefined, 99, undefined],
    [undefined, 100, 'nobody approved it in time'],
    ['rejected by bob', 200, 'rejected by bob'],
  ])('decided %j, at %d: %j', (verdict, now, words) => {
    expect(verdictOf({ verdict, expiresAt: 100 }, now)).toBe(words)
  })
})

test('status and history say how long ago', () => {
  const last = {
    ...DEPLOY,
    trigger: 'chat:ops',
    trust: 'signed' as const,
    status: 'succeeded' as const,
    acceptedAt: 0,
    finishedAt: 60_000,
  }
  expect(tellStatus('hello', { isThere: false, seenAt: 0 }, last, 180 * 60_000)).toEqual([
    'hello: its agent is away, last seen 3 h ago',
    'last deploy: succeeded, by ops:anna(U1), 3 h ago',
  ])
  const release = {
    release: 2,
    deploy: null,
    at: 0,
    actor: null,
    reason: null,
    services: { a: 'x:1', b: 'x:1' },
    isCurrent: true,
  }
  expect(tellHistory('hello', [release], 3 * 24 * 3600_000)).toEqual([
    '2 (runs now): x:1, by nobody, 3 days ago',
  ])
})
