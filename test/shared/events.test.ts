import { expect, test } from 'vitest'
import {
  agentEventSchema,
  agentLoggedEventSchema,
  declinedEventSchema,
  deployEventSchema,
  loggedEventSchema,
  type DeployEvent,
} from '../../shared/events.ts'

const problem = { code: 'deadline', message: 'x' } as const
const HUBS_OWN: DeployEvent[] = [
  { type: 'accepted', stack: 'hello', trigger: 'deploy', actor: 'ci', trust: 'hint' },
  { type: 'gap', from: 2, to: 9 },
]
const DECLINED: DeployEvent[] = [
  { type: 'failed', ms: 0, problem },
  { type: 'superseded', by: '0123456789abcdef' },
  { type: 'expired' },
]
const OTHERS: DeployEvent[] = [
  { type: 'received' },
  { type: 'started' },
  { type: 'warning', problem },
  { type: 'planned', plan: { stack: 'hello', upstream: 'apps', instances: [], steps: [] } },
  { type: 'step-started', step: 0 },
  { type: 'step-progress', step: 0, facts: { cut: 3, digest: 'x', isLive: true } },
  { type: 'step-finished', step: 0, ms: 1, facts: {} },
  { type: 'step-failed', step: 0, ms: 1, problem },
  { type: 'undoing', steps: [{ kind: 'verify' }] },
  { type: 'succeeded', ms: 1, changed: true, services: { app1: 'hello:v2' } },
  { type: 'succeeded', ms: 1, changed: true, services: {}, images: { app1: 'hello:v2@sha256:0' } },
  { type: 'stuck', ms: 1, problem, undo: problem },
  { type: 'cancelled' },
]

test.each(HUBS_OWN)('$type is said by the hub alone: from an agent it is refused', (event) => {
  expect(deployEventSchema.parse(event)).toEqual(event)
  expect(agentEventSchema.safeParse(event).success).toBe(false)
  expect(agentLoggedEventSchema.safeParse({ seq: 1, at: 1, event }).success).toBe(false)
  expect(loggedEventSchema.safeParse({ seq: 1, at: 1, event }).success).toBe(true)
})

test.each([...DECLINED, ...OTHERS])('$type is an agent’s, and kept as it is', (event) => {
  expect(agentEventSchema.parse(event)).toEqual(event)
  expect(deployEventSchema.parse(event)).toEqual(event)
})

test.each(DECLINED)('$type is a way to decline', (event) => {
  expect(declinedEventSchema.parse(event)).toEqual(event)
})

test.each([...HUBS_OWN, ...OTHERS])('$type is no way to decline', (event) => {
  expect(declinedEventSchema.safeParse(event).success).toBe(false)
})

test.each([0, -1, 1.5, NaN, '1', null])('an event’s place is not %s', (seq) => {
  const logged = { seq, at: 1, event: { type: 'received' } }
  expect(loggedEventSchema.safeParse(logged).success).toBe(false)
  expect(agentLoggedEventSchema.safeParse(logged).success).toBe(false)
})
